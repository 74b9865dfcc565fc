"""The exceptions: each has one catcher, one consequence and one exit code.

What cannot happen is an ``assert``; what may happen is one of these; what is expected
(queue full, nothing ready, end of strip) is a return value.
"""


class PayloadError(Exception):
    """Something that may happen went wrong; the message says what, where and what to do."""

    exit_code = 1


class ConfigError(PayloadError):
    """The configuration, or the model it asks for, cannot be used: do not start."""

    exit_code = 2


class BudgetError(PayloadError):
    """The memory plan does not fit; ``worst_term`` names the largest term."""

    exit_code = 3

    def __init__(self, message: str, worst_term: str) -> None:
        super().__init__(message)
        self.worst_term = worst_term


class StripError(PayloadError):
    """The strip cannot be opened, or not one more row of it can be read."""

    exit_code = 4


class StoreError(PayloadError):
    """The product store cannot be opened or written (disk full, other version, damaged)."""

    exit_code = 5


class TrustError(PayloadError):
    """A model's manifest, signature or hash is not what it must be: keep the old slot."""

    exit_code = 6


class LinkError(PayloadError):
    """The contact broke off; what was not acknowledged stays queued."""

    exit_code = 7


class EngineLostError(PayloadError):
    """The engine is gone: demote it and resubmit what it held."""

    exit_code = 8


class EngineOutputError(PayloadError):
    """The engine answered ``index`` with what cannot be right: the tile stays unclassified."""

    exit_code = 9

    def __init__(self, message: str, index: int) -> None:
        super().__init__(message)
        self.index = index


class ProductError(PayloadError):
    """Bytes that are no whole product: damaged, cut short, or of another version."""

    exit_code = 10
