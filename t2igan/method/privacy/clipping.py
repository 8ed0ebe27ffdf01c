"""The sum of a batch's gradients, that of each picture clipped to a norm: what a private update may look at.

The loss of picture i is f(D(x_i)) + weight * 1/2 |grad_x D(x_i)|^2, with R1 inside, so that it is clipped as well. Two
ways lead to the same sum:

- `clipped_sum_by_vmap` takes the gradient of each picture one by one: for any network, and slow.
- `clipped_sum` never makes them. A picture's norm follows from what each layer was given and from the gradient by its
  output ("ghost norms": Goodfellow 2015, arXiv:1510.01799; convolutions: Bu et al. 2022, arXiv:2205.10683), and from
  the same two the weighted sum (book-keeping: Bu et al. 2023, arXiv:2210.00038). R1 is written as a forward derivative:
  with v = grad_x D held fixed, the gradient of 1/2 |grad_x D|^2 by the parameters is that of D's derivative along v. So
  a layer y = a W has two uses of its kernel, on the input and on the input's derivative, and nothing else is new.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from t2igan.nets.taps import Layer, layers_of, tapped

Params = Any
Critic = Callable[..., jax.Array]  # (parameters, pictures [B, H, W, C], text, key) -> logits [B]


@dataclasses.dataclass(frozen=True)
class PictureLoss:
    """The loss of one private picture, and the norm that its gradient is clipped to.

    Attributes:
      of_logit: (logits [B]) -> losses [B], each of its own logit alone.
      penalty_weight: gamma of R1; 0 = none.
      clip_norm: norm of a picture's gradient over all parameters, at most.
    """

    of_logit: Callable[[jax.Array], jax.Array]
    penalty_weight: Any
    clip_norm: float

    @property
    def penalised(self) -> bool:
        """Whether there is R1; a weight that moves with the step counts as one."""
        return not (isinstance(self.penalty_weight, int | float) and self.penalty_weight == 0)


def clipped_sum(
    critic: Critic, loss: PictureLoss, params: Params, images: Float[Array, "B H W C"], text: Any, mask: Any, key: Any
) -> Params:
    """Returns the sum of clipped gradients over the pictures with mask 1, by ghost norms; as `params`.

    Args:
      critic: the discriminator; what it says of a picture may depend on that picture alone.
      loss: of one picture.
      params: collections of a network's variables; only "params" gets gradients, the rest zeros.
      images: the pictures, float32.
      text: their captions, encoded: any tree with a leading batch axis.
      mask: float32 [B], 1 for pictures and 0 for padding.
      key: of what the critic draws at random.
    """
    layers = layers_of(lambda: critic(params, images, text, key))
    pairs, copies = _by_layer(critic, loss, layers, params, images, text, key)
    weights = mask * _factors(loss.clip_norm, _square_norms(params, pairs, copies, len(images)))
    grads = jax.tree.map(jnp.zeros_like, params)
    for path, of_layer in pairs.items():
        _add(grads, path, _weighted_sums(_at(params, path), of_layer, weights))
    for path, of_layer in copies.items():
        for tree in of_layer:
            _add(grads, path, jax.tree.map(lambda g: jnp.tensordot(weights, g, 1), tree))
    return grads


def square_norms(
    critic: Critic, loss: PictureLoss, params: Params, images: Float[Array, "B H W C"], text: Any, key: Any
) -> Float[Array, " B"]:
    """Returns the square of the norm of each picture's gradient, by ghost norms."""
    layers = layers_of(lambda: critic(params, images, text, key))
    return _square_norms(params, *_by_layer(critic, loss, layers, params, images, text, key), len(images))


def clipped_sum_by_vmap(
    critic: Critic,
    loss: PictureLoss,
    params: Params,
    images: Float[Array, "B H W C"],
    text: Any,
    mask: Any,
    key: Any,
    at_once: int = 16,
) -> Params:
    """As `clipped_sum`, for any network: gradients of `at_once` pictures at a time, each made.

    Each picture has a key of its own.
    """
    num = len(images)
    keys = jax.random.split(key, num)
    rows = (images, text, mask, keys)
    total = jax.tree.map(jnp.zeros_like, params)
    for start in range(0, num, at_once):
        part = jax.tree.map(lambda x, start=start: x[start : start + at_once], rows)
        grads = gradients_by_vmap(critic, loss, params, part[0], part[1], part[3])
        norms = sum((g.reshape(len(g), -1) ** 2).sum(-1) for g in jax.tree.leaves(grads))
        weights = part[2] * _factors(loss.clip_norm, norms)
        total = jax.tree.map(lambda t, g, weights=weights: t + jnp.tensordot(weights, g, 1), total, grads)
    return total


def gradients_by_vmap(critic: Critic, loss: PictureLoss, params: Params, images: Any, text: Any, keys: Any) -> Params:
    """Returns the gradient of each picture, [B, *shape of a parameter]; zeros outside of the collection "params"."""

    leaves, structure = jax.tree.flatten(text)

    def of_one(params: Params, image: jax.Array, leaves: list, key: jax.Array) -> jax.Array:
        alone = structure.unflatten([leaf[None] for leaf in leaves])
        logit = lambda image: critic(params, image[None], alone, key)[0]
        if not loss.penalised:
            return loss.of_logit(logit(image))
        value, slopes = jax.value_and_grad(logit)(image)
        return loss.of_logit(value) + loss.penalty_weight * (slopes**2).sum() / 2

    def grad(image: jax.Array, leaves: list, key: jax.Array) -> Params:
        trained, others = params["params"], {name: value for name, value in params.items() if name != "params"}
        grads = jax.grad(lambda trained: of_one({**others, "params": trained}, image, leaves, key))(trained)
        return {"params": grads} | jax.tree.map(jnp.zeros_like, others)

    return jax.vmap(grad)(images, leaves, keys)


def _factors(clip_norm: float, norms_squared: Float[Array, " B"]) -> Float[Array, " B"]:
    """min(1, C / norm); a little less, so that rounding does not lift a norm above C."""
    return jnp.minimum(1.0, clip_norm * (1 - 1e-5) * jax.lax.rsqrt(jnp.maximum(norms_squared, 1e-24)))


def _by_layer(critic, loss: PictureLoss, layers: dict[str, Layer], params, images, text, key) -> tuple[dict, dict]:
    """Returns, by the path of a layer, its uses: (kind, [(input, gradient by the output)]), and trees of gradients."""
    zeros = {name: jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), layer.tap) for name, layer in layers.items()}
    fixed = {name: zeros[name] for name, layer in layers.items() if layer.kind == "copied"}
    moved = {name: zeros[name] for name, layer in layers.items() if layer.kind != "copied"}
    score = lambda images, taps: tapped(lambda: critic(params, images, text, key), taps)

    if not loss.penalised:

        def plain(fixed, moved):
            logits, inputs = score(images, fixed | moved)
            return loss.of_logit(logits).sum(), inputs

        (copied, outward), inputs = jax.grad(plain, (0, 1), has_aux=True)(fixed, moved)
        uses = [(inputs, outward)]
    else:
        slopes = jax.lax.stop_gradient(jax.grad(lambda x: critic(params, x, text, key).sum())(images))

        def along(fixed, moved, moved_dot):
            with_taps = lambda images, moved: score(images, fixed | moved)
            (logits, inputs), (logits_dot, inputs_dot) = jax.jvp(with_taps, (images, moved), (slopes, moved_dot))
            value = loss.of_logit(logits) + loss.penalty_weight * logits_dot
            return value.sum(), (inputs, inputs_dot)

        (copied, outward, outward_dot), (inputs, inputs_dot) = jax.grad(along, (0, 1, 2), has_aux=True)(
            fixed, moved, moved
        )
        uses = [(inputs, outward), (inputs_dot, outward_dot)]
    pairs: dict[tuple, tuple[str, list]] = {}
    copies: dict[tuple, list] = {}
    for name, layer in layers.items():
        if layer.kind == "copied":
            copies.setdefault(layer.path, []).append(copied[name])
        else:
            of_layer = pairs.setdefault(layer.path, (layer.kind, []))[1]
            # The bias is not in the derivative's use, so it gets no gradient there.
            of_layer += [(a[name], g[name], number == 0) for number, (a, g) in enumerate(uses)]
    return pairs, copies


def _square_norms(params: Params, pairs: dict, copies: dict, num: int) -> Float[Array, " B"]:
    total = jnp.zeros(num)
    for path, (kind, uses) in pairs.items():
        layer = _at(params, path)
        flat = lambda x: x.reshape(num, -1, x.shape[-1])
        if kind == "dense":
            a = jnp.concatenate([flat(a) for a, _, _ in uses], 1)
            g = jnp.concatenate([flat(g) for _, g, _ in uses], 1)
            total += _kernel_norms([a], g)
        else:
            height, width = layer["kernel"].shape[:2]
            shifted = [_shifted(a, height, width) for a, _, _ in uses]
            a = [jnp.concatenate([flat(x) for x in xs], 1) for xs in zip(*shifted, strict=True)]
            total += _kernel_norms(a, jnp.concatenate([flat(g) for _, g, _ in uses], 1))
        if "bias" in layer:
            bias = sum(flat(g).sum(1) for _, g, counts in uses if counts)
            total += (bias**2).sum(-1)
    for trees in copies.values():
        grads = jax.tree.map(lambda *gs: sum(gs), *trees)
        total += sum((g.reshape(num, -1) ** 2).sum(-1) for g in jax.tree.leaves(grads))
    return jnp.maximum(total, 0.0)


def _kernel_norms(a: list[Float[Array, "B T _"]], g: Float[Array, "B T O"]) -> Float[Array, " B"]:
    """Returns |a^T g|^2 of each picture, with `a` in parts along its last axis; whichever of two ways is cheaper.

    Either the picture's gradient is made, part by part; or, for few places, |a^T g|^2 = sum over places s, t of
    (a_s . a_t) (g_s . g_t).
    """
    places, fan_in, units = g.shape[1], sum(x.shape[-1] for x in a), g.shape[-1]
    if places * (fan_in + units) < fan_in * units:
        of_inputs = sum(jnp.einsum("nsi,nti->nst", x, x) for x in a)
        return (of_inputs * jnp.einsum("nso,nto->nst", g, g)).sum((1, 2))
    return sum((jnp.einsum("nti,nto->nio", x, g) ** 2).sum((1, 2)) for x in a)


def _weighted_sums(layer: Params, of_layer: tuple[str, list], weights: Float[Array, " B"]) -> Params:
    """Returns the gradients of a layer's kernel and bias, each picture's by its weight."""
    kind, uses = of_layer
    a = jnp.concatenate([a for a, _, _ in uses])
    g = jnp.concatenate([g * weights.reshape(-1, *[1] * (g.ndim - 1)) for _, g, _ in uses])
    kernel = layer["kernel"]
    if kind == "dense":
        grads = {"kernel": a.reshape(-1, a.shape[-1]).T @ g.reshape(-1, g.shape[-1])}
    else:
        convolve = lambda k: jax.lax.conv_general_dilated(
            a, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        grads = {"kernel": jax.vjp(convolve, kernel)[1](g)[0]}
    if "bias" in layer:
        counted = [g * weights.reshape(-1, *[1] * (g.ndim - 1)) for _, g, counts in uses if counts]
        grads["bias"] = sum(g.reshape(-1, g.shape[-1]).sum(0) for g in counted)
    return grads


def _shifted(x: Float[Array, "B H W C"], height: int, width: int) -> list[Float[Array, "B H W C"]]:
    """Returns what each place of a kernel sees: the map moved, with zeros around."""
    rows, columns = x.shape[1:3]
    padded = jnp.pad(x, [(0, 0), (height // 2,) * 2, (width // 2,) * 2, (0, 0)])
    return [padded[:, i : i + rows, j : j + columns] for i in range(height) for j in range(width)]


def _at(params: Params, path: tuple[str, ...]) -> Params:
    node = params["params"]
    for name in path:
        node = node[name]
    return node


def _add(grads: Params, path: tuple[str, ...], more: Params) -> None:
    """Adds to the gradients of a layer, in place: `grads` is a fresh tree of dictionaries."""
    node = _at(grads, path)
    for name, value in more.items():
        node[name] = node[name] + value
