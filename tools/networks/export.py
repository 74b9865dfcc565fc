"""From a trained torch network to flight artifacts: ONNX, then OpenVINO INT8 with codes in.

The INT8 file reads codes (uint8) and answers what `payload.types.Inference` says: uint8
scores for the scene, float32 atmosphere for the surface. Rows and columns stay open, so one
file serves every window whose size is a multiple of 48 px.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import nncf
import numpy as np
import onnx
import openvino as ov
import torch
from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
from nncf.quantization.range_estimator import RangeEstimatorParametersSet
from numpy.typing import NDArray
from openvino import opset13

from payload.core.scene import LOGIT_RANGE, SCORE_MAX
from payload.types import Task
from tools.networks.runtime import CHANNELS_OF_GRID, GEOMETRY, INPUT_OF_GRID
from tools.networks.scene_network import SceneNetwork
from tools.networks.surface_network import SurfaceNetwork

OPSET = 13
"""Newest ONNX opset that every runtime we may meet reads without falling back."""

FLOAT_PART = {
    Task.SCENE: (r".*/(second_look|vapour_gate)/.*",),
    Task.SURFACE: (
        r".*/(mean\w*|peak|seen\w*|level\w*|Concat\w*|Add_[2-9])\b.*",
        r".*/(cell\w*|geometry|head|shortcut|Sigmoid)\b.*",
    ),
}
"""Operators that stay float32. The second look takes large numbers from each other, on 1/16 of the pixels
and fewer; the gate of B09 works on its pixels of 60 m. Of the surface network everything on cells, so that
path reflectance keeps four digits; they are 1/144 of the pixels. (`Add` and `Add_1` are the stem's.)"""

Feed = Mapping[str, NDArray[np.float32]]


def export_onnx(network: SceneNetwork | SurfaceNetwork, path: Path) -> None:
    """Write ``network`` as ONNX float32 that reads raw codes; logits (scene) or atmosphere."""
    folded = copy.deepcopy(network).eval()
    folded.fold_code_scale()
    example = [torch.zeros(1, CHANNELS_OF_GRID[g], 96 // g, 96 // g) for g in INPUT_OF_GRID]
    names = list(INPUT_OF_GRID.values())
    axes: dict[str, dict[int, str]] = {
        name: {2: f"rows_{name}", 3: f"cols_{name}"} for name in INPUT_OF_GRID.values()
    }
    output = "logits"
    if isinstance(network, SurfaceNetwork):
        example.append(torch.zeros(1, 4, 1, 1))
        names.append(GEOMETRY)
        output = "atmosphere"
    axes[output] = {2: "rows_out", 3: "cols_out"}
    buffer = io.BytesIO()
    torch.onnx.export(
        folded,
        tuple(example),
        buffer,
        dynamo=False,
        opset_version=OPSET,
        input_names=names,
        output_names=[output],
        dynamic_axes=axes,
    )
    graph = onnx.load_from_string(buffer.getvalue())
    onnx.checker.check_model(graph)
    onnx.save(graph, str(path))


def quantize(onnx_path: Path, calibration: Sequence[Feed], float_part: Sequence[str] = ()) -> ov.Model:
    """The network of ``onnx_path`` with INT8 weights and activations.

    Weights are kept to 7 bits (OverflowFix), because processors without VNNI saturate when
    two products of 8 bits are added. Ranges of activations come from histograms: with plain
    extremes a few saturated pixels cost the scene network five points of cloud recall.
    """
    model = ov.Core().read_model(onnx_path)
    quantized = nncf.quantize(
        model,
        nncf.Dataset(list(calibration)),
        preset=nncf.QuantizationPreset.PERFORMANCE,
        subset_size=len(calibration),
        ignored_scope=nncf.IgnoredScope(patterns=list(float_part), validate=False),
        advanced_parameters=AdvancedQuantizationParameters(
            overflow_fix=OverflowFix.ENABLE,
            activations_range_estimator_params=RangeEstimatorParametersSet.HISTOGRAM,
        ),
    )
    take_codes_exactly(quantized)
    keep_means_exact(quantized, model)
    return quantized


def take_codes_exactly(model: ov.Model) -> None:
    """Make the range of every quantizer of codes 0..255, so that codes pass unrounded."""
    for operator in model.get_ops():
        if operator.get_type_name() != "FakeQuantize" or not _reads_codes(operator):
            continue
        for port, bound in enumerate((0.0, 255.0, 0.0, 255.0), start=1):
            shape = list(operator.input(port).get_shape())
            limit = opset13.constant(np.full(shape, bound, np.float32))
            operator.input(port).replace_source_output(limit.output(0))


def keep_means_exact(quantized: ov.Model, original: ov.Model) -> None:
    """Give weights that are one value or 0, as those of block means, the scale that makes that value exact.

    A symmetric range of 127 steps has its end half a step beyond the last one: left alone, every
    mean would be 0.8 % too small.
    """
    convolutions = filter(_is_convolution, original.get_ops())
    values = {op.get_friendly_name(): op.input_value(1).get_node().data.max() for op in convolutions}
    for convolution in filter(_is_convolution, quantized.get_ops()):
        scaled = convolution.input_value(1).get_node()
        if scaled.get_type_name() != "Multiply":
            continue
        steps = scaled.input_value(0).get_node().input_value(0).get_node().data
        if set(np.unique(steps)) == {0, steps.max()}:
            scale = scaled.input(1)
            value = values[convolution.get_friendly_name()] / steps.max()
            exact = np.full(list(scale.get_shape()), value, np.float32)
            scale.replace_source_output(opset13.constant(exact).output(0))


def _is_convolution(operator: ov.Node) -> bool:
    return bool(operator.get_type_name() == "Convolution")


def _reads_codes(operator: ov.Node) -> bool:
    """Whether only resizing, the gate of B09 and other quantizers lie between ``operator`` and an input."""
    source = operator.input_value(0).get_node()
    while source.get_type_name() in {"Interpolate", "FakeQuantize"} or _is_gated(source):
        source = source.input_value(0).get_node()
    return bool(source.get_type_name() == "Parameter")


def _is_gated(operator: ov.Node) -> bool:
    """Whether ``operator`` puts the gated B09 among the codes of its grid (`vapour_gate`)."""
    return bool(operator.get_friendly_name().startswith("/vapour_gate/Add"))


def read_codes(model: ov.Model) -> ov.Model:
    """The same model with uint8 inputs b10, b20, b60."""
    steps = ov.preprocess.PrePostProcessor(model)
    for name in INPUT_OF_GRID.values():
        steps.input(name).tensor().set_element_type(ov.Type.u8)
    return steps.build()


def answer_scores(model: ov.Model) -> ov.Model:
    """The same model with uint8 scores: its logits from -6 to 6 in 255 steps (`core.scene`).

    They are rounded before the shuffle to 10 m: moving bytes instead of float32 is a third of
    the network's time and memory. Label smoothing keeps nearly all logits inside the range.
    """
    shuffle = next(op for op in model.get_ops() if op.get_type_name() == "DepthToSpace")
    low, high, least, most = (
        opset13.constant(np.full((1, 1, 1, 1), bound, np.float32))
        for bound in (-LOGIT_RANGE, LOGIT_RANGE, 0, SCORE_MAX)
    )
    steps = opset13.fake_quantize(shuffle.input_value(0), low, high, least, most, SCORE_MAX + 1)
    shuffled = opset13.depth_to_space(steps, "depth_first", shuffle.get_attributes()["block_size"])
    scores = opset13.convert(shuffled, ov.Type.u8)
    scores.output(0).get_tensor().set_names({"scores"})
    result = opset13.result(scores, name="scores")
    return ov.Model([result], model.get_parameters(), "scene")


def save(model: ov.Model, folder: Path, stem: str = "openvino_int8") -> list[Path]:
    """Write IR; weights stay as they are (INT8, the small float part float32)."""
    path = folder / f"{stem}.xml"
    ov.save_model(model, path, compress_to_fp16=False)
    return [path, path.with_suffix(".bin")]
