"""DTACSNet's networks on 512 x 512 tiles: torch float32, and OpenVINO INT8.

They are given their best: float reflectance tiles already in memory, warm, no halo, nothing
but the two forward passes (no reading, resampling, padding or conversion of the result).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from payload.types import F32
from tools.bench.timing import Cost, mean_cost

TILE_PX = 512
BANDS = 13
CALIBRATION_TILES = 16
FILES = {"scene": "dtacsnet_scene_int8.xml", "surface": "dtacsnet_surface_int8.xml"}


def random_tile(seed: int) -> F32:
    """A float32 reflectance tile (1, 13, 512, 512); the cost does not depend on what it shows."""
    tile: F32 = np.random.default_rng(seed).random((1, BANDS, TILE_PX, TILE_PX), dtype=np.float32)
    return tile


def torch_cost(threads: int, repeats: int) -> dict[str, Cost]:
    """Cost of one tile, by network; ``with_outputs`` adds class map and uint16 reflectance."""
    import torch  # a child that measures something else must not load it

    from tools.bench.dtacsnet import build_networks

    torch.set_num_threads(threads)
    scene, surface = build_networks()
    tile = torch.from_numpy(random_tile(0))

    def whole_products() -> None:
        scene(tile).argmax(dim=1).to(torch.uint8)
        (surface(tile).clamp_(0, 2) * 10000).to(torch.int32).to(torch.uint16)

    with torch.inference_mode():
        return {
            "scene": mean_cost(lambda: scene(tile), repeats),
            "surface": mean_cost(lambda: surface(tile), repeats),
            "with_outputs": mean_cost(whole_products, repeats),
        }


def openvino_cost(folder: Path, threads: int, repeats: int) -> dict[str, Cost]:
    """Cost of one tile, by network, with the files of `write_int8_networks`."""
    import openvino as ov

    core = ov.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    tile = random_tile(0)
    costs = {}
    for name, file in FILES.items():
        request = core.compile_model(folder / file, "CPU", settings).create_infer_request()
        request.set_input_tensor(ov.Tensor(tile, shared_memory=True))
        costs[name] = mean_cost(request.infer, repeats)
    return costs


def write_int8_networks(folder: Path) -> None:
    """Quantize both networks with nncf after training, calibrated on random tiles."""
    import nncf
    import openvino as ov
    import torch

    from tools.bench.dtacsnet import build_networks

    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    tiles = nncf.Dataset([random_tile(seed) for seed in range(CALIBRATION_TILES)])
    shape = [1, BANDS, TILE_PX, TILE_PX]
    for file, network in zip(FILES.values(), build_networks(), strict=True):
        example = torch.from_numpy(random_tile(0))
        model = ov.convert_model(network, example_input=example, input=[shape])
        quantized = nncf.quantize(model, tiles, subset_size=CALIBRATION_TILES)
        ov.save_model(quantized, folder / file, compress_to_fp16=False)
