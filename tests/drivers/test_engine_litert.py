"""LiteRT in process and in a child, with a TFLite file made by hand: scores are the codes of b10."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert.interpreter", reason="needs the extra 'litert'")
flatbuffers = pytest.importorskip("flatbuffers")

from ai_edge_litert import schema_py_generated as schema  # noqa: E402

from payload.drivers.engine_litert import LiteRtEngine  # noqa: E402
from payload.drivers.engine_process import ProcessEngine, WorkerSpec  # noqa: E402
from payload.drivers.network import Network  # noqa: E402
from payload.errors import EngineFault, EngineLostError  # noqa: E402
from payload.ports import Engine  # noqa: E402
from payload.types import Grid, Precision, Target, Task, TileGrid  # noqa: E402
from tests.drivers.test_engine_openvino import TILES, random_tile  # noqa: E402

ROWS, COLUMNS = TILES.window_rows_px, TILES.window_columns_px
SPEC = WorkerSpec("litert", Target.TFLITE, "litert", None, 1, 256 << 20, 60.0, 60.0)


def _tensor(name: str, shape: tuple[int, ...]) -> schema.TensorT:
    """int8 whose lowest value means 0, as codes and scores are held."""
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = name.encode(), list(shape), schema.TensorType.INT8
    tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.scale, tensor.quantization.zeroPoint = [1.0], [-128]
    return tensor


def copying_network(custom: str = "") -> bytes:
    """A TFLite file: ReLU of b10, which for codes changes nothing; the other inputs are not read.

    With ``custom`` it is an operator of that name, which nobody knows.
    """
    graph = schema.SubGraphT()
    graph.tensors = [
        _tensor("b10", (1, ROWS, COLUMNS, 4)),
        _tensor("b20", (1, ROWS // 2, COLUMNS // 2, 6)),
        _tensor("b60", (1, ROWS // 6, COLUMNS // 6, 3)),
        _tensor("scores", (1, ROWS, COLUMNS, 4)),
    ]
    relu = schema.OperatorT()
    relu.opcodeIndex, relu.inputs, relu.outputs = 0, [0], [3]
    graph.inputs, graph.outputs, graph.operators = [0, 1, 2], [3], [relu]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RELU
    code.version = 2
    if custom:
        code.builtinCode, code.customCode = schema.BuiltinOperator.CUSTOM, custom
    model = schema.ModelT()
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], [code]
    model.buffers = [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def network(content: bytes) -> Network:
    name = f"litert_int8_{ROWS}x{COLUMNS}.tflite"
    return Network(Task.SCENE, "copy", "0" * 64, Precision.INT8, {name: content})


def test_codes_go_in_and_scores_come_out_bit_for_bit_in_process_and_in_a_child() -> None:
    networks = [network(copying_network())]
    inside = LiteRtEngine(networks, TILES, 2, 1)
    child = ProcessEngine(SPEC, networks, TILES, 2)
    child.start()
    child.wait_ready()
    assert child.resident_bytes() < 95 << 20, "the issue's bound for a LiteRT child"
    engines: tuple[Engine, ...] = (inside, child)
    for engine in engines:
        for index in (3, 4):
            engine.submit(Task.SCENE, random_tile(index))
        for index in (3, 4):
            answer = engine.collect(60.0)
            assert answer is not None
            assert answer.index == index
            assert answer.engine.target is Target.TFLITE
            assert answer.engine.runtime.startswith("litert ")
            np.testing.assert_array_equal(answer.output, random_tile(index).codes[Grid.R10M][0])
        assert engine.collect(0.01) is None
        engine.close()


def said_by(program: str, **options: object) -> subprocess.CompletedProcess[str]:
    """A process of its own: the runtime announces its delegate once in each."""
    program = f"import os\nfrom tests.drivers import test_engine_litert as t\n{program}"
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        text=True,
        check=False,
        stdout=subprocess.PIPE,
        **options,
    )


STARTS = "t.LiteRtEngine([t.network(t.copying_network())], t.TILES, 1, 1)\n"


def test_standard_error_hears_nothing_of_the_runtime_and_is_there_again() -> None:
    done = said_by(f"{STARTS}os.write(2, b'still there')", stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "still there")


def test_without_a_standard_error_the_engine_starts() -> None:
    assert said_by(f"os.close(2)\n{STARTS}print('started')").stdout == "started\n"


def test_what_the_runtime_refuses_is_told_and_leaves_no_descriptor_behind() -> None:
    before = sorted(Path("/proc/self/fd").iterdir())
    with pytest.raises(EngineLostError, match="unresolved custom op: nowhere"):
        LiteRtEngine([network(copying_network("nowhere"))], TILES, 1, 1)
    assert sorted(Path("/proc/self/fd").iterdir()) == before


def test_a_network_that_answers_for_another_task_is_told_when_it_is_loaded() -> None:
    other = replace(network(copying_network()), task=Task.SURFACE)
    with pytest.raises(EngineLostError, match="none of a surface network") as inside:
        LiteRtEngine([other], TILES, 1, 1)
    child = ProcessEngine(SPEC, [other], TILES, 1)
    child.start()
    with pytest.raises(EngineLostError, match="none of a surface network") as outside:
        child.wait_ready()
    child.close()
    assert inside.value.fault is outside.value.fault is EngineFault.BAD_NETWORK


def test_what_is_no_tflite_file_or_for_another_window_is_told() -> None:
    with pytest.raises(EngineLostError) as caught:
        LiteRtEngine([network(b"nonsense")], TILES, 1, 1)
    assert caught.value.fault is EngineFault.BAD_NETWORK
    with pytest.raises(EngineLostError, match="are for windows of") as caught:
        LiteRtEngine([network(copying_network())], TileGrid(96, 96, 72), 1, 1)
    assert caught.value.fault is EngineFault.BAD_NETWORK
