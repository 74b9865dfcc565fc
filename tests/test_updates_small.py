"""New weights on a board whose reference is LiteRT, and a surface model beside the factory's."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from payload.config import load_config
from payload.core.document import canonical
from payload.core.refusals import Refusal
from payload.errors import InstallError
from payload.types import Target
from tests.test_updating import BOARD, SCENE, STRIP, Ground
from tools.package.known_tiles import choose_tiles, side_by_side
from tools.package.making import OWN_WINDOW, describe, unpack
from tools.package.verifying import verify
from tools.retrain.weights import spoil

SURFACE = BOARD.folder(BOARD.models.surface)
TARGETS = (Target.CPU, Target.TFLITE)
needs_litert = pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None, reason="ai-edge-litert is not installed"
)


@needs_litert
@pytest.mark.parametrize("model", [SCENE, SURFACE], ids=["scene", "surface"])
def test_a_board_with_litert_alone_takes_a_package_whose_answers_it_has_compared(
    tmp_path: Path, model: Path
) -> None:
    ground = Ground(tmp_path, "small")
    package = ground.package("good.skm", model, 1, targets=TARGETS)
    assert "would be taken by small" in verify(package, tmp_path / "root.skr", ground.config, 0)
    done = ground.payload("install", package, "--echo")
    assert done.returncode == 0, done.stderr
    (passed,) = (line for line in done.stderr.splitlines() if "known_answers_passed" in line)
    assert "litert" in passed
    assert "'largest_difference': 0.0," not in passed, "another runtime's answers were compared"


@needs_litert
def test_a_package_without_a_tile_for_the_reference_is_refused_and_says_so(tmp_path: Path) -> None:
    ground = Ground(tmp_path, "small")
    package = ground.package("old.skm", SCENE, 1, targets=TARGETS)
    parts = unpack(package.read_bytes())
    document = json.loads(parts.document)
    del document["update"]["known_answers"]["own_window"]
    names = [file.path for file in parts.manifest.files]
    files = [content for name, content in zip(names, parts.files, strict=True) if name != OWN_WINDOW]
    package.write_bytes(ground.signed(canonical(document), files))
    done = ground.payload("install", package)
    assert f"refusal {Refusal.DEVICE_LOST.value}," in done.stderr
    assert "make it again" in done.stderr


@needs_litert
def test_wrong_answers_of_litert_are_seen(tmp_path: Path) -> None:
    """The package tells the answers of another network than it holds."""
    ground = Ground(tmp_path, "small")
    package = ground.package("bad.skm", SCENE, 1, targets=TARGETS)
    parts = unpack(package.read_bytes())
    files = {
        file.path: bytearray(content) for file, content in zip(parts.manifest.files, parts.files, strict=True)
    }
    own = files[OWN_WINDOW]
    samples = len(own) - 4 * (288 // 4) * (672 // 4)
    own[samples:] = bytes(255 - value for value in own[samples:])
    document = json.loads(parts.document)
    document["update"]["known_answers"]["own_window"] = describe(OWN_WINDOW, bytes(own))
    package.write_bytes(ground.signed(canonical(document), [bytes(content) for content in files.values()]))
    done = ground.payload("install", package)
    assert f"refusal {Refusal.WRONG_ANSWER.value}," in done.stderr


def test_known_tiles_side_by_side_fill_a_window_with_all_of_them() -> None:
    tiles = choose_tiles(STRIP)
    found = side_by_side(tiles, (288, 672))
    for pitch, codes in found.codes.items():
        assert codes.shape[2:] == (288 // pitch, 672 // pitch)
        for place, tile in enumerate(tiles):
            first = place * 48 // pitch
            part = codes[:, :, 48 // pitch : 96 // pitch, first : first + 48 // pitch]
            assert (part == tile.codes[pitch]).all()


def test_a_surface_model_that_has_lost_its_weights_is_refused_though_its_own_answers_are_right(
    tmp_path: Path,
) -> None:
    ground = Ground(tmp_path)
    spoil(SURFACE, tmp_path / "bad")
    done = ground.payload("install", ground.package("bad.skm", tmp_path / "bad", 1))
    assert f"refusal {Refusal.FAR_FROM_FACTORY.value}," in done.stderr
    assert ground.payload("install", ground.package("good.skm", SURFACE, 1)).returncode == 0


def test_the_ground_checks_a_package_with_the_limits_of_the_board(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    package = ground.package("good.skm", SCENE, 1)
    limit_bytes = load_config(ground.config).updates.package_max_bytes
    text = ground.config.read_text()
    assert f"{limit_bytes:_}" in text
    ground.config.write_text(
        text.replace(f"package_max_bytes: {limit_bytes:_}", "package_max_bytes: 100_000")
    )
    with pytest.raises(InstallError) as refused:
        verify(package, tmp_path / "root.skr", ground.config, 0)
    assert refused.value.code == Refusal.TOO_LARGE
