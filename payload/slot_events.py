"""What is told of model slots when their record changes."""

from __future__ import annotations

from payload.core.slots import UNFINISHED, SlotRecord
from payload.core.telemetry import Telemetry
from payload.types import Task


def tell_changes(telemetry: Telemetry, task: Task, before: SlotRecord, after: SlotRecord) -> None:
    """Every slot in another state, and how far a trial is."""
    for name, slot in after.slots.items():
        if slot.state is not before.slots[name].state:
            telemetry.event(
                "slot_changed",
                task=task.value,
                slot=name.value,
                state=slot.state.value,
                model=slot.model,
                model_version=slot.version,
            )
    telemetry.set("trial_tiles", after.trial_tiles)
    telemetry.set("trial_faults", after.trial_faults)
    telemetry.set("rollback_index", after.rollback_index)


def tell_interrupted(telemetry: Telemetry, task: Task, before: SlotRecord) -> None:
    """Every installation that ``before`` knew under way, and that is undone now."""
    for name, slot in before.slots.items():
        if slot.state in UNFINISHED:
            telemetry.event(
                "install_interrupted",
                task=task.value,
                slot=name.value,
                state=slot.state.value,
                model=slot.model,
                model_version=slot.version,
            )


def tell_return(telemetry: Telemetry, task: Task, before: SlotRecord, after: SlotRecord, reason: str) -> None:
    """The model that was active is given up for another."""
    telemetry.event(
        "model_reverted",
        task=task.value,
        model=before.slots[before.active].model,
        to=after.active.value,
        reason=reason,
    )
