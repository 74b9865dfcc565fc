"""A few minutes more for a network that flies: its last layers learn, at the scales that it has."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from payload.types import Grid
from tools.material import Patch
from tools.networks.frozen import STEPS, Constant, float_layer, has_module, quantized_layers, rounded
from tools.networks.scene_network import SceneNetwork
from tools.networks.scene_samples import augment, crop
from tools.networks.scene_training import class_loss
from tools.networks.second_look import SecondLook

LAST_LAYERS = ("decode4a", "decode4b", "head")
LOOK = "second_look/weigh"


@dataclass(frozen=True)
class FineTuning:
    """Everything that decides a fine-tuning besides the patches."""

    layers: tuple[str, ...] = LAST_LAYERS
    steps: int = 300
    batch: int = 4
    rate: float = 1e-3
    class_weights: tuple[float, float, float, float] = (1.0, 1.2, 2.2, 2.2)
    seed: int = 0


class FrozenSteps(nn.Module):
    """A weight as it flies: in whole steps of a scale that does not move (straight-through)."""

    def __init__(self, scales: NDArray[np.float32]) -> None:
        super().__init__()
        self.register_buffer("scales", torch.from_numpy(scales.copy()))

    def forward(self, weight: Tensor) -> Tensor:
        scales = self.scales
        assert isinstance(scales, Tensor)
        flown = torch.clamp(torch.round(weight / scales), -STEPS, STEPS) * scales
        return weight + (flown - weight).detach()


def network_of(topology: bytes, weights: bytes) -> SceneNetwork:
    """The scene network with the weights that fly; reads raw codes."""
    layers = {layer.module: layer for layer in quantized_layers(topology)}
    widths = [layers[name].weight.shape[0] for name in ("encode4", "encode8", "bottom16a")]
    network = SceneNetwork(widths)
    if has_module(topology, "vapour_gate"):
        network.gate_vapour()
    state = {}
    if (weighing := float_layer(topology, LOOK)) is not None:
        network.take(SecondLook())
        for name, constant in zip(("weight", "bias"), weighing, strict=True):
            values = torch.from_numpy(constant.values(weights).copy())
            state[f"{LOOK}.{name}".replace("/", ".")] = values.reshape(
                (1, -1, 1, 1) if name == "weight" else -1
            )
    modules = dict(network.named_children())
    for name, layer in layers.items():
        if name not in modules:  # means of blocks, which nothing learns
            continue
        state[f"{name}.weight"] = torch.from_numpy(layer.floats(weights).copy())
        if layer.bias is not None:
            state[f"{name}.bias"] = torch.from_numpy(layer.bias.values(weights).ravel().copy())
    network.load_state_dict(state)
    network.code_scale = 1.0
    return network


def fine_tune(
    topology: bytes, weights: bytes, patches: Sequence[Patch], recipe: FineTuning
) -> dict[Constant, NDArray[Any]]:
    """New values for the constants of the trained layers (`frozen.replaced`)."""
    torch.manual_seed(recipe.seed)
    network = network_of(topology, weights)
    layers = [layer for layer in quantized_layers(topology) if layer.module in recipe.layers]
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    for layer in layers:
        module = network.get_submodule(layer.module)
        module.requires_grad_(True)
        scales = layer.scale.values(weights).astype(np.float32)
        parametrize.register_parametrization(module, "weight", FrozenSteps(scales))
    _learn(network, patches, recipe)
    others: dict[Constant, NDArray[Any]] = {}
    for layer in layers:
        module = network.get_submodule(layer.module)
        scales = layer.scale.values(weights).astype(np.float32)
        moved = module.parametrizations.weight.original.detach().numpy()  # type: ignore[union-attr]
        others[layer.weight] = rounded(moved, scales)
        if layer.bias is not None:
            bias = module.bias
            assert isinstance(bias, Tensor)
            others[layer.bias] = bias.detach().numpy().reshape(layer.bias.shape)
    return others


def _learn(network: SceneNetwork, patches: Sequence[Patch], recipe: FineTuning) -> None:
    rng = np.random.default_rng(recipe.seed)
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    # Biases and weights in whole units of their own size: a step moves each by a small share.
    optimizer = torch.optim.Adam(learning, recipe.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.steps)
    class_weights = torch.tensor(recipe.class_weights)
    smooth_loss = 0.0
    for step in range(recipe.steps):
        samples = []
        for _ in range(recipe.batch):
            patch = patches[int(rng.integers(0, len(patches)))]
            samples.append(augment(rng, *crop(rng, patch)))
        inputs = [torch.from_numpy(np.stack([codes[grid] for codes, _ in samples])).float() for grid in Grid]
        label = torch.from_numpy(np.stack([label for _, label in samples]).astype(np.int64))
        loss = class_loss(network(*inputs), label, class_weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        smooth_loss += (loss.item() - smooth_loss) * (0.1 if step > 10 else 1 / (step + 1))
        if (step + 1) % 20 == 0:
            print(f"retrain: step {step + 1}/{recipe.steps} loss {smooth_loss:.4f}", file=sys.stderr)
