"""The contact plan: when the ground can be reached, and how fast; one YAML file.

Rules:
    contacts are in the order of their start and do not overlap
    a start is UTC, written 2026-11-21T10:00:00Z or with fractions of a second, in quotes
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from payload.config import read_text
from payload.config.yaml_walk import Range, Text, Walk
from payload.instants import utc_ns_of
from payload.types import Contact

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _PlannedContact:
    start_utc: Annotated[str, Text("a time such as '2026-11-21T10:00:00Z'", 40)]
    duration_s: Annotated[float, Range(1.0, 1e6, "s")]
    rate_bit_s: Annotated[float, Range(100.0, 1e11, "bit/s")]
    overhead_ratio: Annotated[float, Range(0.0, 0.9, "(ratio)")]


@dataclass(frozen=True, slots=True)
class _Plan:
    contacts: tuple[_PlannedContact, ...]


def load_contact_plan(path: Path) -> tuple[Contact, ...]:
    """The contacts in ``path``, in their order.

    Raises:
        ConfigError: it cannot be used; one line per fault.
    """
    return parse_contact_plan(read_text(path, "contact plan"), str(path))


def parse_contact_plan(text: str, source: str) -> tuple[Contact, ...]:
    """The contacts in the YAML ``text``; ``source`` names it in errors.

    Raises:
        ConfigError: as `load_contact_plan`.
    """
    walk = Walk(source)
    found = walk.read(text, _Plan)
    walk.raise_faults()
    contacts: list[Contact] = []
    line = walk.line_of["contacts"]
    for planned in found["contacts"]:
        start_utc_ns = _utc_ns(planned.start_utc)
        if start_utc_ns is None:
            walk.fault(line, "contacts.start_utc", f"'{planned.start_utc}' is no time in UTC")
            continue
        if contacts and start_utc_ns < end_utc_ns(contacts[-1]):
            walk.fault(line, "contacts.start_utc", f"{planned.start_utc} is before the end of the one before")
        contacts.append(Contact(start_utc_ns, planned.duration_s, planned.rate_bit_s, planned.overhead_ratio))
    walk.raise_faults()
    return tuple(contacts)


def end_utc_ns(contact: Contact) -> int:
    """When the ground is gone again."""
    return contact.start_utc_ns + int(contact.duration_s * _NS_PER_S)


def contact_at(contacts: tuple[Contact, ...], utc_ns: int) -> Contact | None:
    """The contact that ``utc_ns`` lies in."""
    for contact in contacts:
        if contact.start_utc_ns <= utc_ns < end_utc_ns(contact):
            return contact
    return None


def _utc_ns(text: str) -> int | None:
    """Nanoseconds since the Unix epoch; only times that say that they are UTC, and nothing else."""
    try:
        return utc_ns_of(text) if text.endswith("Z") else None
    except ValueError:
        return None
