"""How far each target's answers lie from the float32 network's, on patches it never trained on.

    python -m tools.parity models/scene_s2_v7 models/surface_s2_v5

Per target: share of pixels with the same class, or mean error of surface reflectance in dn
(0.0001) over all bands and of each; and the layer whose results are off most. cpu is the INT8
that flies, and the same as IR v10 on each old OpenVINO that is in build/; tflite is LiteRT;
myriad is the float16 artifact with its arithmetic SIMULATED on this processor, a device will be
off further. Exit code 1 if a target is beyond what its manifest permits (nothing, where it says
nothing), 2 if a model or the patches are not there, or a file is not what the manifest says.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from payload.core.manifest import MANIFEST_MAX_BYTES, check_artifact, parse_manifest
from payload.core.probe import Disagreement, class_disagreement, reflectance_errors_dn
from payload.drivers.model_folder import read_files, read_manifest
from payload.drivers.network import GEOMETRY, GRID_OF_INPUT
from payload.errors import TrustError
from payload.types import F32, SURFACE_BANDS_OF_GRID, Grid, Target, Task
from tools import material
from tools.export.runtimes import Feed, LiteRtReader, OldOpenVinoReader, check_tflite
from tools.halves import simulate_halves

BUILD = Path(__file__).resolve().parents[1] / "build"
OLD_RUNTIMES = {"2021.4.2": "myriad", "2022.3.2": "myriad_2022"}
"""Versions, and where `tools.make_myriad_env` put them."""

WINDOW_MULTIPLE_PX = 48
BEYOND = 1
_PRECISION = {"INFERENCE_PRECISION_HINT": "f32"}
_LAYERS = ("Convolution", "ConvolutionBackpropData", "Relu", "Sigmoid", "DepthToSpace")


@dataclass(frozen=True, slots=True)
class Parity:
    """What was found for one target."""

    target: str
    found: Disagreement
    per_band_dn: tuple[float, ...]
    worst_layer: str
    worst_layer_ratio: float


def feeds_of(patches: Iterable[material.Patch], count: int) -> list[Feed]:
    """Codes of patches as float32 inputs, geometry unknown."""
    found: list[Feed] = []
    for patch in list(patches)[:count]:
        codes = material.window_codes(patch.grids, WINDOW_MULTIPLE_PX, WINDOW_MULTIPLE_PX)
        feed = {name: codes[grid][None].astype(np.float32) for name, grid in GRID_OF_INPUT.items()}
        found.append({**feed, GEOMETRY: np.zeros((1, 4, 1, 1), np.float32)})
    return found


def _reader(model: ov.Model) -> Callable[[Feed], list[NDArray[np.float32]]]:
    """Runs ``model`` on windows of any size; every output as float32."""
    core = ov.Core()
    ports = {port.get_any_name(): port.get_element_type().to_dtype() for port in model.inputs}
    compiled: dict[tuple[int, ...], ov.CompiledModel] = {}

    def read(feed: Feed) -> list[NDArray[np.float32]]:
        shape = feed["b10"].shape
        if shape not in compiled:
            sized = model.clone()
            sized.reshape({name: list(feed[name].shape) for name in ports})
            compiled[shape] = core.compile_model(sized, "CPU", _PRECISION)
        answer = compiled[shape]({name: feed[name].astype(kind) for name, kind in ports.items()})
        return [np.asarray(value, np.float32) for value in answer.values()]

    return read


def _layers(model: ov.Model) -> list[str]:
    """Names of the operators whose results are compared."""
    return [op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() in _LAYERS]


class OpenVinoReader:
    """A network in this process's OpenVINO."""

    def __init__(self, model: ov.Model) -> None:
        self._model, self._read = model, _reader(model)

    def answer(self, feed: Feed) -> F32:
        """(channel, row, col)."""
        (answer,) = self._read(feed)
        found: F32 = answer[0]
        return found

    def layers(self, feed: Feed) -> dict[str, F32]:
        """What operators made, by their names."""
        whole, names = self._model.clone(), _layers(self._model)
        by_name = {op.get_friendly_name(): op for op in whole.get_ordered_ops()}
        results = [ov.opset13.result(by_name[name].output(0)) for name in names]
        return dict(zip(names, _reader(ov.Model(results, whole.get_parameters()))(feed), strict=True))


def _worst_layer(expected: Mapping[str, F32], answered: Mapping[str, F32]) -> tuple[str, float]:
    """The layer that both have whose results are off most: RMS of the error over RMS of the values."""
    found = {}
    for name, values in expected.items():
        if name in answered and answered[name].shape == values.shape:
            error = float(np.sqrt(np.mean((values - answered[name]) ** 2)))
            found[name] = error / (float(np.sqrt(np.mean(values**2))) or 1.0)
    return max(found.items(), key=lambda item: item[1], default=("none of the same name", 0.0))


def measure(task: Task, target: str, float32: OpenVinoReader, other: Reader, feeds: Sequence[Feed]) -> Parity:
    """Compare ``other`` with ``float32`` over ``feeds``."""
    classes, errors = [], []
    for feed in feeds:
        expected, answered = float32.answer(feed), other.answer(feed)
        if task is Task.SCENE:
            classes.append(class_disagreement(expected, answered))
        else:
            shape = 4, -1, *expected.shape[1:]
            errors.append(reflectance_errors_dn(expected.reshape(shape), answered.reshape(shape)))
    per_band: F32 = np.mean(errors, axis=0) if errors else np.zeros(0, np.float32)
    found = Disagreement(
        float(np.mean(classes)) if classes else 0.0, float(per_band.mean()) if errors else 0.0
    )
    worst = ("not looked at", 0.0)
    if not isinstance(other, OldOpenVinoReader):
        worst = _worst_layer(float32.layers(feeds[0]), other.layers(feeds[0]))
    return Parity(target, found, tuple(map(float, per_band)), *worst)


def parities(folder: Path, feeds: Sequence[Feed]) -> list[tuple[Parity, Disagreement | None]]:
    """Every artifact of a model folder against its fp32.onnx, with what the manifest permits.

    Raises:
        TrustError: a file is not what the manifest says, or a TFLite file not what is made for its window.
    """
    manifest = parse_manifest(read_manifest(folder, MANIFEST_MAX_BYTES))
    task, core = manifest.task, ov.Core()
    float32 = OpenVinoReader(core.read_model(folder / "fp32.onnx"))
    found = []
    for artifact in manifest.artifacts:
        files = read_files(folder, {file.path: file.size_bytes for file in artifact.files})
        check_artifact(artifact, files)
        target, limit = artifact.target, artifact.disagreement
        label = f"{target.value} {artifact.precision.value}"
        reader: Reader
        if target is Target.TFLITE:
            check_tflite(folder, files)
            reader, label = LiteRtReader(folder, task), f"{label} LiteRT"
        else:
            xml = next(name for name in files if name.endswith(".xml"))
            model = core.read_model(folder / xml)
            if target is Target.MYRIAD:
                model, label = simulate_halves(model), f"{label} SIMULATED"
            reader = OpenVinoReader(model)
        found.append((measure(task, label, float32, reader, feeds), limit))
        if target is Target.CPU:
            found += [(parity, limit) for parity in old_parities(folder, task, float32, feeds)]
    return found


def old_parities(folder: Path, task: Task, float32: OpenVinoReader, feeds: Sequence[Feed]) -> list[Parity]:
    """The INT8 IR v10 that `tools.export` left, on every old OpenVINO that is there."""
    files = [BUILD / "export" / f"{folder.name}_int8_v10{suffix}" for suffix in (".xml", ".bin")]
    found = []
    for version, environment in OLD_RUNTIMES.items():
        python = BUILD / environment / "bin" / "python"
        if python.exists() and all(map(Path.exists, files)):
            reader = OldOpenVinoReader(files, task, python)
            try:
                found.append(measure(task, f"cpu int8 IR v10, openvino {version}", float32, reader, feeds))
            finally:
                reader.close()
    return found


Reader = OpenVinoReader | LiteRtReader | OldOpenVinoReader


def _print(folder: Path, parity: Parity, limit: Disagreement | None) -> None:
    bound = (
        f"permitted {limit.class_ratio:.2%}, {limit.reflectance_dn:g} dn" if limit else "nothing permitted"
    )
    print(f"{folder.name}  {parity.target}  ({bound})")
    if parity.per_band_dn:
        bands = [band.value for grid in Grid for band in SURFACE_BANDS_OF_GRID[grid]]
        each = ", ".join(f"{band} {dn:.0f}" for band, dn in zip(bands, parity.per_band_dn, strict=True))
        print(f"  reflectance off by {parity.found.reflectance_dn:.1f} dn on average over the bands; {each}")
    else:
        print(f"  same class in {1 - parity.found.class_ratio:.3%} of the pixels")
    print(f"  worst layer {parity.worst_layer}: {parity.worst_layer_ratio:.2%} of its values' RMS")


def feeds_from(shared: Path, part: str, count: int) -> list[Feed]:
    """Feeds of at most ``count`` patches of l1c/``part``.

    Raises:
        OSError, ValueError, KeyError: the patches are not there, or none is of that part.
    """
    feeds = feeds_of(material.all_patches(shared, part), count)
    if not feeds:
        raise ValueError(f"{shared}: no patches of l1c/{part}")
    return feeds


def is_model(folder: Path) -> bool:
    """Whether the folder holds what is compared."""
    return all((folder / name).is_file() for name in ("manifest.json", "fp32.onnx"))


def is_folder_within(folder: Path, feeds: Sequence[Feed]) -> bool:
    """Whether no target of a model folder is beyond what its manifest permits; each is printed.

    Raises:
        TrustError: as `parities`.
    """
    is_within = True
    for parity, limit in parities(folder, feeds):
        _print(folder, parity, limit)
        is_within &= limit is not None and parity.found.is_within(limit)
    return is_within


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.parity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help="model folders")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="(%(default)s)")
    parser.add_argument("--part", default="val", help="which part of l1c (%(default)s)")
    parser.add_argument("--patches", type=int, default=16, help="at most so many (%(default)s)")
    asked = parser.parse_args(arguments)
    if asked.patches < 1:
        parser.error(f"--patches {asked.patches}: must be at least 1")
    for folder in asked.models:
        if not is_model(folder):
            parser.error(f"{folder}: no model folder: manifest.json and fp32.onnx must be in it")
    try:
        feeds = feeds_from(asked.shared, asked.part, asked.patches)
    except (OSError, ValueError, KeyError) as error:
        parser.error(f"--shared: no patches to compare on: {error}")
    try:
        within = [is_folder_within(folder, feeds) for folder in asked.models]
    except TrustError as error:
        parser.error(str(error))
    if not all(within):
        sys.stderr.write("parity: a target is beyond what its manifest permits\n")
    return 0 if all(within) else BEYOND


if __name__ == "__main__":
    sys.exit(main())
