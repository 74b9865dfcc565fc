"""A whole run on LiteRT, in process and in a child: what it leaves is what OpenVINO leaves, nearly."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("ai_edge_litert.interpreter", reason="needs the extra 'litert'")

from tests.test_commands import payload

REPOSITORY = Path(__file__).resolve().parents[1]
STRIP = REPOSITORY / "strips" / "example" / "strip.yaml"
CHILD = """  litert:
    python: this
    memory_bytes: 134_217_728
    start_s: 60.0
    deadline_s: 30.0
"""


def ran(folder: Path, engine: str, child: str = "") -> dict[str, object]:
    """run.json of the example strip with one engine for both tasks."""
    folder.mkdir()
    text = (REPOSITORY / "firmware_configs" / "small.yaml").read_text()
    text = text.replace("[litert]", f"[{engine}]").replace("  failover:\n", f"{child}  failover:\n")
    text = re.sub(r"(?m)^  (memory|budget)_bytes: [0-9_]+", r"  \1_bytes: 402_653_184", text)
    text = text.replace(": ../", f": {REPOSITORY}/").replace(f"{REPOSITORY}/build", str(folder))
    board = folder / "board.yaml"
    board.write_text(text)
    done = payload("run", STRIP, "--config", board, "--out", folder, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, object] = json.loads((folder / "run.json").read_text())
    return found


def test_a_run_on_litert_sees_what_a_run_on_openvino_sees(tmp_path: Path) -> None:
    expected = ran(tmp_path / "openvino", "openvino")
    inside = ran(tmp_path / "inside", "litert")
    child = ran(tmp_path / "child", "litert", CHILD)
    for report in (inside, child):
        assert report["tiles"] == expected["tiles"]
        for task in ("scene", "surface"):
            (maker,) = report["engines"][task]  # type: ignore[index]
            assert maker.startswith("tflite CPU litert "), "every record names its maker"
            assert f" int8 {task}_s2_v" in maker
        for name in ("clear_ratio", "thick_cloud_ratio", "thin_cloud_ratio", "cloud_shadow_ratio"):
            ratio = expected["scene"][name]  # type: ignore[index]
            assert report["scene"][name] == pytest.approx(ratio, abs=0.005)  # type: ignore[index]
        assert report["peak_bytes"] <= report["planned_bytes"]  # type: ignore[operator]
