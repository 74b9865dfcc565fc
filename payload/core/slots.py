"""Which model runs: two slots and the factory's, as one record that is replaced as a whole.

    EMPTY, BAD, GOOD (idle)  -- BEGIN -->  WRITING  -- WROTE -->  WRITTEN  -- ANSWERED -->  PROVEN
                                              \\___________ REFUSED ______________/            |
                                                              v                            ACTIVATED
    active, last good   GOOD  <-- CONFIRMED --  TRIAL  <----------------------------------------'
                          |                       '-- FAILED -->  BAD
                          '------ DAMAGED ----------------------^
    at a start:  WRITING, WRITTEN, PROVEN  -- INTERRUPTED -->  BAD

Rules:
1. The active and the last good slot are never written.
2. A slot becomes active only from PROVEN, and only while no other model is on trial.
3. A model on trial is confirmed after ``tiles`` tiles; more than ``faults`` bad tiles, or more
   than ``boots`` starts without one good tile between them, end the trial.
4. After a failed trial, or when the active slot is damaged beyond repair, the last good model
   runs, if that is gone too the other good one, and then the factory's.
5. The rollback index rises only when a model is confirmed, to its index, and never falls.
6. A record counts when its CRC-32 holds; of two, the one with the higher sequence.
7. Nothing is half installed after a start: what was on its way then is no model, and its slot
   may be written again.
8. Where every record is lost nobody knows which slots were proven and good: none is, the factory's
   model runs, and the rollback index is the highest of the packages that are still whole.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, unique

from payload.core.document import Place, canonical, mapping, member, read_document, text_like, whole
from payload.errors import TrustError

FORMAT = 1
RECORD_MAX_BYTES = 16 << 10

_HEX = re.compile(r"[0-9a-f]{64}|")
_NAME = re.compile(r"[A-Za-z0-9._-]{0,64}")


@unique
class SlotName(Enum):
    """A place for one verified model; FACTORY is the folder that the configuration names."""

    A = "a"
    B = "b"
    FACTORY = "factory"


WRITABLE = (SlotName.A, SlotName.B)


@unique
class SlotState(Enum):
    EMPTY = "empty"
    WRITING = "writing"
    WRITTEN = "written"
    PROVEN = "proven"
    TRIAL = "trial"
    GOOD = "good"
    BAD = "bad"


@unique
class Occurrence(Enum):
    """What can happen to a slot."""

    BEGIN = "begin"
    WROTE = "wrote"
    ANSWERED = "answered"
    REFUSED = "refused"
    INTERRUPTED = "interrupted"
    ACTIVATED = "activated"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    DAMAGED = "damaged"


_S, _O = SlotState, Occurrence

UNFINISHED = (_S.WRITING, _S.WRITTEN, _S.PROVEN)
"""States of a slot while an installation is under way."""

TRANSITIONS: Mapping[tuple[SlotState, Occurrence], SlotState] = {
    **{(state, _O.BEGIN): _S.WRITING for state in _S if state is not _S.TRIAL},
    (_S.WRITING, _O.WROTE): _S.WRITTEN,
    (_S.WRITTEN, _O.ANSWERED): _S.PROVEN,
    **{(state, _O.REFUSED): _S.BAD for state in UNFINISHED},
    **{(state, _O.INTERRUPTED): _S.BAD for state in UNFINISHED},
    (_S.PROVEN, _O.ACTIVATED): _S.TRIAL,
    (_S.TRIAL, _O.CONFIRMED): _S.GOOD,
    (_S.TRIAL, _O.FAILED): _S.BAD,
    (_S.TRIAL, _O.DAMAGED): _S.BAD,
    (_S.GOOD, _O.DAMAGED): _S.BAD,
}
"""All that may happen; anything else is refused by an assertion, for no walk asks for it."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot and what was written to it."""

    state: SlotState = SlotState.EMPTY
    package_sha256: str = ""
    size_bytes: int = 0
    model: str = ""
    version: int = 0
    rollback_index: int = 0


@dataclass(frozen=True, slots=True)
class TrialLimits:
    """When a trial ends (rule 3)."""

    tiles: int
    faults: int
    boots: int


@dataclass(frozen=True, slots=True)
class SlotRecord:
    """The slots of one task.

    ``trial_boots`` are starts since the last good tile; the trial's counts are of the active
    slot and 0 when none is on trial.
    """

    sequence: int = 0
    active: SlotName = SlotName.FACTORY
    last_good: SlotName = SlotName.FACTORY
    rollback_index: int = 0
    trial_tiles: int = 0
    trial_faults: int = 0
    trial_boots: int = 0
    slots: Mapping[SlotName, Slot] = field(default_factory=lambda: {name: Slot() for name in WRITABLE})

    @property
    def is_trial(self) -> bool:
        """Whether the active model is not confirmed yet."""
        return self.active in self.slots and self.slots[self.active].state is SlotState.TRIAL

    @property
    def idle(self) -> SlotName:
        """The slot that may be written (rule 1): a bad or empty one before a good one."""
        free = [name for name in WRITABLE if name not in (self.active, self.last_good)]
        return min(free, key=lambda name: self.slots[name].state is SlotState.GOOD)


def moved(record: SlotRecord, name: SlotName, occurrence: Occurrence) -> SlotRecord:
    """The next record, after ``occurrence`` to slot ``name`` by the table."""
    slot = record.slots[name]
    state = TRANSITIONS.get((slot.state, occurrence))
    assert state is not None, (slot.state, occurrence)
    return _with_slot(record, name, replace(slot, state=state))


def begun(record: SlotRecord, content: Slot) -> SlotRecord:
    """The idle slot is being written with ``content``."""
    assert not record.is_trial
    name = record.idle
    empty = replace(content, state=record.slots[name].state)
    return replace(
        moved(_with_slot(record, name, empty), name, Occurrence.BEGIN), sequence=record.sequence + 1
    )


def activated(record: SlotRecord, name: SlotName) -> SlotRecord:
    """The model in ``name`` is active, on trial (rule 2)."""
    assert not record.is_trial
    found = moved(record, name, Occurrence.ACTIVATED)
    return replace(found, active=name, trial_tiles=0, trial_faults=0, trial_boots=0)


def settled(record: SlotRecord) -> SlotRecord:
    """The record once nothing is half installed any more (rule 7); itself if nothing is."""
    found = record
    for name in WRITABLE:
        if found.slots[name].state in UNFINISHED:
            found = moved(found, name, Occurrence.INTERRUPTED)
    return found


def booted(record: SlotRecord, intact: Collection[SlotName], limits: TrialLimits) -> SlotRecord:
    """The record after a start that found the slots ``intact`` and no other (rules 3, 4 and 7).

    The record itself if nothing changes. A start of a model on trial counts by `trial_started`.
    """
    found = damaged(settled(record), [name for name in WRITABLE if name not in intact])
    if found.is_trial and found.trial_boots >= limits.boots:
        found = _fallen_back(moved(found, found.active, Occurrence.FAILED))
    return found if found is record else replace(found, sequence=record.sequence + 1)


def damaged(record: SlotRecord, lost: Collection[SlotName]) -> SlotRecord:
    """The record once the slots ``lost`` cannot be mended any more; itself if they held no model."""
    found = record
    for name in lost:
        if found.slots[name].state in (SlotState.GOOD, SlotState.TRIAL):
            found = moved(found, name, Occurrence.DAMAGED)
    return _fallen_back(found)


def trial_started(record: SlotRecord) -> SlotRecord:
    """The record when the model on trial begins to work (rule 3): one start more without a good tile."""
    assert record.is_trial
    return replace(_next(record), trial_boots=record.trial_boots + 1)


def rebuilt(found: Mapping[SlotName, Slot]) -> SlotRecord:
    """The record where none is left, of the packages ``found`` whole in slots (rule 8)."""
    slots = {
        name: replace(found[name], state=SlotState.BAD) if name in found else Slot() for name in WRITABLE
    }
    index = max((slot.rollback_index for slot in slots.values()), default=0)
    return SlotRecord(sequence=1, rollback_index=index, slots=slots)


def tile_done(record: SlotRecord, is_good: bool, limits: TrialLimits) -> SlotRecord:
    """The record after one tile of the model on trial (rule 3)."""
    assert record.is_trial
    if not is_good:
        found = replace(_next(record), trial_faults=record.trial_faults + 1)
        if found.trial_faults <= limits.faults:
            return found
        failed = moved(record, record.active, Occurrence.FAILED)
        return _fallen_back(replace(failed, trial_faults=found.trial_faults))
    found = replace(_next(record), trial_tiles=record.trial_tiles + 1, trial_boots=0)
    if found.trial_tiles < limits.tiles:
        return found
    good = replace(moved(record, record.active, Occurrence.CONFIRMED), trial_tiles=found.trial_tiles)
    index = max(good.rollback_index, good.slots[good.active].rollback_index)
    return replace(good, last_good=good.active, rollback_index=index, trial_boots=0)


def reverted(record: SlotRecord) -> SlotRecord:
    """The trial ends by command or because the engine was lost."""
    return _fallen_back(moved(record, record.active, Occurrence.FAILED))


def _fallen_back(record: SlotRecord) -> SlotRecord:
    """The active and last good model by rule 4."""
    usable = [name for name in WRITABLE if record.slots[name].state in (SlotState.GOOD, SlotState.TRIAL)]
    if record.active is SlotName.FACTORY or record.active in usable:
        last_good = record.last_good if record.last_good in usable else _first_good(record, record.active)
        return record if last_good is record.last_good else replace(record, last_good=last_good)
    good = _first_good(record, record.last_good)
    return replace(record, active=good, last_good=good, trial_boots=0)


def _first_good(record: SlotRecord, wanted: SlotName) -> SlotName:
    good = [name for name in WRITABLE if record.slots[name].state is SlotState.GOOD]
    if wanted in good or wanted is SlotName.FACTORY:
        return wanted
    return good[0] if good else SlotName.FACTORY


def _next(record: SlotRecord) -> SlotRecord:
    return replace(record, sequence=record.sequence + 1)


def _with_slot(record: SlotRecord, name: SlotName, slot: Slot) -> SlotRecord:
    return replace(_next(record), slots={**record.slots, name: slot})


def write_record(record: SlotRecord) -> bytes:
    """The record as a file: eight hexadecimal digits of CRC-32, a line end, canonical JSON."""
    document = canonical(
        {
            "format": FORMAT,
            "sequence": record.sequence,
            "active": record.active.value,
            "last_good": record.last_good.value,
            "rollback_index": record.rollback_index,
            "trial": [record.trial_tiles, record.trial_faults, record.trial_boots],
            "slots": {
                name.value: {
                    "state": slot.state.value,
                    "package_sha256": slot.package_sha256,
                    "size_bytes": slot.size_bytes,
                    "model": slot.model,
                    "version": slot.version,
                    "rollback_index": slot.rollback_index,
                }
                for name, slot in record.slots.items()
            },
        }
    )
    return b"%08x\n" % zlib.crc32(document) + document


def read_record(content: bytes) -> SlotRecord | None:
    """The record in ``content``, or None where it is damaged (rule 6)."""
    check, _, document = content.partition(b"\n")
    if check != b"%08x" % zlib.crc32(document):
        return None
    try:
        return _parse(Place(read_document(document, "record", RECORD_MAX_BYTES), "record"))
    except TrustError:  # a record of another format: as good as none
        return None


def _parse(place: Place) -> SlotRecord:
    counts = whole(0, 1 << 31)
    if place.take("format", counts) != FORMAT:
        place.refuse("format", "another one")
    slots = place.inside("slots")
    trial = place.take("trial", lambda value: tuple(map(counts, value)))
    record = SlotRecord(
        sequence=place.take("sequence", whole(0, 1 << 62)),
        active=place.take("active", member(SlotName)),
        last_good=place.take("last_good", member(SlotName)),
        rollback_index=place.take("rollback_index", counts),
        trial_tiles=trial[0],
        trial_faults=trial[1],
        trial_boots=trial[2],
        slots={name: _parse_slot(Place(slots.take(name.value, mapping), "slot")) for name in WRITABLE},
    )
    slots.end()
    place.end()
    return record


def _parse_slot(place: Place) -> Slot:
    counts = whole(0, 1 << 40)
    slot = Slot(
        state=place.take("state", member(SlotState)),
        package_sha256=place.take("package_sha256", text_like(_HEX)),
        size_bytes=place.take("size_bytes", counts),
        model=place.take("model", text_like(_NAME)),
        version=place.take("version", counts),
        rollback_index=place.take("rollback_index", counts),
    )
    place.end()
    return slot
