"""The rules of payload.config, on the shipped files and on what operators get wrong."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from payload.config import MAX_FILE_BYTES, Config, load_config, parse_config
from payload.config.yaml_walk import rules_of
from payload.errors import ConfigError
from payload.types import Grid


def places_of(text: str) -> Iterator[tuple[str, int]]:
    """Every key of a YAML text, sections entered, with its line (1-based)."""

    def walk(node: yaml.Node, prefix: str) -> Iterator[tuple[str, int]]:
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                yield prefix + name.value, name.start_mark.line + 1
                yield from walk(value, f"{prefix}{name.value}.")

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert root is not None
    return walk(root, "")


CONFIGS = Path(__file__).resolve().parents[1] / "firmware_configs"
FLATSAT = (CONFIGS / "flatsat.yaml").read_text(encoding="utf-8")
LINES = dict(places_of(FLATSAT))
KEYS = [key for key, _ in rules_of(Config) if key in LINES]
SECTIONS = sorted({key.partition(".")[0] for key in KEYS})


def faults_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        parse_config(text, "board.yaml")
    return str(refusal.value).split("\n")


def line_of(key: str) -> int:
    """The line of ``section.name`` in flatsat.yaml."""
    return LINES[key]


def with_value(key: str, value: str) -> str:
    """flatsat.yaml with the text ``value`` at ``key``."""
    lines = FLATSAT.splitlines()
    old = lines[line_of(key) - 1]
    lines[line_of(key) - 1] = f"{old[: old.index(':')]}: {value}"
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_configuration_loads_and_its_folders_are_found_from_it(path: Path) -> None:
    config = load_config(path)
    assert config.board.name == path.stem
    assert config.source == str(path)
    assert config.folder(config.models.scene).resolve().parent == CONFIGS.parent / "models"


def test_what_the_file_says_is_what_the_program_gets() -> None:
    config = parse_config(FLATSAT, "board.yaml")
    expected = yaml.safe_load(FLATSAT)
    found = dataclasses.asdict(config)
    assert found.pop("source") == "board.yaml"
    for task in ("scene", "surface"):
        kinds = [kind.value for kind in found["engine"].pop(task)]
        assert kinds == expected["engine"].pop(task)
    for section in ("openvino", "litert", "stand_in"):
        assert found["engine"].pop(section) is None
    assert found["strip"].pop("missing_bands") is None
    grids = [Grid[name.upper()] for name in expected["products"].pop("surface_grids")]
    assert list(found["products"].pop("surface_grids")) == grids
    assert found == expected


@pytest.mark.parametrize("key", KEYS)
def test_every_key_of_the_dataclasses_stands_in_the_file_once(key: str) -> None:
    lines = FLATSAT.splitlines()
    place = line_of(key) - 1
    without = faults_of("\n".join(lines[:place] + lines[place + 1 :]))
    section, _, name = key.rpartition(".")
    empty = f"{section}: must be a mapping with the keys {name}"
    assert any(f": {key}: missing; must be " in fault or fault.endswith(empty) for fault in without), without
    twice = faults_of("\n".join([*lines[: place + 1], lines[place], *lines[place + 1 :]]))
    assert twice == [f"board.yaml:{place + 2}: {key}: stands twice; the first is in line {place + 1}"]


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_of_the_dataclasses_stands_in_the_file_once_sections_too(section: str) -> None:
    expected = yaml.safe_load(FLATSAT)
    del expected[section]
    (fault,) = faults_of(yaml.safe_dump(expected))
    assert f": {section}: missing; must be a mapping with the keys " in fault


@pytest.mark.parametrize("key", KEYS)
def test_no_other_key_and_a_close_name_is_suggested(key: str) -> None:
    section, _, name = key.rpartition(".")
    lines = FLATSAT.splitlines()
    place = line_of(key) - 1
    lines[place] = lines[place].replace(name, f"{name}x", 1)
    faults = faults_of("\n".join(lines))
    assert f"board.yaml:{place + 1}: {section}.{name}x: unknown key; did you mean {name}?" in faults


def test_no_other_key_and_what_is_allowed_is_said_when_none_is_close() -> None:
    fault = faults_of(FLATSAT + "zzz: 1\n")[0]
    lines = FLATSAT.count("\n")
    assert fault.startswith(f"board.yaml:{lines + 1}: zzz: unknown key; allowed here: board, memory, ")


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("wrong", ["", "null", "[[1]]", "{a: 1}", "2026-11-20", "-1", '""', '"\\0"'])
def test_a_fault_names_file_line_key_and_what_is_allowed(key: str, wrong: str) -> None:
    (fault,) = set(faults_of(with_value(key, wrong)))
    allowed = dict(rules_of(Config))[key].removeprefix("a list, each once, of ")
    assert fault.startswith(f"board.yaml:{line_of(key)}: {key}: ")
    assert fault.endswith(allowed)


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("board.cores", "0x4"),
        ("board.cores", "04.0"),
        ("board.cores", "'4'"),
        ("board.cores", "4.0"),
        ("board.cores", "true"),
        ("board.cores", "65"),
        ("board.cores", "1:30"),
        ("board.cores", "9" * 5000),
        ("tiles.inner_rows_px", "250"),
        ("tiles.inner_rows_px", "0"),
        ("strip.block_rows_px", "49"),
        ("engine.collect_timeout_s", ".inf"),
        ("engine.collect_timeout_s", ".nan"),
        ("engine.collect_timeout_s", "0.0"),
        ("judge.min_clear_ratio", "1.01"),
        ("judge.min_clear_ratio", "2 %"),
        ("products.raw", "yes"),
        ("products.raw", "'true'"),
        ("products.surface_grids", "[r10m, r10m]"),
        ("products.surface_grids", "[r30m]"),
        ("products.surface_grids", "[]"),
        ("products.surface_grids", "r10m"),
        ("engine.scene", "[tpu]"),
        ("board.name", "12"),
        ("board.name", "on"),
        ("board.name", '"two\\nlines"'),
        ("board.name", "x" * 65),
    ],
)
def test_a_fault_names_the_line_of_values_that_yaml_or_people_take_otherwise(key: str, wrong: str) -> None:
    faults = faults_of(with_value(key, wrong))
    assert [fault.split(": ")[:2] for fault in faults] == [[f"board.yaml:{line_of(key)}", key]]
    assert max(map(len, faults)) < 300


@pytest.mark.parametrize(
    ("key", "right", "value"),
    [
        ("memory.budget_bytes", "200_000_000", 200_000_000),
        ("memory.budget_bytes", "200000000", 200_000_000),
        ("engine.collect_timeout_s", "5", 5.0),
        ("engine.collect_timeout_s", "1e1", 10.0),
        ("judge.min_clear_ratio", "1", 1.0),
        ("judge.min_clear_ratio", "0.0", 0.0),
        ("board.name", "'12'", "12"),
        ("products.surface_grids", "[r60m]", (Grid.R60M,)),
    ],
)
def test_a_value_inside_its_range_is_taken_as_written(key: str, right: str, value: object) -> None:
    section, _, name = key.partition(".")
    config = parse_config(with_value(key, right), "board.yaml")
    found = getattr(getattr(config, section), name)
    assert found == value
    assert type(found) is type(value)


def test_all_faults_are_reported_together_one_a_line_in_their_order() -> None:
    lines = with_value("board.cores", "none").splitlines()
    lines[line_of("queue.capacity_bytes") - 1] = "  capacity_byte: 7"
    faults = faults_of("\n".join(lines))
    keys = [fault.split(": ")[1] for fault in faults]
    assert keys == ["board.cores", "queue.capacity_byte", "queue.capacity_bytes"]
    numbers = [int(fault.split(":")[1]) for fault in faults]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "1: empty"),
        ("# nothing\n", "1: empty"),
        ("- board\n", "1: must be a mapping with the keys board, memory"),
        ("flatsat\n", "1: must be a mapping with the keys board, memory"),
        ("board: &it {}\n", "1: anchor or alias 'it': write the value out"),
        ("board: !!map {}\n", "1: tag 'tag:yaml.org,2002:map': write the plain value"),
        ("board: !!python/object:os.system {}\n", "1: tag 'tag:yaml.org,2002:python/object:os.system'"),
        ("a: 1\n---\nb: 2\n", "2: a second document"),
        ("\n" + "[" * 5000, "2: deeper than 8 levels"),
        ("board:\n\tcores: 4\n", "2: not YAML: found character '\\t' that cannot start any token"),
        ("board: [1\n", "2: not YAML: "),
        ("board: 'x\n", "2: not YAML: "),
        ("a: b: c\n", "1: not YAML: mapping values are not allowed here"),
        ("\0", "1: not YAML: unacceptable character"),
    ],
)
def test_plain_yaml_only(text: str, complaint: str) -> None:
    assert faults_of(text)[0].startswith(f"board.yaml:{complaint}")


@pytest.mark.parametrize(
    ("key", "value", "other"),
    [
        ("memory.budget_bytes", "1_700_000_001", "at most board.memory_bytes, 1700000000"),
        (
            "products.quicklook_pitch_px",
            "10",
            "a divisor of tiles.inner_rows_px and tiles.inner_columns_px, 288 and 1008",
        ),
        ("memory.interpreter_bytes", "402_653_184", "below memory.budget_bytes, 402653184"),
        ("engine.threads", "5", "at most board.cores, 4"),
    ],
)
def test_keys_that_bound_each_other_are_checked_together(key: str, value: str, other: str) -> None:
    assert faults_of(with_value(key, value)) == [f"board.yaml:{line_of(key)}: {key}: must be {other}"]


def test_a_file_that_cannot_be_a_configuration_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigError, match=r"large\.yaml: larger than 65536 bytes"):
        load_config(large)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"board:\n  name: \xe9\n")
    with pytest.raises(ConfigError, match=r"latin\.yaml:2: not UTF-8"):
        load_config(latin)
    with pytest.raises(ConfigError, match=r"absent\.yaml: cannot be read: No such file"):
        load_config(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path)


def yaml_values() -> st.SearchStrategy[Any]:
    plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    return st.recursive(
        plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain, inner, max_size=3)
    )


@settings(max_examples=60)
@given(key=st.sampled_from(KEYS), value=yaml_values())
def test_any_value_at_any_key_is_taken_or_refused_by_name_and_nothing_else(key: str, value: Any) -> None:
    section, _, name = key.partition(".")
    document = yaml.safe_load(FLATSAT)
    document[section][name] = value
    for fault in refusals(yaml.safe_dump(document)):
        named = f": {section}" in fault or ": memory." in fault or ": engine.threads" in fault
        assert named or "deeper than" in fault  # refused before there are keys


@settings(max_examples=60)
@given(st.binary(max_size=60), st.integers(0, len(FLATSAT) - 1))
def test_a_damaged_file_is_taken_or_refused_and_nothing_else(garbage: bytes, place: int) -> None:
    text = (FLATSAT[:place].encode() + garbage + FLATSAT[place + len(garbage) :].encode()).decode(
        errors="replace"
    )
    for fault in refusals(text):
        assert fault.startswith("board.yaml:")


def refusals(text: str) -> Iterator[str]:
    try:
        parse_config(text, "board.yaml")
    except ConfigError as refusal:
        yield from str(refusal).split("\n")


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_no_flight_board_can_choose_the_stand_in(path: Path) -> None:
    text = path.read_text().replace("is_flight: false", "is_flight: true")
    text = re.sub(r"  scene: \[.*\]", "  scene: [stand_in, openvino]", text)
    faults = faults_of(text)
    assert any("stand_in is for benches" in fault for fault in faults), faults
