"""The exceptions: each has one catcher, one consequence, one exit code and one event.

What cannot happen is an ``assert``; what may happen is one of these; what is expected
(queue full, nothing ready, end of strip) is a return value.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from enum import Enum, unique

NO_PROCESS = 71
"""Exit code of a worker whose process the board could not start (EX_OSERR of sysexits.h)."""
NO_SPACE = 12
"""Exit code of a command that a full disk ended, in place of StoreError's."""


@unique
class EngineFault(Enum):
    """What is wrong with a device, by what a person has to do about it."""

    DIED = "died"
    LATE = "late"
    MEMORY = "memory"
    FAILED = "failed"
    BAD_NETWORK = "bad_network"
    NO_PYTHON = "no_python"
    NO_RUNTIME = "no_runtime"
    NO_LIBUSB = "no_libusb"
    NO_DEVICE = "no_device"
    NO_PERMISSION = "no_permission"
    MUTEX_TAKEN = "mutex_taken"


INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the signal's number, as shells have it."""


class PayloadError(Exception):
    """Something that may happen went wrong; the message says what, where and what to do."""

    exit_code = 1
    event: str | None = None
    """The event of `core.telemetry` that tells of it, where one does."""

    def parameters(self) -> Mapping[str, int | str]:
        """What the event says."""
        return {"reason": str(self)}


class ConfigError(PayloadError):
    """The configuration, or the model it asks for, cannot be used: do not start."""

    exit_code = 2
    event = "config_refused"


class BudgetError(PayloadError):
    """The memory plan does not fit; ``worst_term`` names the largest term."""

    exit_code = 3
    event = "budget_refused"

    def __init__(self, message: str, worst_term: str) -> None:
        super().__init__(message)
        self.worst_term = worst_term

    def parameters(self) -> Mapping[str, int | str]:
        return {"worst_term": self.worst_term, "reason": str(self)}


class StripError(PayloadError):
    """The strip cannot be opened, or gone on with as it was begun, or not one more row of it be read."""

    exit_code = 4
    event = "strip_refused"


class StoreError(PayloadError):
    """The product store or standard output cannot be opened or written (in use, old version, damage)."""

    exit_code = 5
    event = "store_error"

    @property
    def is_disk_full(self) -> bool:
        """Whether a full disk is behind it, by what it was raised from and SQLite's words for SQLITE_FULL."""
        cause = self.__cause__
        if isinstance(cause, OSError):
            return cause.errno in (errno.ENOSPC, errno.EDQUOT)
        return "disk is full" in str(cause)


class TrustError(PayloadError):
    """A model's manifest, signature or hash is not what it must be: keep the old slot."""

    exit_code = 6
    event = "model_refused"


class LinkError(PayloadError):
    """The contact broke off; what was not acknowledged stays queued."""

    exit_code = 7
    event = "link_lost"


class EngineLostError(PayloadError):
    """The engine is gone: demote it and resubmit what it held; ``fault`` says what is wrong."""

    exit_code = 8
    event = "engine_lost"

    def __init__(self, message: str, fault: EngineFault = EngineFault.FAILED) -> None:
        super().__init__(message)
        self.fault = fault


class EngineOutputError(PayloadError):
    """The engine answered ``index`` with what cannot be right: the tile stays unclassified."""

    exit_code = 9

    def __init__(self, message: str, index: int) -> None:
        super().__init__(message)
        self.index = index


class ProductError(PayloadError):
    """Bytes that are no whole product: damaged, cut short, or of another version."""

    exit_code = 10


class InstallError(PayloadError):
    """A package, root file, transfer or revert was refused: the old model runs on.

    ``code`` and ``refusal`` are the number and name of the reason in `core.refusals`.
    """

    exit_code = 16
    event = "install_refused"

    def __init__(self, message: str, code: int, refusal: str) -> None:
        super().__init__(message)
        self.code = code
        self.refusal = refusal

    def parameters(self) -> Mapping[str, int | str]:
        return {"code": self.code, "refusal": self.refusal, "reason": str(self)}


class CommandError(PayloadError):
    """A telecommand is not accepted, or cannot be done; ``failure_code`` says why (service 1)."""

    exit_code = 11

    def __init__(self, message: str, failure_code: int) -> None:
        super().__init__(message)
        self.failure_code = failure_code
