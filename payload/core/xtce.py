"""The dictionary of all telemetry and commands as XTCE 1.2 (OMG formal/2018-10-04).

Rules:
1. Everything comes from the tables: nothing is written here that `core.reports`,
   `core.telecommands` or the channels' limits do not say.
2. A packet is found by its service and subtype, then by its fixed fields, from the root container
   CCSDSPacket down. Each container ends with the CRC-16.
3. A text is two parameters, its length in bytes and itself; a time is three, the fields of CDS; a
   packet in a command is its primary header's fields and the rest.
4. Channels keep their own names, so that a channel is one parameter; what belongs to one kind of
   packet only carries its name in front.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.etree import ElementTree as Xml

from payload.core.reports import Report, every_report
from payload.core.telecommands import COMMANDS, Command
from payload.core.telemetry.kinds import Limits
from payload.core.telemetry.tables import CHANNELS
from payload.core.wire import TEXT_MAX_CHARS, Field, Wire, bits_of

NAMESPACE = "http://www.omg.org/spec/XTCE/20180204"
SCHEMA = "https://www.omg.org/spec/XTCE/20180204/SpaceSystem.xsd"
ROOT_CONTAINER = "CCSDSPacket"

_PRIMARY = (
    ("VERSION", 3, "CCSDS packet version number, 0"),
    ("TYPE", 1, "0 telemetry, 1 telecommand"),
    ("SEC_HDR_FLG", 1, "1: there is a secondary header"),
    ("PKT_APID", 11, "application process id"),
    ("SEQ_FLGS", 2, "3: the packet is not segmented"),
    ("SRC_SEQ_CTR", 14, "packet sequence count"),
    ("PKT_LEN", 16, "bytes behind this header, less 1"),
)
_SECONDARY = (
    ("PUS_VERSION", 4, "2: PUS-C"),
    ("TIME_STATUS", 4, "1: the clock has been set"),
    ("SERVICE", 8, "service type"),
    ("SUBTYPE", 8, "message subtype"),
    ("MESSAGE_COUNT", 16, "of this service and subtype"),
    ("DESTINATION", 16, "source id of the command that is answered, else 0"),
    ("TIME_PREAMBLE", 8, "0x40: CDS, short form, epoch 1958-01-01"),
    ("TIME_DAYS", 16, "days since 1958-01-01"),
    ("TIME_MS", 32, "milliseconds of the day"),
)
_CDS_PARTS = (("preamble", 8), ("days", 16), ("ms", 32))
_CRC = "CRC16"


class _Dictionary:
    """The document as it grows; a parameter or type that is there is not written twice."""

    def __init__(self, apid: int, version: str) -> None:
        self.root = Xml.Element(
            "SpaceSystem",
            {
                "name": "Skysift",
                "xmlns": NAMESPACE,
                "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
                "xsi:schemaLocation": f"{NAMESPACE} {SCHEMA}",
            },
        )
        _child(self.root, "LongDescription", text=_ABOUT.format(apid=apid))
        _child(self.root, "Header", version=version, date="none", validationStatus="Working")
        telemetry = _child(self.root, "TelemetryMetaData")
        self._types = _child(telemetry, "ParameterTypeSet")
        self._parameters = _child(telemetry, "ParameterSet")
        self._containers = _child(telemetry, "ContainerSet")
        self._known: set[str] = set()
        self._limits = {channel.name: channel.limits for channel in CHANNELS}

    def headers(self) -> None:
        """The abstract containers that every packet starts with."""
        entries = self._container(ROOT_CONTAINER, "", (), is_abstract=True)
        for name, bits, meaning in _PRIMARY:
            self._entry(entries, self._number(name, bits, meaning))
        entries = self._container("PUSTelemetry", ROOT_CONTAINER, (("TYPE", 0), ("SEC_HDR_FLG", 1)), True)
        for name, bits, meaning in _SECONDARY:
            self._entry(entries, self._number(name, bits, meaning))
        self._number(_CRC, 16, "CRC-16 over the whole packet")

    def reports(self, reports: Sequence[Report]) -> None:
        """One container a report, below one for its service and subtype."""
        groups: dict[tuple[int, int], list[Report]] = {}
        for report in reports:
            groups.setdefault((report.service, report.subtype), []).append(report)
        for (service, subtype), group in groups.items():
            kind = (("SERVICE", service), ("SUBTYPE", subtype))
            fixed = group[0].fields[: len(group[0].fixed)]
            if not fixed:
                (report,) = group
                self._report(report, report.fields, "PUSTelemetry", kind)
                continue
            above = f"S{service}_{subtype}"
            entries = self._container(above, "PUSTelemetry", kind, is_abstract=True)
            for field in fixed:
                self._entry(
                    entries, self._number(f"{above}_{field.name}", bits_of(field.wire), field.meaning)
                )
            for report in group:
                where = tuple((f"{above}_{name}", value) for name, value in report.fixed.items())
                self._report(report, report.fields[len(fixed) :], above, where)

    def _report(
        self, report: Report, fields: Iterable[Field], above: str, where: Sequence[tuple[str, int]]
    ) -> None:
        entries = self._container(report.name, above, where, meaning=report.meaning)
        for field in fields:
            for name in self._field(field, report):
                self._entry(entries, name)
        self._entry(entries, _CRC)

    def _field(self, field: Field, report: Report) -> Sequence[str]:
        """The parameters of a field, in their order in the packet."""
        name = parameter_name(report, field)
        if field.wire is Wire.TIME:
            return [self._number(f"{name}_{part}", bits, field.meaning) for part, bits in _CDS_PARTS]
        if field.wire is Wire.TEXT:
            length = self._number(f"{name}_length", 8, f"bytes of {name}")
            return [length, self._text(name, length, field.meaning)]
        if field.wire is Wire.F64:
            return [self._float(name, field)]
        if field.labels:
            return [self._labelled(name, field)]
        return [self._number(name, bits_of(field.wire), field.meaning, field)]

    def _number(self, name: str, bits: int, meaning: str, field: Field | None = None) -> str:
        if self._is_new(name):
            kind = self._type("IntegerParameterType", name, field, signed="false", sizeInBits=str(bits))
            _child(kind, "IntegerDataEncoding", encoding="unsigned", sizeInBits=str(bits))
            self._alarm(kind, name)
            self._parameter(name, meaning)
        return name

    def _float(self, name: str, field: Field) -> str:
        if self._is_new(name):
            kind = self._type("FloatParameterType", name, field, sizeInBits="64")
            _child(kind, "FloatDataEncoding", encoding="IEEE754_1985", sizeInBits="64")
            self._alarm(kind, name)
            self._parameter(name, field.meaning)
        return name

    def _labelled(self, name: str, field: Field) -> str:
        if self._is_new(name):
            kind = self._type("EnumeratedParameterType", name, field)
            bits = str(bits_of(field.wire))
            _child(kind, "IntegerDataEncoding", encoding="unsigned", sizeInBits=bits)
            labels = _child(kind, "EnumerationList")
            for value, label in field.labels.items():
                _child(labels, "Enumeration", value=str(value), label=label)
            self._parameter(name, field.meaning)
        return name

    def _text(self, name: str, length: str, meaning: str) -> str:
        if self._is_new(name):
            kind = self._type("StringParameterType", name, None)
            encoding = _child(kind, "StringDataEncoding", encoding="US-ASCII")
            size = _child(encoding, "Variable", maxSizeInBits=str(8 * TEXT_MAX_CHARS))
            value = _child(size, "DynamicValue")
            _child(value, "ParameterInstanceRef", parameterRef=length, useCalibratedValue="false")
            _child(value, "LinearAdjustment", slope="8", intercept="0")
            self._parameter(name, meaning)
        return name

    def _is_new(self, name: str) -> bool:
        is_new = name not in self._known
        self._known.add(name)
        return is_new

    def _type(self, tag: str, name: str, field: Field | None, **attributes: str) -> Xml.Element:
        kind = _child(self._types, tag, name=f"{name}_type", **attributes)
        units = _child(kind, "UnitSet")
        if field is not None and field.unit:
            _child(units, "Unit", text=field.unit)
        return kind

    def _alarm(self, kind: Xml.Element, name: str) -> None:
        limits = self._limits.get(name)
        if limits is not None:
            ranges = _child(_child(kind, "DefaultAlarm"), "StaticAlarmRanges")
            for tag, low, high in _ranges(limits):
                bounds = {"minInclusive": low, "maxInclusive": high}
                _child(
                    ranges, tag, **{key: f"{bound:g}" for key, bound in bounds.items() if bound is not None}
                )

    def _parameter(self, name: str, meaning: str) -> None:
        parameter = _child(self._parameters, "Parameter", name=name, parameterTypeRef=f"{name}_type")
        if meaning:
            parameter.set("shortDescription", meaning)

    def _container(
        self,
        name: str,
        above: str,
        where: Sequence[tuple[str, int]],
        is_abstract: bool = False,
        meaning: str = "",
    ) -> Xml.Element:
        """A container's list of entries; ``where`` are the values that make it this one."""
        container = _child(self._containers, "SequenceContainer", name=name)
        if is_abstract:
            container.set("abstract", "true")
        if meaning:
            container.set("shortDescription", meaning)
        entries = _child(container, "EntryList")
        if above:
            base = _child(container, "BaseContainer", containerRef=above)
            comparisons = _child(_child(base, "RestrictionCriteria"), "ComparisonList")
            for parameter, value in where:
                _child(
                    comparisons,
                    "Comparison",
                    parameterRef=parameter,
                    value=str(value),
                    useCalibratedValue="false",
                )
        return entries

    def _entry(self, entries: Xml.Element, parameter: str) -> None:
        _child(entries, "ParameterRefEntry", parameterRef=parameter)


def dictionary(apid: int, version: str) -> bytes:
    """The whole document in UTF-8."""
    document = _Dictionary(apid, version)
    document.headers()
    document.reports(list(every_report()))
    _commands(document.root, apid)
    Xml.indent(document.root)
    return bytes(Xml.tostring(document.root, encoding="utf-8", xml_declaration=True)) + b"\n"


def parameter_name(report: Report, field: Field) -> str:
    """What a field of a report is called in the dictionary (rule 4)."""
    is_own = report.name.startswith("event_") or field.name not in _SHARED
    return f"{report.name}_{field.name}" if is_own else field.name


def _shared_names() -> set[str]:
    """Fields of housekeeping and service 1: they mean the same wherever they stand."""
    kinds = ("housekeeping_", "command_")
    return {
        field.name for report in every_report() if report.name.startswith(kinds) for field in report.fields
    }


def _commands(root: Xml.Element, apid: int) -> None:
    metadata = _child(root, "CommandMetaData")
    types = _child(metadata, "ArgumentTypeSet")
    for bits in (4, 8, 14, 16, 32, 64):
        kind = _child(
            types, "IntegerArgumentType", name=f"u{bits}", signed="false", sizeInBits=str(min(bits, 64))
        )
        _child(kind, "UnitSet")
        _child(kind, "IntegerDataEncoding", encoding="unsigned", sizeInBits=str(bits))
    kind = _child(types, "FloatArgumentType", name="f64", sizeInBits="64")
    _child(kind, "UnitSet")
    _child(kind, "FloatDataEncoding", encoding="IEEE754_1985", sizeInBits="64")
    kind = _child(types, "StringArgumentType", name="text")
    _child(kind, "UnitSet")
    encoding = _child(kind, "StringDataEncoding", encoding="US-ASCII")
    size = _child(encoding, "Variable", maxSizeInBits=str(8 * TEXT_MAX_CHARS))
    value = _child(size, "DynamicValue")
    _child(value, "ArgumentInstanceRef", argumentRef="path_length")
    _child(value, "LinearAdjustment", slope="8", intercept="0")
    _packet_type(types)
    commands = _child(metadata, "MetaCommandSet")
    for command in COMMANDS:
        _command(commands, command, apid)


def _packet_type(types: Xml.Element) -> None:
    """What stands behind the primary header of a packet in a packet: that header's length, and 1."""
    kind = _child(types, "BinaryArgumentType", name="packet_rest")
    _child(kind, "UnitSet")
    size = _child(_child(kind, "BinaryDataEncoding"), "SizeInBits")
    value = _child(size, "DynamicValue")
    _child(value, "ArgumentInstanceRef", argumentRef="command_packet_length")
    _child(value, "LinearAdjustment", slope="8", intercept="8")


def _command(commands: Xml.Element, command: Command, apid: int) -> None:
    """A command with its whole packet: not every importer follows containers of commands upwards."""
    made = _child(commands, "MetaCommand", name=command.name, shortDescription=command.meaning)
    arguments = _child(made, "ArgumentList")
    container = _child(made, "CommandContainer", name=f"{command.name}_container")
    entries = _child(container, "EntryList")
    _fixed(entries, "packet_id", 0x1800 | apid, 16)
    _fixed(entries, "sequence_flags", 3, 2)
    _argument(arguments, entries, "sequence_count", "u14")
    _argument(arguments, entries, "packet_length", "u16")
    _fixed(entries, "pus_version", 2, 4)
    _argument(arguments, entries, "acknowledge", "u4")
    _fixed(entries, "service", command.service, 8)
    _fixed(entries, "subtype", command.subtype, 8)
    _argument(arguments, entries, "source_id", "u16")
    if command.repeats:
        _fixed(entries, "n", 1, 8)
    for field in command.fields:
        _command_field(arguments, entries, command, field)
    for name, kind in (("command_counter", "u64"), ("authentication_tag", "u64"), ("crc16", "u16")):
        _argument(arguments, entries, name, kind)


def _command_field(arguments: Xml.Element, entries: Xml.Element, command: Command, field: Field) -> None:
    if field.name in command.fixed:
        _fixed(entries, field.name, command.fixed[field.name], bits_of(field.wire))
    elif field.wire is Wire.TIME:
        _fixed(entries, f"{field.name}_preamble", 0x40, 8)
        for part, bits in _CDS_PARTS[1:]:
            _argument(arguments, entries, f"{field.name}_{part}", f"u{bits}")
    elif field.wire is Wire.TEXT:
        _argument(arguments, entries, f"{field.name}_length", "u8")
        _argument(arguments, entries, field.name, "text")
    elif field.wire is Wire.PACKET:
        for part, kind in (("packet_id", "u16"), ("sequence", "u16"), ("packet_length", "u16")):
            _argument(arguments, entries, f"{field.name}_{part}", kind)
        _argument(arguments, entries, f"{field.name}_rest", "packet_rest")
    else:
        kind = "f64" if field.wire is Wire.F64 else f"u{bits_of(field.wire)}"
        _argument(arguments, entries, field.name, kind)


def _argument(arguments: Xml.Element, entries: Xml.Element, name: str, kind: str) -> None:
    _child(arguments, "Argument", name=name, argumentTypeRef=kind)
    _child(entries, "ArgumentRefEntry", argumentRef=name)


def _fixed(entries: Xml.Element, name: str, value: int, bits: int) -> None:
    digits = f"{value:0{-(-bits // 4)}X}"
    digits = digits.rjust(len(digits) + len(digits) % 2, "0")
    _child(entries, "FixedValueEntry", name=name, binaryValue=digits, sizeInBits=str(bits))


def _ranges(limits: Limits) -> Iterable[tuple[str, float | None, float | None]]:
    if limits.yellow_low is not None or limits.yellow_high is not None:
        yield "WarningRange", limits.yellow_low, limits.yellow_high
    if limits.red_low is not None or limits.red_high is not None:
        yield "CriticalRange", limits.red_low, limits.red_high


def _child(parent: Xml.Element, tag: str, text: str = "", **attributes: str) -> Xml.Element:
    made = Xml.SubElement(parent, tag, attributes)
    if text:
        made.text = text
    return made


_SHARED = _shared_names()
_ABOUT = (
    "Telemetry and telecommands of the payload, APID {apid}: CCSDS space packets with ECSS PUS-C "
    "secondary headers. A channel without a value yet is all ones, as a decimal number NaN. Commands "
    "end with a counter, which must be above the last one, and an authentication tag, HMAC-SHA256 "
    "over everything before it cut to 64 bits; without them nothing is done. A command that repeats its "
    "arguments is described with one group of them. schedule_commands (11, 4) holds a whole packet without "
    "counter and tag: its primary header, field by field, and the rest of it."
)
