"""Every kind of telecommand: service, subtype and arguments.

Rules:
1. Arguments follow one another without gaps. Those in ``fixed`` come first, have one value
   each, and tell commands of one service and subtype apart.
2. Where ECSS-E-ST-70-41C puts N groups of arguments in a command, N (8 bits) stands before them.
3. Arguments are exactly as long as they should be, or the command is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from payload.core.packets import Failure
from payload.core.wire import Field, Value, Wire, WireError, pack, pack_fields, unpack_fields
from payload.errors import CommandError

Arguments = dict[str, Value | bytes]


@dataclass(frozen=True, slots=True)
class Command:
    """One kind of telecommand; ``repeats``: N groups of ``fields``."""

    name: str
    service: int
    subtype: int
    fields: tuple[Field, ...]
    meaning: str
    repeats: bool = False
    fixed: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def pack(self, *groups: Mapping[str, Value | bytes]) -> bytes:
        """The arguments on the wire; without ``repeats`` there is one group."""
        assert self.repeats or len(groups) <= 1, self.name
        if self.repeats:
            return pack(Wire.U8, len(groups)) + b"".join(pack_fields(self.fields, group) for group in groups)
        return pack_fields(self.fields, {**(groups[0] if groups else {}), **self.fixed})

    def unpack(self, content: bytes) -> list[Arguments]:
        """The groups of arguments; exactly one without ``repeats``.

        Raises:
            CommandError: the content is cut short or too long.
        """
        groups: list[Arguments] = []
        try:
            count, at = (content[0], 1) if self.repeats and content else (1, 0)
            if count == 0 or (self.repeats and not content):
                raise WireError("no group of arguments")
            for _ in range(count):
                group, at = unpack_fields(self.fields, content, at)
                groups.append(group)
        except WireError as error:
            raise CommandError(f"{self.name}: {error}", Failure.BAD_ARGUMENTS) from error
        if at != len(content):
            raise CommandError(f"{self.name}: {len(content) - at} bytes too many", Failure.BAD_ARGUMENTS)
        return groups


_STRUCTURE_ID = Field("structure_id", Wire.U8)
_EVENT_ID = Field("event_id", Wire.U16)
_FUNCTION_ID = Field("function_id", Wire.U8)
_PARAMETER_ID = Field("parameter_id", Wire.U16)
_REQUEST = (Field("request_packet_id", Wire.U16), Field("request_sequence", Wire.U16))


def _function(number: int, name: str, meaning: str, *arguments: Field) -> Command:
    return Command(
        name,
        8,
        1,
        (_FUNCTION_ID, *arguments),
        meaning,
        fixed=MappingProxyType({"function_id": number}),
    )


COMMANDS = (
    Command(
        "enable_housekeeping", 3, 5, (_STRUCTURE_ID,), "Send these structures periodically.", repeats=True
    ),
    Command("disable_housekeeping", 3, 6, (_STRUCTURE_ID,), "Send these only on request.", repeats=True),
    Command("request_housekeeping", 3, 27, (_STRUCTURE_ID,), "Send each of these once, now.", repeats=True),
    Command("enable_events", 5, 5, (_EVENT_ID,), "Report these events again.", repeats=True),
    Command("disable_events", 5, 6, (_EVENT_ID,), "Count these events only.", repeats=True),
    Command("list_disabled_events", 5, 7, (), "Report which events are not reported."),
    _function(1, "start_imaging", "Take strips from the inbox, one after the other."),
    _function(2, "stop_imaging", "Take no strip; the one under way stops and stays the next."),
    _function(3, "load_strip", "This strip, on the payload's disk, is the next.", Field("path", Wire.TEXT)),
    _function(4, "run_self_test", "Test memory, models, store and networks, with a progress report each."),
    _function(5, "clear_queue", "Everything that waits for the ground, and is not on its way, is dropped."),
    _function(
        20,
        "install_model",
        "Verify this package, delta or root file and put it in force.",
        Field("path", Wire.TEXT),
    ),
    _function(21, "revert_model", "Give up the model on trial of this task.", Field("task", Wire.TEXT)),
    Command("enable_schedule", 11, 1, (), "Release scheduled commands at their time; also those held back."),
    Command("disable_schedule", 11, 2, (), "Release none; they stay."),
    Command("reset_schedule", 11, 3, (), "Forget all scheduled commands; the schedule is disabled."),
    Command(
        "schedule_commands",
        11,
        4,
        (Field("release_time", Wire.TIME), Field("command", Wire.PACKET)),
        "Do these commands at their times. They need no tag of their own: this one covers them.",
        repeats=True,
    ),
    Command("unschedule_commands", 11, 5, _REQUEST, "Forget these scheduled commands.", repeats=True),
    Command("list_schedule", 11, 17, (), "Report every scheduled command, in the order of release."),
    Command("are_you_alive", 17, 1, (), "Answer."),
    Command("report_parameters", 20, 1, (_PARAMETER_ID,), "Report what these parameters are.", repeats=True),
    Command(
        "set_parameters",
        20,
        3,
        (_PARAMETER_ID, Field("parameter_value", Wire.F64)),
        "Change these parameters, all or none.",
        repeats=True,
    ),
)


def command_named(name: str) -> Command:
    """The command of that name; a KeyError if there is none."""
    return _BY_NAME[name]


def command_of(service: int, subtype: int, content: bytes) -> Command:
    """Which command it is, by service, subtype and fixed arguments.

    Raises:
        CommandError: none of ours.
    """
    if service not in _SERVICES:
        raise CommandError(f"service {service} is not known", Failure.UNKNOWN_SERVICE)
    candidates = _BY_TYPE.get((service, subtype))
    if not candidates:
        raise CommandError(f"service {service} has no subtype {subtype}", Failure.UNKNOWN_SUBTYPE)
    for command in candidates:
        if content.startswith(pack_fields(command.fields[: len(command.fixed)], command.fixed)):
            return command
    if not content:
        raise CommandError("no function is named", Failure.BAD_ARGUMENTS)
    raise CommandError(f"function {content[0]} is not known", Failure.UNKNOWN_FUNCTION)


def _by_type(commands: Sequence[Command]) -> dict[tuple[int, int], list[Command]]:
    found: dict[tuple[int, int], list[Command]] = {}
    for command in commands:
        found.setdefault((command.service, command.subtype), []).append(command)
    return found


_BY_NAME = {command.name: command for command in COMMANDS}
_BY_TYPE = _by_type(COMMANDS)
_SERVICES = {command.service for command in COMMANDS}
