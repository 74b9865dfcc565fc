"""Our telemetry, read by decoders that know nothing of us: the dictionary and the bytes are enough."""

from __future__ import annotations

import io
import math
import random
import string
import warnings
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from payload.core import xtce
from payload.core.guard import seal
from payload.core.packets import Request, pack_telecommand, pack_telemetry
from payload.core.refusals import REFUSED_CODE, Refusal
from payload.core.reports import Report, every_report, report_named
from payload.core.telecommands import COMMANDS, command_named
from payload.core.telemetry import Telemetry
from payload.core.wire import TEXT_MAX_CHARS, Field, Wire, bits_of
from payload.errors import CommandError
from payload.flight.calls import Call
from tests.on_board import Sent, ToldClock

ccsdspy = pytest.importorskip("ccsdspy")
spp = pytest.importorskip("space_packet_parser")
validation = pytest.importorskip("space_packet_parser.xtce.validation")

APID = 100
REPORTS = tuple(every_report())
KEY = bytes(range(32))
FEW, MANY = 40, 10_000
NOON_UTC_NS = 1_800_000_000_123_000_000


def random_value(field: Field, dice: random.Random) -> int | float | str:
    if field.wire is Wire.TEXT:
        size = dice.choice((0, 1, 7, 40, TEXT_MAX_CHARS))
        return "".join(dice.choices(string.ascii_letters + string.digits + " .:/_-", k=size))
    if field.wire is Wire.F64:
        return dice.choice((0.0, -1.5, 1e300, dice.uniform(-1e6, 1e6)))
    if field.wire is Wire.TIME:
        return dice.randrange(0, 4_000_000_000_000) * 1_000_000
    if field.labels:
        return dice.choice(list(field.labels))
    bits = bits_of(field.wire)
    return dice.choice((0, 1, (1 << bits) - 1, dice.getrandbits(bits)))


def packets_of(report: Report, count: int) -> tuple[list[bytes], list[dict[str, Any]]]:
    """``count`` packets of one kind with random values, and what each holds."""
    dice = random.Random(report.name)
    packets, held = [], []
    for number in range(count):
        values = {f.name: random_value(f, dice) for f in report.fields if f.name not in report.fixed}
        content = report.pack(values)
        packets.append(
            pack_telemetry(
                APID, report.service, report.subtype, number, number, NOON_UTC_NS + number, True, content
            )
        )
        held.append({**values, **report.fixed})
    return packets, held


@pytest.fixture(scope="module")
def dictionary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("xtce") / "skysift.xml"
    path.write_bytes(xtce.dictionary(APID, "1"))
    return path


@pytest.fixture(scope="module")
def definition(dictionary: Path) -> Any:
    return spp.load_xtce(str(dictionary))


def test_the_dictionary_is_valid_by_the_schema_of_the_omg(dictionary: Path) -> None:
    # The schema of 2018-02-04 comes with space-packet-parser; nothing is fetched.
    found = validation.validate_xtce(str(dictionary), level="all")
    assert found.valid, found.errors
    assert found.schema_location in (None, xtce.SCHEMA)


def test_a_dictionary_that_is_wrong_is_not_valid(dictionary: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.xml"
    wrong.write_text(dictionary.read_text().replace('sizeInBits="11"', 'sizeInBits="eleven"', 1))
    assert not validation.validate_xtce(str(wrong), level="all", raise_on_error=False).valid


def command_bits(dictionary: Path, name: str, given: dict[str, int | bytes]) -> bytes:
    """The packet that the dictionary describes: its entries one behind the other, and nothing else."""
    space = {"x": xtce.NAMESPACE}
    root = ElementTree.parse(dictionary).getroot()
    bits = {kind.get("name"): kind.find(".//x:IntegerDataEncoding", space) for kind in root.iter()}
    (command,) = root.iterfind(f".//x:MetaCommand[@name='{name}']", space)
    kinds = {one.get("name"): one.get("argumentTypeRef") for one in command.iterfind(".//x:Argument", space)}
    digits = ""
    for entry in command.iterfind(".//x:EntryList/*", space):
        if entry.tag.endswith("FixedValueEntry"):
            size = int(entry.get("sizeInBits", ""))
            digits += f"{int(entry.get('binaryValue', ''), 16):0{size}b}"
            continue
        argument = entry.get("argumentRef", "")
        value, encoding = given[argument], bits[kinds[argument]]
        if isinstance(value, bytes):
            digits += "".join(f"{byte:08b}" for byte in value)
        else:
            assert encoding is not None, argument
            digits += f"{value:0{encoding.get('sizeInBits')}b}"
    return int(digits, 2).to_bytes(len(digits) // 8, "big")


def test_a_scheduled_command_can_be_made_by_the_dictionary_alone(dictionary: Path) -> None:
    inner = pack_telecommand(APID, 20, 1, 4242, command_named("report_parameters").pack({"parameter_id": 3}))
    command = command_named("schedule_commands")
    content = command.pack({"release_time": NOON_UTC_NS, "command": inner})
    packet = seal(KEY, 77, APID, command.service, command.subtype, 5, content)
    days, ms = divmod(NOON_UTC_NS // 1_000_000, 86_400_000)
    given: dict[str, int | bytes] = {
        "sequence_count": 5,
        "packet_length": len(packet) - 7,
        "acknowledge": 15,
        "source_id": 0,
        "release_time_days": days + 4383,
        "release_time_ms": ms,
        "command_packet_id": int.from_bytes(inner[:2], "big"),
        "command_sequence": int.from_bytes(inner[2:4], "big"),
        "command_packet_length": len(inner) - 7,
        "command_rest": inner[6:],
        "command_counter": 77,
        "authentication_tag": int.from_bytes(packet[-10:-2], "big"),
        "crc16": int.from_bytes(packet[-2:], "big"),
    }
    assert command_bits(dictionary, "schedule_commands", given) == packet


def test_every_command_is_in_the_dictionary(dictionary: Path) -> None:
    found = ElementTree.parse(dictionary).getroot().iterfind(f".//{{{xtce.NAMESPACE}}}MetaCommand")
    assert [command.get("name") for command in found] == [command.name for command in COMMANDS]


def names_of(report: Report, field: Field) -> str:
    if report.fixed and field.name in report.fixed:
        return f"S{report.service}_{report.subtype}_{field.name}"
    return xtce.parameter_name(report, field)


def read_by_space_packet_parser(definition: Any, report: Report, count: int) -> None:
    """Every value of every packet is read as it was written, enumeration labels included."""
    packets, held = packets_of(report, count)
    found = [definition.parse_bytes(packet) for packet in spp.ccsds_generator(io.BytesIO(b"".join(packets)))]
    assert len(found) == count
    for number, (read, values) in enumerate(zip(found, held, strict=True)):
        assert (read["SERVICE"], read["SUBTYPE"]) == (report.service, report.subtype)
        assert (read["SRC_SEQ_CTR"], read["MESSAGE_COUNT"]) == (number & 0x3FFF, number & 0xFFFF)
        for field in report.fields:
            name, value = names_of(report, field), values[field.name]
            if field.wire is Wire.TIME:
                days, ms = divmod(int(value) // 1_000_000, 86_400_000)
                assert (read[f"{name}_days"], read[f"{name}_ms"]) == (days + 4383, ms)
            elif field.labels:
                assert read[name].raw_value == value
                assert read[name] == field.labels[int(value)]
            else:
                assert read[name] == value, (report.name, name)
        assert read["CRC16"] == int.from_bytes(packets[number][-2:], "big")


def read_by_ccsdspy(report: Report, count: int) -> None:
    """Every value of every packet is read as it was written."""
    packets, held = packets_of(report, count)
    kind = ccsdspy.VariableLength if any(f.wire is Wire.TEXT for f in report.fields) else ccsdspy.FixedLength
    header = [("pus", 8), ("service", 8), ("subtype", 8), ("message_count", 16), ("destination", 16)]
    fields = [ccsdspy.PacketField(name, "uint", bits) for name, bits in header]
    fields += [ccsdspy.PacketField("preamble", "uint", 8), ccsdspy.PacketField("days", "uint", 16)]
    fields += [ccsdspy.PacketField("ms", "uint", 32)]
    for field in report.fields:
        fields += ccsdspy_fields(field)
    fields.append(ccsdspy.PacketField("crc16", "uint", 16))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about its own numerics; the values are what counts
        read = kind(fields).load(io.BytesIO(b"".join(packets)))
    assert len(read["crc16"]) == count
    for field in report.fields:
        written = [values[field.name] for values in held]
        if field.wire is Wire.TEXT:
            assert [bytes(map(int, text)).decode() for text in read[field.name]] == written
        elif field.wire is Wire.TIME:
            days = read[f"{field.name}_days"].astype(int) - 4383
            ms = read[f"{field.name}_ms"].astype(int)
            assert [
                (int(d) * 86_400_000 + int(m)) * 1_000_000 for d, m in zip(days, ms, strict=True)
            ] == written
        else:
            assert [field_value(field, value) for value in read[field.name]] == written, field.name


def ccsdspy_fields(field: Field) -> list[Any]:
    if field.wire is Wire.TEXT:
        length = f"{field.name}_length"
        return [
            ccsdspy.PacketField(length, "uint", 8),
            ccsdspy.PacketArray(name=field.name, data_type="uint", bit_length=8, array_shape=length),
        ]
    if field.wire is Wire.TIME:
        parts = (("preamble", 8), ("days", 16), ("ms", 32))
        return [ccsdspy.PacketField(f"{field.name}_{part}", "uint", bits) for part, bits in parts]
    kind = "float" if field.wire is Wire.F64 else "uint"
    return [ccsdspy.PacketField(field.name, kind, bits_of(field.wire))]


def field_value(field: Field, value: Any) -> int | float:
    return float(value) if field.wire is Wire.F64 else int(value)


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.name)
def test_space_packet_parser_reads_every_value_through_the_dictionary(
    definition: Any, report: Report
) -> None:
    read_by_space_packet_parser(definition, report, FEW)


@pytest.mark.parametrize("refusal", Refusal, ids=lambda refusal: refusal.name.lower())
def test_why_an_update_is_refused_is_read_through_the_dictionary(definition: Any, refusal: Refusal) -> None:
    """As the board says it, and with the reason in words."""
    clock, telemetry = ToldClock(), Telemetry()
    sent = Sent(APID, clock, telemetry)
    command = command_named("install_model")
    call = Call(command, [], Request(6245, 49153), clock.passes(0.0), None, sent.downlink, telemetry)
    call.fail(CommandError("why", REFUSED_CODE + refusal))
    (raw,) = spp.ccsds_generator(io.BytesIO(b"".join(sent.packets)))
    read = definition.parse_bytes(raw)
    report = report_named("command_not_completed")
    code, reason = (xtce.parameter_name(report, field) for field in report.fields[-2:])
    assert (read[code], read[reason]) == (f"refused_{refusal.name.lower()}", "why")
    assert read[code].raw_value == 128 + refusal.value


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.name)
def test_ccsdspy_reads_every_value(report: Report) -> None:
    read_by_ccsdspy(report, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.name)
def test_third_parties_read_ten_thousand_packets_of_every_kind(definition: Any, report: Report) -> None:
    read_by_space_packet_parser(definition, report, MANY)
    read_by_ccsdspy(report, MANY)


def test_a_channel_without_a_value_is_all_ones_or_not_a_number(definition: Any) -> None:
    report = next(report for report in REPORTS if report.name == "housekeeping_health")
    content = report.pack({field.name: None for field in report.fields})
    packet = pack_telemetry(APID, 3, 25, 0, 0, NOON_UTC_NS, True, content)
    (raw,) = spp.ccsds_generator(io.BytesIO(packet))
    read = definition.parse_bytes(raw)
    for field in report.fields[1:]:
        value = read[names_of(report, field)]
        assert math.isnan(value) if field.wire is Wire.F64 else value == (1 << bits_of(field.wire)) - 1
