"""Simulated scenes that are there are not made again."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from tools.networks.simulated_scenes import Scenes, make_missing
from tools.simulate.patch_files import save_patch
from tools.simulate.patches import make_patch


def test_scenes_that_are_there_are_not_made_again(tmp_path: Path) -> None:
    make_missing(tmp_path, Scenes(5, 2), 1)
    files = {path.name: path.read_bytes() for path in tmp_path.glob("*.npz")}
    assert sorted(files) == ["simulated_5_00000.npz", "simulated_5_00001.npz"]
    (tmp_path / "simulated_5_00001.npz").unlink()
    make_missing(tmp_path, Scenes(5, 2), 1)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.npz")} == files
    written = (tmp_path / "simulated_5_00000.npz").stat().st_mtime_ns
    make_missing(tmp_path, Scenes(5, 2), 1)
    assert (tmp_path / "simulated_5_00000.npz").stat().st_mtime_ns == written


def test_a_scene_that_could_not_be_written_to_its_end_does_not_count(tmp_path: Path) -> None:
    scene, path = make_patch((5, 0), 96), tmp_path / "simulated_5_00000.npz"
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, usual[1]))
    try:
        with pytest.raises(OSError, match="large"):
            save_patch(scene, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert not list(tmp_path.glob("*.npz"))
    save_patch(scene, path)
    assert path.stat().st_size > 50_000
