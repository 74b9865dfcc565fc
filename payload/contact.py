"""The second walk: one ground contact.

    queue -- plan_pass --> take --> store (body) --> link --+-- the ground has it --> acknowledge
      ^                                                     |
      +----------------- give back -------------------------+-- refused, or the contact broke off

What goes is chosen by `core.pass_plan` for the room that there is: a knapsack where products are
large, the first look of a tile before its detail. One product at a time. The store forgets a
product only after the ground has it, so a power cut in between sends it once more, under the same
name, and never loses it. A run may go on beside the contact: what is under way is held in the
store, and the queue follows what the run makes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from payload.config import AgeingConfig
from payload.core.downlink import DownlinkQueue
from payload.core.pass_plan import Fitting, aged, plan_pass
from payload.core.sealed import is_sealed
from payload.errors import LinkError, StoreError
from payload.ports import Link, ProductStore
from payload.types import Contact, QueueEntry


@dataclass(frozen=True, slots=True)
class ContactReport:
    """What a contact brought down.

    Attributes:
        sent, refused: product ids in the order in which they went.
        damaged: what was no longer what was made, and is gone, or could not be read, and waits.
        idle_bytes: room that was left; nothing that still waits would have fitted, unless it
            was refused, could not be read, belongs behind an earlier layer of its tile that did
            not fit, or the contact broke off.
        broken: why the contact ended early, or "".
    """

    sent: tuple[str, ...]
    refused: tuple[str, ...]
    damaged: tuple[str, ...]
    sent_bytes: int
    waiting_entries: int
    waiting_bytes: int
    idle_bytes: int
    broken: str


def pass_order(
    waiting: Iterable[QueueEntry], capacity_bytes: int, utc_ns: int, ageing: AgeingConfig | None
) -> list[QueueEntry]:
    """All that waits, with what it is worth at ``utc_ns``, in the order in which it would go.

    Without ``ageing`` nothing fades.
    """
    if ageing is not None:
        waiting = [aged(entry, utc_ns, ageing) for entry in waiting]
    return plan_pass(waiting, capacity_bytes)


def run_contact(
    store: ProductStore,
    queue: DownlinkQueue,
    link: Link,
    contact: Contact,
    ageing: AgeingConfig | None = None,
) -> ContactReport:
    """The best of the queue that fits the contact is on the ground (`pass_order`).

    Raises:
        StoreError: the list of what waits cannot be read, or a product not be held, released or
            acknowledged; what was sent last may go once more.
    """
    room_bytes = contact.capacity_bytes
    sent: list[str] = []
    damaged: dict[int, str] = {}
    refused: dict[int, str] = {}
    sent_bytes, broken = 0, ""
    going = Fitting(pass_order(queue.waiting(), room_bytes, contact.start_utc_ns, ageing))
    while True:
        if store.has_changed():  # a run goes on beside this contact
            queue.follow(store.entries(), {*store.held(), *refused, *damaged})
            going = Fitting(pass_order(queue.waiting(), room_bytes, contact.start_utc_ns, ageing))
        entry = going.next(room_bytes)
        if entry is None:
            break
        if not store.hold(entry.entry_id):  # evicted a moment ago; the queue follows next
            continue
        queue.take(entry.entry_id)
        body = _whole_body(store, entry.entry_id)
        if body is None:
            damaged[entry.entry_id] = entry.product_id
            queue.follow(store.entries(), {*store.held(), *refused, *damaged})
            continue
        try:
            is_down = link.send(entry.product_id, body)
        except LinkError as error:
            queue.give_back(entry.entry_id)
            store.release(entry.entry_id)
            broken = str(error)
            break
        if is_down:
            store.acknowledge(entry.entry_id)
            queue.acknowledge(entry.entry_id)
            sent.append(entry.product_id)
            sent_bytes += entry.size_bytes
            room_bytes -= entry.size_bytes
        else:
            store.release(entry.entry_id)
            refused[entry.entry_id] = entry.product_id
    if refused or damaged:  # only now do they wait again, or they would be taken again at once
        queue.follow(store.entries(), store.held())
    return ContactReport(
        tuple(sent),
        tuple(refused.values()),
        tuple(damaged.values()),
        sent_bytes,
        len(queue),
        queue.size_bytes,
        room_bytes,
        broken,
    )


def _whole_body(store: ProductStore, entry_id: int) -> bytes | None:
    """The held product as it was made; without it, it has gone, or waits where it cannot be read."""
    try:
        body = store.body(entry_id)
        if is_sealed(body):
            return body
        store.discard(entry_id)  # SQLite has no checksums; the pass is not for what the ground refuses
    except StoreError:  # damaged where SQLite keeps its own: no reason to send nothing else
        store.release(entry_id)
    return None
