"""Simulated scenes that are there are not made again."""

from __future__ import annotations

from pathlib import Path

from tools.networks.simulated_scenes import Scenes, make_missing


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
