"""Other weights into a network that flies: what moves, and that nothing else does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from payload.config import load_config
from payload.core.manifest import parse_manifest
from payload.types import BANDS_OF_GRID, Grid
from tools.material import Patch
from tools.networks.frozen import STEPS, int8_weights, quantized_layers, replaced, rounded
from tools.package.making import cpu_files

REPOSITORY = Path(__file__).resolve().parents[2]
BOARD = load_config(REPOSITORY / "firmware_configs" / "ci_cpu.yaml")
SCENE = BOARD.folder(BOARD.models.scene)
CPU_FILES = cpu_files(parse_manifest((SCENE / "manifest.json").read_bytes()))
TOPOLOGY = (SCENE / CPU_FILES[0]).read_bytes()
WEIGHTS = (SCENE / CPU_FILES[1]).read_bytes()


def test_every_int8_weight_belongs_to_a_layer_with_one_scale_a_channel() -> None:
    layers = quantized_layers(TOPOLOGY)
    assert {layer.weight for layer in layers} == set(int8_weights(TOPOLOGY))
    assert len({layer.module for layer in layers}) == len(layers)
    for layer in layers:
        values = layer.weight.values(WEIGHTS)
        assert abs(values.astype(int)).max() <= STEPS, "seven bits"
        assert layer.scale.values(WEIGHTS).size in values.shape[:2]


def test_the_same_floats_round_to_the_same_bytes() -> None:
    same = {
        layer.weight: rounded(layer.floats(WEIGHTS), layer.scale.values(WEIGHTS).astype(np.float32))
        for layer in quantized_layers(TOPOLOGY)
    }
    assert replaced(WEIGHTS, same) == WEIGHTS


def test_nothing_but_the_replaced_constant_changes() -> None:
    one = int8_weights(TOPOLOGY)[3]
    content = replaced(WEIGHTS, {one: -one.values(WEIGHTS)})
    assert len(content) == len(WEIGHTS)
    changed = np.flatnonzero(np.frombuffer(content, np.uint8) != np.frombuffer(WEIGHTS, np.uint8))
    assert one.offset <= changed.min()
    assert changed.max() < one.offset + one.size_bytes


def test_the_float_network_answers_as_the_one_that_flies() -> None:
    torch = pytest.importorskip("torch")
    from tools.networks.fine_tuning import network_of
    from tools.networks.runtime import Runner

    rng = np.random.default_rng(0)
    codes = {
        grid: rng.integers(60, 120, (len(bands), 192 // grid, 192 // grid), dtype=np.uint8)
        for grid, bands in BANDS_OF_GRID.items()
    }
    flown = Runner(SCENE / CPU_FILES[0])(codes)
    network = network_of(TOPOLOGY, WEIGHTS).eval()
    with torch.no_grad():
        logits = network(*(torch.from_numpy(codes[grid][None]).float() for grid in Grid))[0].numpy()
    steps = np.clip(np.rint((logits + 6) / 12 * 255), 0, 255)
    assert np.abs(steps - flown).mean() < 2.0


def test_only_the_last_layers_learn_and_only_in_whole_steps() -> None:
    pytest.importorskip("torch")
    from tools.networks.fine_tuning import LAST_LAYERS, FineTuning, fine_tune

    rng = np.random.default_rng(1)
    grids = {
        grid: rng.uniform(0.05, 0.4, (len(bands), 198 // grid, 198 // grid)).astype(np.float32)
        for grid, bands in BANDS_OF_GRID.items()
    }
    patch = Patch("noise", "noise", grids, rng.integers(0, 4, (198, 198), dtype=np.uint8))
    others = fine_tune(TOPOLOGY, WEIGHTS, [patch], FineTuning(steps=2, batch=1, rate=3e-3))
    moved = {layer.module for layer in quantized_layers(TOPOLOGY) if layer.weight in others}
    assert moved == set(LAST_LAYERS)
    content = replaced(WEIGHTS, others)
    assert content != WEIGHTS
    assert content == replaced(
        WEIGHTS, fine_tune(TOPOLOGY, WEIGHTS, [patch], FineTuning(steps=2, batch=1, rate=3e-3))
    )
