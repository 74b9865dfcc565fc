"""tools.package as its users call it: keys, a package of a shipped model, signatures, refusals."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from payload.core.refusals import Refusal
from tests import packages
from tools.package import __main__ as tool

REPOSITORY = Path(__file__).resolve().parents[2]
MODEL = REPOSITORY / "models" / "scene_s2_v7"
CONFIG = REPOSITORY / "firmware_configs" / "ci_cpu.yaml"
STRIP = REPOSITORY / "strips" / "example" / "strip.yaml"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["package", *map(str, arguments)])
    return tool.main()


def test_from_keys_to_a_package_that_flight_would_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("openvino")
    keys, package = tmp_path / "keys", tmp_path / "scene.skm"
    assert run(monkeypatch, "keygen", keys, "alice", "bob", "carol", "--threshold", 2) == 0
    assert stat.S_IMODE((keys / "alice.key").stat().st_mode) == 0o600
    made = ("make", MODEL, "--rollback-index", 3, "--tiles", STRIP)
    assert run(monkeypatch, *made, "--key", keys / "carol.key", "--out", package) == 0

    verify = ("verify", package, "--root", keys / "root.skr", "--config", CONFIG)
    capsys.readouterr()
    assert run(monkeypatch, *verify) == 16
    assert f"refusal {Refusal.TOO_FEW_SIGNATURES.value}," in capsys.readouterr().err
    assert run(monkeypatch, "sign", package, "--key", keys / "alice.key") == 0
    assert run(monkeypatch, *verify) == 0
    capsys.readouterr()
    assert run(monkeypatch, *verify, "--rollback-index", 4) == 16
    assert f"refusal {Refusal.OLD_INDEX.value}," in capsys.readouterr().err

    assert run(monkeypatch, "show", package) == 0
    shown = capsys.readouterr().out
    for words in ("scene_s2_v7, version 7, task scene", "rollback index  3", "halo 72 px", "cpu: openvino"):
        assert words in shown
    assert shown.count("signed          by key") == 2

    again = tmp_path / "again.skm"
    assert run(monkeypatch, *made, "--out", again) == 0
    assert run(monkeypatch, "sign", again, "--key", keys / "alice.key", "--key", keys / "carol.key") == 0
    assert again.read_bytes() == package.read_bytes(), "the same command makes the same bytes"


def test_a_root_is_rotated_by_its_own_signers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "keygen", tmp_path / "a", "x", "y", "--threshold", 1) == 0
    assert run(monkeypatch, "keygen", tmp_path / "b", "z", "--threshold", 1) == 0
    signers = ("--key", tmp_path / "a" / "x.key", "--key", tmp_path / "b" / "z.key")
    public = ("--public", tmp_path / "b" / "z.pub", "--threshold", 1)
    out = tmp_path / "root2.skr"
    assert run(monkeypatch, "root", tmp_path / "a" / "root.skr", *public, *signers, "--out", out) == 0
    assert "root version 2, 1 of 1 keys" in capsys.readouterr().out
    assert run(monkeypatch, "show", out) == 0


def test_a_key_is_never_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "keygen", tmp_path, "x", "--threshold", 1) == 0
    before = (tmp_path / "x.key").read_text()
    assert run(monkeypatch, "keygen", tmp_path, "x", "--threshold", 1) == 2
    assert run(monkeypatch, "keygen", tmp_path, "y", "--threshold", 2) == 2
    assert (tmp_path / "x.key").read_text() == before


def test_a_delta_is_made_from_what_is_on_board_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new, delta = (tmp_path / name for name in ("old.skm", "new.skm", "new.skd"))
    old.write_bytes(packages.package(1))
    new.write_bytes(packages.package(2))
    assert run(monkeypatch, "delta", old, new, "--out", delta) == 0
    assert f"{delta.stat().st_size} bytes instead of" in capsys.readouterr().out
    assert run(monkeypatch, "show", delta) == 0
    shown = capsys.readouterr().out
    assert "4 files" in shown
    assert "same on" in shown
    (tmp_path / "garbage").write_bytes(b"?" * 200)
    assert run(monkeypatch, "show", tmp_path / "garbage") == 16
