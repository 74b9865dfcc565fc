"""What is not there is not what is beyond its bounds."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("openvino")

from payload.core.probe import probe_tile
from payload.drivers.network import GEOMETRY, GRID_OF_INPUT
from payload.errors import TrustError
from payload.types import TileGrid
from tools import parity


@pytest.mark.parametrize(
    "words",
    [
        ["nowhere"],
        ["models/scene_s2_v7", "--shared", "nowhere"],
        ["models/scene_s2_v7", "--shared", "nowhere", "--patches", "-3"],
    ],
)
def test_a_missing_model_or_missing_patches_are_not_taken_for_a_target_beyond_its_bounds(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert (Path("models") / "scene_s2_v7").is_dir()
    with pytest.raises(SystemExit) as refusal:
        parity.main(words)
    assert refusal.value.code not in (0, parity.BEYOND)
    assert ("-3" if "-3" in words else "nowhere") in capsys.readouterr().err


TILE = probe_tile(TileGrid(48, 48, 72))
FEED = {
    **{name: TILE.codes[grid].astype(np.float32) for name, grid in GRID_OF_INPUT.items()},
    GEOMETRY: TILE.geometry,
}


def changed(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The scene model with another manifest."""
    folder = tmp_path / "scene"
    shutil.copytree("models/scene_s2_v7", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    for artifact in manifest["artifacts"]:
        change(artifact)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_a_target_is_held_to_what_its_manifest_permits(tmp_path: Path) -> None:
    ample = {"class_ratio": 1.0, "reflectance_dn": 1.0}
    tight = {"class_ratio": 0.0, "reflectance_dn": 0.0}
    assert parity.is_folder_within(
        changed(tmp_path / "a", lambda one: one.update(disagreement=ample)), [FEED]
    )
    for name in ("cpu", "tflite"):

        def change(one: dict[str, Any], name: str = name) -> None:
            one["disagreement"] = tight if one["target"] == name else ample

        assert not parity.is_folder_within(changed(tmp_path / name, change), [FEED])
    silent = changed(tmp_path / "silent", lambda one: one.pop("disagreement"))
    assert not parity.is_folder_within(silent, [FEED]), "what permits nothing permits no difference"


@pytest.mark.parametrize("is_manifest_right", [False, True], ids=["by its hash", "by what is made"])
def test_a_tflite_file_that_is_not_the_network_is_refused(tmp_path: Path, is_manifest_right: bool) -> None:
    damaged = bytearray(Path("models/scene_s2_v7/litert_int8_288x672.tflite").read_bytes())
    damaged[len(damaged) // 2] ^= 1

    def change(one: dict[str, Any]) -> None:
        if is_manifest_right and one["target"] == "tflite":
            one["files"][0]["sha256"] = hashlib.sha256(damaged).hexdigest()

    folder = changed(tmp_path, change)
    (folder / "litert_int8_288x672.tflite").write_bytes(damaged)
    with pytest.raises(TrustError, match="litert_int8_288x672"):
        parity.parities(folder, [FEED])
