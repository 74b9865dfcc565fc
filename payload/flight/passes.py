"""The ground passes: what goes down first, as fast as the link is, until the ground is gone.

    contact plan --> begin: order of all that waits --> files put, best first --> packets, at the rate
    ground's Finished PDU --> store.acknowledge: only now the product has left the queue
    end of contact --> freeze; the next pass goes on in the middle of a file

Rules:
1. A pass is when the contact plan says so, by UTC; a clock that is not set has no passes.
2. The order is that of `core.pass_plan` with the values of now, made anew when products were
   added; what is on its way already is ranked with it.
3. A product leaves the queue when the ground's Finished PDU says that it is there; one that the
   ground refuses is offered again in the next pass.
4. No more bytes are given to the link than its rate allows, in bursts of BURST_S at most. On a link
   faster than this program a turn ends after WORK_S: the loop has more to do than passes.
5. A disk that fails ends the pass; what was queued is queued, and the transfers are taken from
   the journal again when the next pass begins. A product that is damaged ends nothing but itself:
   it is gone, or, where it cannot be read, waits for the next pass.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace

from payload.config import Config
from payload.config.contact_plan import contact_at
from payload.core.cfdp import CfdpParameters, OutgoingFile, SendEnded
from payload.core.cfdp.checksums import crc_32
from payload.core.pass_plan import aged, plan_pass
from payload.core.sealed import is_sealed
from payload.core.telemetry import Telemetry
from payload.errors import ConfigError, StoreError
from payload.flight.calls import Now, Quiet
from payload.ports import ProductStore
from payload.transfer_ports import IncomingFiles, TransferJournal
from payload.transfers import Transfers
from payload.types import Contact, QueueEntry

BURST_S = 0.25
TURN_S = 0.02
"""Of the loop, during a pass."""
WORK_S = 0.04
"""Of one turn, after which no more packets are made in it."""

_NS_PER_S = 1_000_000_000
_REPLAN_NS = 2 * _NS_PER_S
_LOOK_NS = _NS_PER_S
_BODIES_MAX_BYTES = 8 << 20
_FILE_OVERHEAD_BYTES = 200  # Metadata and EOF of one file


def parameters_of(config: Config) -> CfdpParameters:
    """The flight entity, as configured."""
    link = config.downlink
    return CfdpParameters(
        link.entity,
        link.ground_entity,
        link.segment_bytes,
        link.window_bytes,
        link.round_trip_min_s,
        link.answer_timeout_s,
        link.answer_limit,
        link.open_files,
        link.uplink_max_bytes,
    )


class Passes(Quiet):
    """Products down, files up, while the ground is there."""

    def __init__(
        self,
        config: Callable[[], Config],
        plan_changed: Callable[[], tuple[Contact, ...] | None],
        store: ProductStore,
        journal: TransferJournal,
        files: IncomingFiles,
        telemetry: Telemetry,
        send: Callable[[bytes], None],
        mono_ns: Callable[[], int],
    ) -> None:
        """Goes on where the journal left off, when the next contact begins.

        Args:
            plan_changed: the contact plan if it is a new one; ConfigError if that cannot be used.
            mono_ns: the monotonic clock, for how long a turn has taken.
        """
        self._config = config
        self._plan_changed = plan_changed
        self._contacts: tuple[Contact, ...] = ()
        self._look_ns: int | None = None
        self._priorities: dict[str, float] = {}
        self._store = store
        self._journal = journal
        self._files = files
        self._telemetry = telemetry
        self._send = send
        self._mono_ns = mono_ns
        self._is_behind = False
        self._contact: Contact | None = None
        self._broken: Contact | None = None
        self._order: list[QueueEntry] = []
        self._entries: dict[str, QueueEntry] = {}
        self._refused: set[int] = set()
        self._bodies: OrderedDict[str, bytes] = OrderedDict()
        self._room_bytes = 0.0
        self._last_ns = 0
        self._planned_ns = 0
        self._sent_products = self._sent_bytes = 0
        self._restored_ones: Transfers | None = None
        try:
            self._restored_ones = self._restored()
        except StoreError as error:  # a full disk is no reason not to fly; tried again at the contact
            telemetry.event("store_error", reason=str(error))

    @property
    def _transfers(self) -> Transfers:
        assert self._restored_ones is not None, "between a failure of the disk and the next contact"
        return self._restored_ones

    def _restored(self) -> Transfers:
        """The transfers of the journal; their products are held, those without one cancelled."""
        config = self._config()
        made = Transfers(parameters_of(config), config.downlink.apid, False, self._journal, self._files, self)
        self._entries = {entry.product_id: entry for entry in self._store.entries()}
        for name in made.entity.sending():
            entry = self._entries.get(name)
            if entry is None or not self._store.hold(entry.entry_id):
                made.entity.cancel(name)
        made.settle()
        return made

    @property
    def packets(self) -> Mapping[int, Callable[[bytes, Now], None]]:
        return {self._config().downlink.apid: self._receive}

    def pause_s(self) -> float:
        """Short while the ground is there: the rate is kept in small bursts; none where the link is
        faster than we are."""
        if self._contact is None:
            return super().pause_s()
        return 0.0 if self._is_behind else TURN_S

    def _receive(self, pdu: bytes, now: Now) -> None:
        """Outside a pass nothing is taken: it could not be put on the disk in order."""
        if self._contact is not None:
            self._transfers.receive(pdu, now.mono_ns)

    def poll(self, now: Now) -> None:
        """The pass begins, goes on or ends."""
        self._look_for_plan(now)
        contact = contact_at(self._contacts, now.utc_ns)
        if contact is None or contact != self._contact:
            self._end()
        if contact is None or contact == self._broken:
            return
        try:
            if self._contact is None:
                self._begin(contact, now)
            self._go_on(now)
        except StoreError as error:
            self._break_off(contact, error)

    def _look_for_plan(self, now: Now) -> None:
        if self._look_ns is not None and now.mono_ns - self._look_ns < _LOOK_NS:
            return
        self._look_ns = now.mono_ns
        try:
            found = self._plan_changed()
            self._contacts = self._contacts if found is None else found
        except ConfigError as error:
            self._telemetry.event("config_refused", reason=str(error))

    def close(self) -> None:
        """The pass ends; the journal knows the rest."""
        self._end()

    def _begin(self, contact: Contact, now: Now) -> None:
        if self._restored_ones is None:
            self._restored_ones = self._restored()
        self._broken = None
        self._contact = contact
        self._room_bytes = 0.0
        self._last_ns = now.mono_ns
        self._sent_products = self._sent_bytes = 0
        self._telemetry.event(
            "contact_started",
            rate_bit_s=contact.rate_bit_s,
            duration_s=contact.duration_s,
            capacity_bytes=contact.capacity_bytes,
        )
        self._transfers.settle()  # what came in the last turn of the pass before has left
        self._refused.clear()
        self._store.has_changed()
        self._plan(now)
        self._transfers.entity.thaw(now.mono_ns)

    def _plan(self, now: Now) -> None:
        """Ranks all that is queued by what it is worth now (rule 2)."""
        assert self._contact is not None
        self._planned_ns = now.mono_ns
        ageing = self._config().ageing
        self._entries = {entry.product_id: entry for entry in self._store.entries()}
        left_s = self._contact.duration_s - (now.utc_ns - self._contact.start_utc_ns) / _NS_PER_S
        capacity_bytes = replace(self._contact, duration_s=max(left_s, 1.0)).capacity_bytes
        on_link = [
            replace(aged(entry, now.utc_ns, ageing), size_bytes=entry.size_bytes + _FILE_OVERHEAD_BYTES)
            for entry in self._entries.values()
            if entry.entry_id not in self._refused
        ]
        order = plan_pass(on_link, capacity_bytes)
        entity = self._transfers.entity
        on_its_way = entity.sending()
        self._priorities = {entry.product_id: -float(place) for place, entry in enumerate(order)}
        entity.prioritise(self._priorities)
        self._order = [entry for entry in reversed(order) if entry.product_id not in on_its_way]

    def _go_on(self, now: Now) -> None:
        assert self._contact is not None
        self._transfers.settle()
        if now.mono_ns - self._planned_ns > _REPLAN_NS and self._store.has_changed():
            self._plan(now)
        self._transfers.entity.tick(now.mono_ns)
        rate_bytes_s = self._contact.rate_bit_s * (1 - self._contact.overhead_ratio) / 8
        passed_s = (now.mono_ns - self._last_ns) / _NS_PER_S
        self._last_ns = now.mono_ns
        burst_bytes = max(rate_bytes_s * BURST_S, 4096.0)
        self._room_bytes = min(self._room_bytes + passed_s * rate_bytes_s, burst_bytes)
        self._give(now)
        self._tell()

    def _give(self, now: Now) -> None:
        """The link has what there is room for now, or what could be made in WORK_S."""
        began_ns = self._mono_ns()
        self._is_behind = False
        while self._room_bytes > 0 and not self._is_behind:
            packet = self._next_packet(now)
            if packet is None:
                return
            self._room_bytes -= len(packet)
            self._send(packet)
            self._is_behind = self._mono_ns() - began_ns >= WORK_S * _NS_PER_S

    def _next_packet(self, now: Now) -> bytes | None:
        entity = self._transfers.entity
        while entity.unsent_bytes == 0 and entity.has_room and self._put_next():
            pass
        return self._transfers.next_packet(now.mono_ns)

    def _put_next(self) -> bool:
        """The best that waits is on its way; False if nothing waits."""
        while self._order:
            name = self._order.pop().product_id
            entry = self._entries[name]
            if not self._store.hold(entry.entry_id):  # evicted a moment ago
                continue
            body = self._whole_body(entry)
            if body is None:
                continue
            self._transfers.entity.put(OutgoingFile(name, len(body), crc_32(body), self._priorities[name]))
            return True
        return False

    def _whole_body(self, entry: QueueEntry) -> bytes | None:
        """The held product as it was made, or None (rule 5)."""
        try:
            body = self._body(entry.product_id)
            if is_sealed(body):
                return body
            self._store.discard(entry.entry_id)  # SQLite has no checksums; the ground would refuse it
        except StoreError:  # damaged where SQLite keeps its own
            self._store.release(entry.entry_id)
            self._refused.add(entry.entry_id)
        self._bodies.pop(entry.product_id, None)
        del self._entries[entry.product_id]
        self._telemetry.event("product_damaged", product_id=entry.product_id)
        return None

    def _body(self, name: str) -> bytes:
        if name not in self._bodies:
            self._bodies[name] = self._store.body(self._entries[name].entry_id)
            while sum(map(len, self._bodies.values())) > _BODIES_MAX_BYTES and len(self._bodies) > 1:
                self._bodies.popitem(last=False)
        self._bodies.move_to_end(name)
        return self._bodies[name]

    def piece(self, name: str, offset: int, length: int) -> bytes | None:
        """Bytes of a product on its way down, or None where it is damaged (rule 5)."""
        if name not in self._bodies and self._whole_body(self._entries[name]) is None:
            return None
        return self._body(name)[offset : offset + length]

    def has_left(self, ended: SendEnded) -> None:
        """The ground has the product, or refuses it (rule 3)."""
        self._bodies.pop(ended.name, None)
        entry = self._entries.get(ended.name)
        if entry is None:
            return
        if ended.is_delivered:
            self._store.acknowledge(entry.entry_id)
            del self._entries[ended.name]
            self._sent_products += 1
            self._sent_bytes += entry.size_bytes
        else:
            self._store.release(entry.entry_id)
            self._refused.add(entry.entry_id)
            self._telemetry.event("product_unacknowledged", product_id=ended.name)

    def has_come(self, name: str) -> None:
        """A file came up."""
        self._telemetry.event("file_received", path=name)

    def _tell(self) -> None:
        counters = self._transfers.entity.counters
        for name, value in (
            ("sent_products", self._sent_products),
            ("sent_bytes", self._sent_bytes),
            ("pdus_rejected", counters.pdus_rejected),
            ("link_bytes", counters.bytes_out),
            ("resent_bytes", counters.bytes_again),
            ("files_open", len(self._transfers.entity.sending()) + self._transfers.entity.receiving()),
        ):
            self._telemetry.set(name, value)

    def _end(self) -> None:
        if self._contact is None:
            return
        self._contact = None
        self._transfers.entity.freeze()
        self._bodies.clear()
        self._telemetry.event(
            "contact_finished", sent_products=self._sent_products, sent_bytes=self._sent_bytes
        )

    def _break_off(self, contact: Contact, error: StoreError) -> None:
        """What is in memory may be ahead of the disk: nothing more is sent from it (rule 5)."""
        self._broken = contact
        self._telemetry.event("store_error", reason=str(error))
        self._end()
        self._restored_ones = None
