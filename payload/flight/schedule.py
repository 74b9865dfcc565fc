"""Service 11: commands that wait for their time.

Rules:
1. A command is released when the clock has reached its time, in the order of the times, once:
   it is forgotten on the disk before it is done, so that no power cut does it twice. A turn
   releases at most RELEASED_AT_ONCE; those behind them are not late by that.
2. One that is later than the permitted lateness is held: the payload was off, or the clock
   has jumped. It stays, is told once, and is released when the ground enables the schedule.
3. While the clock is not set nothing is released and everything stays. A clock that runs
   backwards makes commands wait longer, and does none twice.
4. Of a command that schedules others all are taken or none; each is checked as if it were to be
   done now. It may not schedule anything itself. Two commands of one request id and time are
   refused; the very same packet again changes nothing.
5. What is scheduled, and whether the schedule is enabled, is remembered over a restart.
6. A command may be about the schedule: what it takes away or disables is not done behind it, also
   where both are due in the same turn. A reset leaves the schedule disabled (ECSS-E-ST-70-41C).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from payload.core.clock import is_time_set
from payload.core.packets import Failure, Request, Telecommand, request_of, unpack_telecommand
from payload.core.telecommands import Arguments, Command, command_of
from payload.core.telemetry import Telemetry
from payload.errors import CommandError
from payload.flight.calls import Call, Execute, Now, Quiet
from payload.ports import FlightMemory

SCHEDULED_MAX = 256
RELEASED_AT_ONCE = 4
"""Each is one write to the disk and what it does, and a turn of the loop is short."""
_NS_PER_S = 1_000_000_000
_WAITING = "schedule/"
_DISABLED = "schedule_disabled"

Do = Callable[[Command, list[Arguments], Telecommand, Now], None]


class Schedule(Quiet):
    """Releases commands; ``do`` does them."""

    def __init__(
        self,
        apid: int,
        memory: FlightMemory,
        telemetry: Telemetry,
        late_s: Callable[[], float],
        do: Do,
    ) -> None:
        self._apid = apid
        self._memory = memory
        self._telemetry = telemetry
        self._late_s = late_s
        self._do = do
        self._waiting = {name: str(memory.get(name)) for name in memory.names(_WAITING)}
        self._told: set[str] = set()
        self._freed: set[str] = set()
        """Those that are done however late it gets: seen in time, or the ground wants it so."""
        self._is_releasing = False
        self._is_behind = False
        self._is_enabled = memory.get(_DISABLED) is None
        self._count()

    @property
    def commands(self) -> Mapping[str, Execute]:
        return {
            "enable_schedule": self._enable,
            "disable_schedule": self._disable,
            "reset_schedule": self._reset,
            "schedule_commands": self._insert,
            "unschedule_commands": self._delete,
            "list_schedule": self._list,
        }

    def pause_s(self) -> float:
        """None while more is due than one turn releases."""
        return 0.0 if self._is_behind else super().pause_s()

    def poll(self, now: Now) -> None:
        """What is due has been released or held, or some of it."""
        self._is_behind = False
        if not self._waiting or not self._is_enabled or not is_time_set(now.utc_ns):
            return
        self._is_releasing = True
        try:
            self._release_some(self._in_time(now), now)
        finally:
            self._is_releasing = False

    def _in_time(self, now: Now) -> list[str]:
        """Of what is due all that is not too late; the others are held."""
        found = []
        for name in self._due(now):
            late_s = (now.utc_ns - _time_of(name)) / _NS_PER_S
            if late_s > self._late_s() and name not in self._freed:
                self._hold(name, late_s)
            else:
                found.append(name)
        return found

    def _release_some(self, names: list[str], now: Now) -> None:
        for name in names[:RELEASED_AT_ONCE]:
            if self._is_enabled and name in self._waiting:  # until one of them says otherwise
                self._release(name, now)
        left = [name for name in names[RELEASED_AT_ONCE:] if name in self._waiting]
        self._freed.update(left)
        self._is_behind = bool(left)

    def _enable(self, call: Call) -> bool:
        self._memory.drop(_DISABLED)
        self._is_enabled = True
        if is_time_set(call.now.utc_ns):
            self._freed.update(self._due(call.now))
            if not self._is_releasing:  # else this command is a scheduled one, and the rest follows it
                self.poll(call.now)
        return True

    def _disable(self, _call: Call) -> bool:
        self._memory.put(_DISABLED, 1)
        self._is_enabled = False
        return True

    def _reset(self, _call: Call) -> bool:
        self._memory.put_all({_DISABLED: 1, **dict.fromkeys(self._waiting)})
        self._is_enabled = False
        self._forgotten(list(self._waiting))
        return True

    def _insert(self, call: Call) -> bool:
        added: dict[str, str] = {}
        for group in call.groups:
            release_ns, packet = max(int(group["release_time"]), 0), group["command"]
            assert isinstance(packet, bytes)
            self._parse(packet)
            if is_time_set(call.now.utc_ns) and release_ns <= call.now.utc_ns:
                raise CommandError("the release time has passed", Failure.TIME_PAST)
            name = _name_of(release_ns, request_of(packet))
            if {**self._waiting, **added}.get(name, packet.hex()) != packet.hex():
                raise CommandError(
                    "another command of this request id is scheduled for this time", Failure.ALREADY_SCHEDULED
                )
            added[name] = packet.hex()
        if len({**self._waiting, **added}) > SCHEDULED_MAX:
            raise CommandError(f"at most {SCHEDULED_MAX} commands may wait", Failure.SCHEDULE_FULL)
        self._memory.put_all(added)
        self._waiting = dict(sorted({**self._waiting, **added}.items()))
        self._told -= added.keys()
        self._count()
        return True

    def _delete(self, call: Call) -> bool:
        wanted: dict[str, None] = {}  # each once, however often it is named
        for group in call.groups:
            request = Request(int(group["request_packet_id"]), int(group["request_sequence"]))
            found = [name for name in self._waiting if _request_of(name) == request]
            if not found:
                raise CommandError("no such command is scheduled", Failure.NOT_SCHEDULED)
            wanted.update(dict.fromkeys(found))
        self._memory.put_all(wanted)
        self._forgotten(wanted)
        return True

    def _list(self, call: Call) -> bool:
        for name in self._waiting:
            values = {"release_time": _time_of(name), **_request_of(name).fields()}
            call.report("scheduled_command", values)
        return True

    def _parse(self, packet: bytes) -> tuple[Command, list[Arguments], Telecommand]:
        found = unpack_telecommand(packet, self._apid)
        command = command_of(found.service, found.subtype, found.content)
        if command.name == "schedule_commands":
            raise CommandError("a scheduled command may not schedule others", Failure.OUT_OF_RANGE)
        return command, command.unpack(found.content), found

    def _due(self, now: Now) -> list[str]:
        return [name for name in self._waiting if _time_of(name) <= now.utc_ns]

    def _hold(self, name: str, late_s: float) -> None:
        if name not in self._told:
            self._told.add(name)
            packet = bytes.fromhex(self._waiting[name])
            self._telemetry.event("command_held", service=packet[7], subtype=packet[8], late_s=late_s)

    def _release(self, name: str, now: Now) -> None:
        packet = bytes.fromhex(self._waiting[name])
        self._memory.drop(name)
        self._forgotten([name])
        try:
            command, groups, found = self._parse(packet)
        except CommandError as error:  # the program has changed since it was scheduled
            self._telemetry.add("commands_failed")
            self._telemetry.event(
                "command_failed",
                service=packet[7],
                subtype=packet[8],
                failure_code=error.failure_code,
                reason=str(error),
            )
            return
        self._do(command, groups, found, now)

    def _forgotten(self, names: Iterable[str]) -> None:
        """They are on the disk no more, and so wait no more."""
        for name in names:
            del self._waiting[name]
            self._told.discard(name)
            self._freed.discard(name)
        self._count()

    def _count(self) -> None:
        self._telemetry.set("scheduled_commands", len(self._waiting))


def _name_of(release_ns: int, request: Request) -> str:
    """A name whose order is that of the release times."""
    return f"{_WAITING}{release_ns:020d}/{request.packet_id:05d}/{request.sequence_control:05d}"


def _time_of(name: str) -> int:
    return int(name.split("/")[1])


def _request_of(name: str) -> Request:
    _, _, packet_id, sequence = name.split("/")
    return Request(int(packet_id), int(sequence))
