"""The rules of core.manifest, on a manifest made here and on those that the repository ships."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.core.manifest import (
    MANIFEST_MAX_BYTES,
    ModelManifest,
    check_artifact,
    check_model_fits,
    parse_manifest,
)
from payload.errors import ConfigError, TrustError
from payload.types import BANDS_OF_GRID, Precision, Target, Task, TileGrid

MODELS = Path(__file__).resolve().parents[2] / "models"
FILES = {"net.xml": b"<net/>", "net.bin": bytes(range(200))}
TILES = TileGrid(inner_rows_px=240, inner_columns_px=912, halo_px=72)


def document() -> dict[str, Any]:
    """A surface model with one artifact, as a manifest.json would say it."""
    return {
        "format": 1,
        "name": "surface_s2_v1",
        "task": "surface",
        "version": 1,
        "sensor_profile": "sentinel2_msi",
        "bands": {str(10 * grid): [band.value for band in bands] for grid, bands in BANDS_OF_GRID.items()},
        "codes": {"law": "sqrt", "full_scale_reflectance": 1.6},
        "halo_px": 72,
        "phase_px": 48,
        "cell_px": 24,
        "artifacts": [
            {
                "target": "cpu",
                "runtime": "openvino",
                "precision": "int8",
                "files": [
                    {
                        "path": name,
                        "size_bytes": len(content),
                        "sha256": hashlib.sha256(content).hexdigest(),
                    }
                    for name, content in FILES.items()
                ],
                "host_fixed_bytes": 50_000_000,
                "host_bytes_per_window_px": 55.5,
            }
        ],
        "training": {"anything": [1, {"goes": None}]},
    }


def parse(content: object) -> ModelManifest:
    return parse_manifest(json.dumps(content).encode())


def every_mapping(value: Any, name: str = "manifest") -> Iterator[tuple[str, dict[str, Any]]]:
    """All mappings of a document with their places, but for what is free."""
    if isinstance(value, list):
        for place, item in enumerate(value):
            yield from every_mapping(item, f"{name}[{place}]")
    if isinstance(value, dict):
        yield name, value
        for key, item in value.items():
            if key != "training":
                yield from every_mapping(item, f"{name}.{key}")


def places_of(content: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, key) for name, mapping in every_mapping(content) for key in mapping]


def test_a_manifest_comes_back_as_it_was_written() -> None:
    manifest = parse(document())
    (artifact,) = manifest.artifacts
    assert (manifest.name, manifest.task, manifest.version) == ("surface_s2_v1", Task.SURFACE, 1)
    assert (manifest.halo_px, manifest.phase_px, manifest.cell_px) == (72, 48, 24)
    assert manifest.bands == BANDS_OF_GRID
    assert (artifact.target, artifact.precision) == (Target.CPU, Precision.INT8)
    assert [file.path for file in artifact.files] == list(FILES)
    assert (artifact.host_fixed_bytes, artifact.host_bytes_per_window_px) == (50_000_000, 55.5)
    assert manifest.sha256 == hashlib.sha256(json.dumps(document()).encode()).hexdigest()


@pytest.mark.parametrize(("name", "key"), places_of(document()))
def test_rule_1_a_missing_key_is_named_by_its_place(name: str, key: str) -> None:
    content = document()
    del dict(every_mapping(content))[name][key]
    with pytest.raises(TrustError) as refusal:
        parse(content)
    assert str(refusal.value) == f"{name}.{key}: missing"


@pytest.mark.parametrize("name", sorted({name for name, _ in places_of(document())}))
def test_rule_1_an_unknown_key_is_named_by_its_place(name: str) -> None:
    content = document()
    dict(every_mapping(content))[name]["colour"] = 1
    with pytest.raises(TrustError) as refusal:
        parse(content)
    assert str(refusal.value) == f"{name}.colour: unknown key"


@pytest.mark.parametrize(("name", "key"), places_of(document()))
@pytest.mark.parametrize("wrong", [None, True, -1, 1e400, "\n", "../up", "", {}, [], [None], 10**30])
def test_rule_1_a_wrong_value_is_named_by_its_place(name: str, key: str, wrong: object) -> None:
    content = document()
    dict(every_mapping(content))[name][key] = wrong
    if (key, wrong) == ("training", {}) or (name == "manifest.bands" and wrong == []):
        parse(content)
        return
    with pytest.raises(TrustError) as refusal:
        parse_manifest(json.dumps(content).replace("Infinity", "1e400").encode())
    assert str(refusal.value).startswith(f"{name}.{key}")
    assert "\n" not in str(refusal.value)


def test_rule_1_a_scene_model_has_no_cells() -> None:
    content = document() | {"task": "scene"}
    with pytest.raises(TrustError, match=r"manifest\.cell_px: unknown key"):
        parse(content)
    del content["cell_px"]
    assert parse(content).cell_px is None


@pytest.mark.parametrize("path", ["../net.bin", "/net.bin", "a/b", "", ".", "..", "a\0b", "a\n", "x" * 65])
def test_rule_1_a_file_is_a_plain_name_in_the_models_folder(path: str) -> None:
    content = document()
    content["artifacts"][0]["files"][0]["path"] = path
    with pytest.raises(TrustError, match=r"manifest\.artifacts\[0\]\.files\[0\]\.path"):
        parse(content)


def test_rule_1_one_target_has_one_artifact_and_one_name_one_file() -> None:
    twice = document()
    twice["artifacts"].append(copy.deepcopy(twice["artifacts"][0]))
    with pytest.raises(TrustError, match="two are for the same target"):
        parse(twice)
    same_name = document()
    same_name["artifacts"][0]["files"][0]["path"] = "net.bin"
    with pytest.raises(TrustError, match="one is named twice"):
        parse(same_name)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"format": NaN}',
        b'{"format": 1, "format": 1}',
        b"[" * 200_000,
        b'{"a":' * 40_000,
        b'{"format": ' + b"9" * 10_000 + b"}",
        b" " * (MANIFEST_MAX_BYTES + 1),
    ],
    ids=lambda content: repr(content[:12]),
)
def test_rule_1_what_is_no_manifest_is_refused_in_one_line(content: bytes) -> None:
    with pytest.raises(TrustError) as refusal:
        parse_manifest(content)
    assert str(refusal.value).startswith("manifest")
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 200


@given(st.data())
def test_rule_1_a_damaged_manifest_parses_or_is_refused_and_never_does_else(draw: st.DataObject) -> None:
    content = bytearray(json.dumps(document()).encode())
    for _ in range(draw.draw(st.integers(1, 4))):
        content[draw.draw(st.integers(0, len(content) - 1))] = draw.draw(st.integers(0, 255))
    with contextlib.suppress(TrustError):
        parse_manifest(bytes(content))


@given(name=st.sampled_from(sorted(FILES)), place=st.integers(0, 199), flip=st.integers(1, 255))
def test_rule_2_one_changed_byte_is_noticed(name: str, place: int, flip: int) -> None:
    damaged = bytearray(FILES[name])
    damaged[place % len(damaged)] ^= flip
    with pytest.raises(TrustError, match=f"{name}: its SHA-256 is not"):
        check_artifact(parse(document()).artifacts[0], {**FILES, name: bytes(damaged)})


def test_rule_2_a_file_too_long_short_missing_or_unnamed_is_refused() -> None:
    artifact = parse(document()).artifacts[0]
    for content in (FILES["net.bin"][:-1], FILES["net.bin"] + b"\0"):
        with pytest.raises(TrustError, match=r"net\.bin: \d+ bytes where the manifest says 200"):
            check_artifact(artifact, {**FILES, "net.bin": content})
    with pytest.raises(TrustError, match=r"net\.bin: missing"):
        check_artifact(artifact, {"net.xml": FILES["net.xml"]})
    with pytest.raises(TrustError, match=r"extra: not named"):
        check_artifact(artifact, {**FILES, "extra": b""})


def test_rule_3_a_model_that_fits_gives_the_artifact_for_the_target() -> None:
    manifest = parse(document())
    assert check_model_fits(manifest, Task.SURFACE, TILES, Target.CPU) is manifest.artifacts[0]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"sensor_profile": "landsat_oli"}, "sensor profile: it has landsat_oli, needed is sentinel2_msi"),
        (
            {"codes": {"law": "log", "full_scale_reflectance": 1.6}},
            "law of the codes: it has log, needed is sqrt",
        ),
        ({"codes": {"law": "sqrt", "full_scale_reflectance": 1.0}}, "reflectance: it has 1.0, needed is 1.6"),
        ({"bands": {"10": ["B02"], "20": [], "60": []}}, "bands: it has B02; ; , needed is B02 B03"),
        ({"halo_px": 73}, "it sees 73 px around a pixel, the tiles' halo is 72 px"),
        ({"phase_px": 96}, "its phase of 96 px does not divide the tiles' inner_rows_px 240"),
        ({"cell_px": 36}, "its cell of 36 px does not divide the tiles' inner_rows_px 240"),
    ],
)
def test_rule_3_a_model_that_does_not_fit_is_refused_with_what_is_needed(
    change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError) as refusal:
        check_model_fits(parse(document() | change), Task.SURFACE, TILES, Target.CPU)
    assert complaint in str(refusal.value)
    assert str(refusal.value).startswith("model surface_s2_v1: ")


def test_rule_3_a_model_of_another_task_or_without_the_target_is_refused() -> None:
    manifest = parse(document())
    with pytest.raises(ConfigError, match="task: it has surface, needed is scene"):
        check_model_fits(manifest, Task.SCENE, TILES, Target.CPU)
    with pytest.raises(ConfigError, match=r"no artifact for target myriad; it has cpu"):
        check_model_fits(manifest, Task.SURFACE, TILES, Target.MYRIAD)


def test_rule_3_a_halo_that_is_not_whole_in_cells_is_refused() -> None:
    tiles = dataclasses.replace(TILES, halo_px=80)
    with pytest.raises(ConfigError, match="does not divide the tiles' halo_px 80"):
        check_model_fits(parse(document()), Task.SURFACE, tiles, Target.CPU)


@pytest.mark.parametrize("folder", sorted(MODELS.glob("*/manifest.json")), ids=lambda path: path.parent.name)
def test_every_shipped_model_is_what_its_manifest_says(folder: Path) -> None:
    manifest = parse_manifest(folder.read_bytes())
    assert manifest.name == folder.parent.name
    check_model_fits(manifest, manifest.task, TILES, Target.CPU)
    for artifact in manifest.artifacts:
        check_artifact(
            artifact, {file.path: (folder.parent / file.path).read_bytes() for file in artifact.files}
        )
