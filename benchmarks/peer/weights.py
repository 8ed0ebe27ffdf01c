"""Our parameters to PyTorch's and back: names, and which axis comes first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

Place = tuple[str, ...]


def places(network: nn.Module) -> dict[str, Place]:
    """Returns, for each submodule of a network of `peer.networks` that has weights, the path of ours."""
    by_kind = {"Generator": _generator, "Discriminator": _discriminator, "TextEncoder": _text}
    return dict(by_kind[type(network).__name__](network))


def _generator(network) -> Iterator[tuple[str, Place]]:
    yield from ((name, (name,)) for name in ("style_0", "style_1", "base", "pixels"))
    yield from _transitions(network)
    number = 0
    for level, blocks in enumerate(network.blocks):
        for block in range(len(blocks)):
            for part in ("in", "out"):
                yield f"blocks.{level}.{block}.modulate_{part}.linear", (f"Modulate_{number}", "Dense_0")
                yield f"blocks.{level}.{block}.conv_{part}", (f"Conv_{number}",)
                number += 1
    yield "modulate.linear", (f"Modulate_{number}", "Dense_0")
    for i in range(len(network.attentions)):
        yield from ((f"attentions.{i}.{n}", (f"WordAttention_{i}", n)) for n in ("query", "key", "value", "out"))


def _discriminator(network) -> Iterator[tuple[str, Place]]:
    tower = ("ResidualTower_0",)
    yield from ((name, (name,)) for name in ("features", "project", "realness"))
    yield "stem", (*tower, "stem")
    yield from _transitions(network, tower)
    number = 0
    for level, blocks in enumerate(network.blocks):
        for block in range(len(blocks)):
            for part in ("in", "out"):
                yield f"blocks.{level}.{block}.conv_{part}", (*tower, f"Conv_{number}")
                number += 1


def _text(network) -> Iterator[tuple[str, Place]]:
    yield from ((name, (name,)) for name in ("tokens", "pooling", "sentence"))
    for i in range(len(network.layers)):
        yield from ((f"layers.{i}.attention.{name}", (f"SelfAttention_{i}", name)) for name in ("qkv", "out"))
        yield f"layers.{i}.norm_in", (f"LayerNorm_{2 * i}",)
        yield f"layers.{i}.norm_out", (f"LayerNorm_{2 * i + 1}",)
        yield f"layers.{i}.wide", (f"Dense_{2 * i}",)
        yield f"layers.{i}.narrow", (f"Dense_{2 * i + 1}",)
    yield "norm", (f"LayerNorm_{2 * len(network.layers)}",)


def _transitions(network, before: Place = ()) -> Iterator[tuple[str, Place]]:
    for i in range(len(network.transitions)):
        yield f"transitions.{i}", (*before, f"transition_{i + 1}")


def copy_into(network: nn.Module, params: Mapping[str, Any]) -> nn.Module:
    """Fills a network with our parameters of it, {"params": ...}; KeyError, or an error of shape, where they differ."""
    tree, state = params["params"], {}
    if hasattr(network, "positions"):
        state["positions"] = torch.from_numpy(np.array(tree["positions"]))
    for name, place in places(network).items():
        leaves = tree
        for part in place:
            leaves = leaves[part]
        for leaf, array in leaves.items():
            array = _to_torch(np.asarray(array), network.get_submodule(name)) if leaf == "kernel" else array
            state[f"{name}.{'bias' if leaf == 'bias' else 'weight'}"] = torch.from_numpy(np.array(array, order="C"))
    network.load_state_dict(state)
    return network


def as_ours(network: nn.Module, tensors: Mapping[str, torch.Tensor]) -> dict[Place, np.ndarray]:
    """Returns tensors by the name of their parameter (values, gradients, averages) as our arrays, by path."""
    ours = {}
    for name, place in places(network).items():
        module = network.get_submodule(name)
        for leaf in ("weight", "bias"):
            if f"{name}.{leaf}" in tensors:
                array = tensors[f"{name}.{leaf}"].detach().cpu().numpy()
                kernel = leaf == "weight"
                ours[(*place, "kernel" if kernel else "bias")] = _from_torch(array, module) if kernel else array
    return ours


def _to_torch(kernel: np.ndarray, module: nn.Module) -> np.ndarray:
    """[in, out] -> [out, in]; [3, 3, in, out] -> [out, in, 3, 3]; our 1x1 convolutions are matrices."""
    if isinstance(module, nn.Conv2d):
        return kernel.reshape(*module.kernel_size, *kernel.shape[-2:]).transpose(3, 2, 0, 1)
    return kernel.T


def _from_torch(weight: np.ndarray, module: nn.Module) -> np.ndarray:
    if not isinstance(module, nn.Conv2d):
        return weight.T
    kernel = weight.transpose(2, 3, 1, 0)
    return kernel[0, 0] if kernel.shape[:2] == (1, 1) else kernel
