"""Runs in the Myriad's environment (Python 3.8 or 3.9): ONNX to IR v10 and blob, without a device.

    python myriad_compiler.py NETWORK.onnx ROWS COLUMNS OUT_STEM

The plugin compiles, writes its cache, and only then finds that there is no device to run on.
Prints one line of JSON. Operators outside ACCEPTED fail by name, before the compiler is asked.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "payload" / "drivers"))

import engine_worker
import ngraph
from openvino.inference_engine import IECore

ACCEPTED = {
    "Add", "AvgPool", "Broadcast", "Clamp", "Concat", "Constant", "Convert", "Convolution",
    "ConvolutionBackpropData", "DepthToSpace", "Divide", "Exp", "GroupConvolution",
    "GroupConvolutionBackpropData", "Interpolate", "Log", "LogSoftmax", "MaxPool", "Multiply", "Pad",
    "Parameter", "Power", "PRelu", "ReduceMax", "ReduceMean", "Relu", "Reshape", "Result", "ShapeOf",
    "Sigmoid", "Softmax", "Split", "Sqrt", "StridedSlice", "Subtract", "Tanh", "TopK",
    "Transpose", "VariadicSplit",
}  # fmt: skip
"""Operators that the real 2021.4.2 compiler was seen to take (one network each)."""

_NO_DEVICE = "no available devices"


def refused_operators(network: Any) -> list[str]:
    """Names of operators that no blob was ever seen with."""
    found = ngraph.function_from_cnn(network).get_ops()
    return sorted({operator.get_type_name() for operator in found} - ACCEPTED)


def main() -> int:
    path, rows_px, columns_px, stem = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    core = IECore()
    network = core.read_network(path)
    if refused := refused_operators(network):
        print(json.dumps({"error": f"operators that the Myriad does not take: {', '.join(refused)}"}))
        return 1
    network.serialize(f"{stem}.xml", f"{stem}.bin")
    again = core.read_network(f"{stem}.xml", f"{stem}.bin")
    engine_worker.prepare_myriad(again, rows_px, columns_px)
    with tempfile.TemporaryDirectory() as cache:
        core.set_config({"CACHE_DIR": cache}, "")
        try:
            core.load_network(again, "MYRIAD", {"VPU_MYRIAD_PLATFORM": "VPU_MYRIAD_2480"})
        except RuntimeError as error:
            if _NO_DEVICE not in str(error):
                print(json.dumps({"error": f"the Myriad compiler: {engine_worker.last_line(error)}"}))
                return 1
        (blob,) = Path(cache).glob("*.blob")
        Path(f"{stem}.cached").write_bytes(blob.read_bytes())
    print(json.dumps({"stem": stem}))
    sys.stdout.flush()
    os._exit(0)  # the plugin's own exit code may wait for a device


if __name__ == "__main__":
    sys.exit(main())
