"""What each layer of a network was given, and where its output can be moved: what gradients of single pictures need.

The gradient of a dense layer's kernel is a sum over places of (input x gradient by the output). So the gradient that
each picture of a batch has by the kernel follows from the inputs and from the gradients by the outputs, without a
copy of the kernel for each picture. `tapped` records the former and adds a *tap* of zeros to each output, by which the
latter can be had. Of layers with few weights (norms, embeddings) the tap is a copy of them for each picture instead.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

# Layers whose weights are few: a copy of them for each picture costs little.
COPIED = (nn.Embed, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@dataclasses.dataclass(frozen=True)
class Layer:
    """One use of a layer in a network: a layer that is used twice has two.

    Attributes:
      path: of the layer's parameters in the network's.
      kind: "dense"; "conv", of stride 1 and as large an output; or "copied".
      tap: shape of what is added: of the output [B, ..., O]; of "copied" layers, a tree of [B, *shape of a parameter].
    """

    path: tuple[str, ...]
    kind: str
    tap: Any


def layers_of(call: Callable[[], Any]) -> dict[str, Layer]:
    """Returns the uses of layers in a call of a network on a batch, by a key of each; computes nothing.

    `call` applies a linen module to arrays with a leading batch axis. Layers of other kinds are not among them; what
    they leave out is for `not_covered` to say.
    """
    found: dict[str, Layer] = {}

    def look(key: str, module: nn.Module, kind: str, args: tuple, output: Callable) -> Any:
        if kind == "copied":
            num = len(args[0])
            tap = jax.tree.map(lambda p: jax.ShapeDtypeStruct((num, *p.shape), p.dtype), _params(module))
            out = output()
        else:
            out = output()
            tap = jax.ShapeDtypeStruct(out.shape, out.dtype)
        found[key] = Layer(tuple(module.path), kind, tap)
        return out

    def traced() -> Any:
        with _each_layer(look):
            return call()

    jax.eval_shape(traced)
    return found


def tapped(call: Callable[[], Any], taps: Mapping[str, Any]) -> tuple[Any, dict[str, jax.Array]]:
    """Returns what `call()` returns with taps added, and what dense and convolutional layers were given, by key."""
    inputs: dict[str, jax.Array] = {}

    def add(key: str, module: nn.Module, kind: str, args: tuple, output: Callable) -> Any:
        if kind != "copied":
            inputs[key] = args[0]
            return output() + taps[key]
        params, alone = _params(module), module.clone(parent=None, name=None)

        def one(tap: Any, x: jax.Array) -> jax.Array:
            moved = jax.tree.map(jnp.add, params, tap)
            return alone.apply({"params": moved}, x[None])[0]

        return jax.vmap(one)(taps[key], args[0])

    with _each_layer(add):
        return call(), inputs


def not_covered(layers: Mapping[str, Layer], params: Mapping[str, Any]) -> list[str]:
    """Returns the names of trained parameters (collection "params") that no layer holds; [] where all are covered."""
    held = {layer.path for layer in layers.values()}
    paths = [tuple(key.key for key in path) for path, _ in jax.tree_util.tree_leaves_with_path(params["params"])]
    return ["/".join(path) for path in paths if path[:-1] not in held]


@contextlib.contextmanager
def _each_layer(see: Callable[[str, nn.Module, str, tuple, Callable], Any]):
    """Calls `see` in place of each layer that is of a known kind and has parameters."""
    uses: Counter[tuple[str, ...]] = Counter()

    def intercept(next_fun, args, kwargs, context):
        module = context.module
        kind = _kind(module) if context.method_name == "__call__" and len(args) == 1 and not kwargs else None
        if kind is None or not module.path or not _params(module):  # of a copied layer alone the path is empty
            return next_fun(*args, **kwargs)
        path = tuple(module.path)
        key = f"{'/'.join(path)} {uses[path]}"
        uses[path] += 1
        return see(key, module, kind, args, lambda: next_fun(*args))

    with nn.intercept_methods(intercept):
        yield


def _kind(module: nn.Module) -> str | None:
    if type(module) is nn.Dense:
        return "dense"
    if type(module) is nn.Conv and _is_plain(module):
        return "conv"
    return "copied" if type(module) in COPIED else None


def _is_plain(conv: nn.Conv) -> bool:
    """Whether a convolution is two-dimensional, of stride 1, with zeros around, odd, and of one group."""
    ones = lambda value: value is None or set(np.ravel(value).tolist()) == {1}
    size = (conv.kernel_size,) if isinstance(conv.kernel_size, int) else tuple(conv.kernel_size)
    dilations = ones(conv.strides) and ones(conv.input_dilation) and ones(conv.kernel_dilation)
    odd = len(size) == 2 and all(length % 2 for length in size)
    return dilations and odd and conv.padding == "SAME" and conv.feature_group_count == 1 and conv.mask is None


def _params(module: nn.Module) -> Any:
    """The layer's own parameters; while a network is initialised, there are none before its first call."""
    return module.variables.get("params", {})
