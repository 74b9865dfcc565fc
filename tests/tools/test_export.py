"""Myriad artifacts: what the real compiler made, held to its budget; what it refuses, by name."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13

from payload.core.probe import class_disagreement, probe_tile, reflectance_errors_dn
from payload.drivers.network import GEOMETRY, GRID_OF_INPUT
from payload.types import TileGrid
from tools import make_myriad_env
from tools.export import blob
from tools.halves import rounded_to_halves, simulate_halves

ROOT = Path(__file__).resolve().parents[2]
MODELS = sorted(path.parent for path in (ROOT / "models").glob("*/manifest.json"))
MYRIAD_PYTHON = ROOT / "build" / "myriad" / "bin" / "python"
COMPILER = ROOT / "tools" / "export" / "myriad_compiler.py"


def blobs() -> list[Path]:
    return sorted((ROOT / "models").glob("*/*.blob"))


@pytest.mark.parametrize("path", blobs(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_blob_is_whole_and_within_what_the_device_has(path: Path) -> None:
    header = blob.read_header(path.read_bytes())
    print(header.line)
    blob.check_budget(header)
    rows, columns = map(int, path.stem.rpartition("_")[2].split("x"))
    codes_bytes = rows * columns * 4 + rows * columns * 6 // 4 + rows * columns * 3 // 36
    assert codes_bytes <= header.input_bytes <= codes_bytes * 1.1, "codes go over as bytes"


def test_a_blob_cut_short_or_of_another_kind_is_refused() -> None:
    content = blobs()[0].read_bytes()
    for wrong in (b"", content[:-1], content[:100], b"\0" * 500, content + b"x"):
        with pytest.raises(blob.BlobError):
            blob.read_header(wrong)
    header = blob.read_header(content)
    for limit in ("stages", "scratch_bytes", "input_bytes", "shaves"):
        with pytest.raises(blob.BlobError, match="at most"):
            blob.check_budget(type(header)(**{**_facts(header), limit: 1 << 40}))


def _facts(header: blob.BlobHeader) -> dict[str, int]:
    return {name: getattr(header, name) for name in header.__slots__}


def test_rounding_is_that_of_float16_to_the_last_bit() -> None:
    values = np.random.default_rng(0).normal(0, 200, (1, 20000)).astype(np.float32)
    values[0, :4] = 1e6, -1e6, 65504, 1 / 3
    port = opset13.parameter(list(values.shape), np.float32)
    model = ov.Model([opset13.result(rounded_to_halves(port.output(0)))], [port])
    found = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(values)[0]
    expected = np.clip(values, -65504, 65504).astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("folder", MODELS, ids=lambda path: path.name)
def test_float16_simulated_stays_within_what_the_manifest_permits(folder: Path) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    artifacts = {artifact["target"]: artifact for artifact in content["artifacts"]}
    if "myriad" not in artifacts:
        pytest.skip("no Myriad artifact: python -m tools.export makes it")
    permitted = artifacts["myriad"]["disagreement"]
    tile = probe_tile(TileGrid(48, 96, 72))
    feed = {name: tile.codes[grid].astype(np.float32) for name, grid in GRID_OF_INPUT.items()}
    feed[GEOMETRY] = tile.geometry
    answers = []
    core = ov.Core()
    for model in (
        core.read_model(folder / "openvino_int8.xml"),
        simulate_halves(core.read_model(folder / "myriad_fp16.xml")),
    ):
        kinds = {port.get_any_name(): port.get_element_type().to_dtype() for port in model.inputs}
        model.reshape({name: list(feed[name].shape) for name in kinds})
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        (answer,) = compiled({name: feed[name].astype(kind) for name, kind in kinds.items()}).values()
        answers.append(np.asarray(answer[0], np.float32))
    reference = artifacts["cpu"]["disagreement"]
    if content["task"] == "scene":
        most = permitted["class_ratio"] + reference["class_ratio"]
        assert class_disagreement(*answers) <= most
    else:
        shaped = [answer.reshape(4, -1, *answer.shape[1:]) for answer in answers]
        most_dn = permitted["reflectance_dn"] + reference["reflectance_dn"]
        assert reflectance_errors_dn(*shaped).mean() <= most_dn


def test_without_an_old_python_the_environment_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["make_myriad_env", str(tmp_path / "env")])
    assert make_myriad_env.main() == 1
    assert "no Python 3.9 or 3.8" in capsys.readouterr().err
    assert not (tmp_path / "env").exists()


@pytest.mark.parametrize("python", ["/nowhere", "/bin/true", "/"])
def test_what_is_no_python_makes_no_environment(
    tmp_path: Path, python: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["make_myriad_env", str(tmp_path / "env"), "--python", python])
    with pytest.raises(SystemExit) as refusal:
        make_myriad_env.main()
    assert refusal.value.code == 2
    assert f"--python {python}: no Python" in capsys.readouterr().err
    assert not (tmp_path / "env").exists()


@pytest.mark.skipif(not MYRIAD_PYTHON.exists(), reason="python -m tools.make_myriad_env build/myriad first")
def test_an_operator_that_the_myriad_does_not_take_fails_by_its_name(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the extra 'train'")
    build = onnx.helper
    shape = build.make_tensor_value_info("b10", 1, [1, 4, 48, 48])
    answer = build.make_tensor_value_info("logits", 1, [1, 4, 48, 48])
    graph = build.make_graph([build.make_node("Abs", ["b10"], ["logits"])], "abs", [shape], [answer])
    path = tmp_path / "abs.onnx"
    model = build.make_model(graph, opset_imports=[build.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, str(path))
    command = [str(MYRIAD_PYTHON), str(COMPILER), str(path), "48", "48", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "does not take: Abs" in done.stdout


@pytest.mark.skipif(not MYRIAD_PYTHON.exists(), reason="python -m tools.make_myriad_env build/myriad first")
@pytest.mark.parametrize("path", blobs(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_real_compiler_takes_every_flight_network_and_makes_the_same_blob(
    path: Path, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the extra 'train'")
    from tools.export.myriad import compile_myriad
    from tools.export.static_onnx import static_model, with_half_weights

    rows, columns = map(int, path.stem.rpartition("_")[2].split("x"))
    network = tmp_path / "network.onnx"
    onnx.save(with_half_weights(static_model(path.parent / "fp32.onnx", rows, columns)), str(network))
    made = compile_myriad(network, (rows, columns), tmp_path / "myriad_fp16", MYRIAD_PYTHON)
    assert made == path.read_bytes()
