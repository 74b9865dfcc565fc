"""Ways of choosing what to send, played through the passes of an instance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from payload.core.pass_plan import aged, fitting, plan_pass
from payload.types import QueueEntry
from tools.downlink.instances import Instance

Order = Callable[[Sequence[QueueEntry], int], Sequence[QueueEntry]]


@dataclass(frozen=True)
class Outcome:
    """``idle_bytes``: capacity left over while something that would have fitted waited."""

    value: float
    sent_bytes: int
    idle_bytes: int


def first_come(waiting: Sequence[QueueEntry], _capacity_bytes: int) -> Sequence[QueueEntry]:
    """FIFO: the oldest first, whatever it is worth."""
    return sorted(waiting, key=lambda entry: (entry.created_utc_ns, entry.entry_id))


def cloud_filter(instance: Instance, threshold: float) -> Order:
    """Tiles with more cloud than ``threshold`` are never sent; the others first come, first served."""
    kept = {
        entry.entry_id
        for entry, cloud in zip(instance.entries, instance.cloud_ratio, strict=True)
        if cloud <= threshold
    }
    return lambda waiting, capacity_bytes: first_come(
        [entry for entry in waiting if entry.entry_id in kept], capacity_bytes
    )


def play(instance: Instance, order: Order, noise: float = 0.0, seed: int = 0) -> Outcome:
    """Whole products, pass by pass.

    Args:
        noise: standard deviation of the logarithm of (estimated / true value); ``order`` sees
            the estimate, the outcome counts the truth.
    """
    random = np.random.default_rng([9, seed])
    factors = np.exp(random.normal(0.0, noise, len(instance.entries)))
    waiting = {entry.entry_id: entry for entry in instance.entries}
    value, sent_bytes, idle_bytes = 0.0, 0, 0
    for slot in instance.passes:
        there = [entry for entry in waiting.values() if entry.created_utc_ns <= slot.start_utc_ns]
        now = {entry.entry_id: aged(entry, slot.start_utc_ns, instance.ageing) for entry in there}
        seen = [replace(entry, value=entry.value * factors[entry.entry_id]) for entry in now.values()]
        ranked = order(seen, slot.capacity_bytes)
        sent = fitting(ranked, slot.capacity_bytes)
        value += sum(now[entry.entry_id].value for entry in sent)
        for entry in sent:
            del waiting[entry.entry_id]
        left = slot.capacity_bytes - sum(entry.size_bytes for entry in sent)
        still = set(waiting) & {entry.entry_id for entry in ranked}
        if any(waiting[number].size_bytes <= left for number in still) and len(
            fitting([entry for entry in ranked if entry.entry_id in still], left)
        ):
            idle_bytes += left
        sent_bytes += slot.capacity_bytes - left
    return Outcome(value, sent_bytes, idle_bytes)


OURS: Order = plan_pass
