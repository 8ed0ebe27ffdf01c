"""From a loss to an update: gradients, in microbatches where memory is short, and the optimizers of the players."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from t2igan.config.registry import Registry

FIXED = "fixed"  # the collection of a network's variables that get no gradient and must not decay

# (learning rate, beta1, beta2) -> Optax optimizer; rates and betas may be traced scalars, the state depends on neither.
OPTIMIZERS: Registry[Callable[..., optax.GradientTransformation]] = Registry("optimizer", key="train.optimizer")


@OPTIMIZERS.register("adam")
def plain_adam(rate: Any, beta1: float, beta2: Any) -> optax.GradientTransformation:
    """Adam (Kingma & Ba 2015, arXiv:1412.6980)."""
    return optax.adam(rate, b1=beta1, b2=beta2, eps=1e-8)


@OPTIMIZERS.register("optimistic_adam")
def optimistic_adam(rate: Any, beta1: float, beta2: Any) -> optax.GradientTransformation:
    """A step looks ahead along the change of the last two, which damps the circling of two players.

    After Daskalakis et al. 2018, arXiv:1711.00141. The moments are plain, as in the paper: Optax's default looks ahead
    twice, by Nesterov's as well.
    """
    return optax.optimistic_adam_v2(rate, b1=beta1, b2=beta2, eps=1e-8, nesterov=False)


def slowed_adam(rate: Any, *, b2: Any, shares: Mapping[str, float]) -> optax.GradientTransformation:
    """Returns Adam whose updates of some parameters are scaled: a lower learning rate for these.

    Args:
      rate: learning rate, a number or a schedule.
      b2: decay of the second moment.
      shares: by the name of a branch of the parameters, what its updates are multiplied by; in a branch within another,
        by both.
    """

    def scaled(updates, params=None):  # noqa: ARG001
        share = lambda path: math.prod(shares.get(getattr(key, "key", None), 1.0) for key in path)
        return jax.tree_util.tree_map_with_path(lambda path, x: share(path) * x, updates)

    return optax.chain(optax.adam(rate, b2=b2), optax.stateless(scaled))


def adam(
    rate: Any,
    *,
    beta1: float,
    beta2: Any,
    clip_norm: float = 0.0,
    adaptive_clip: float = 0.0,
    weight_decay: float = 0.0,
    kind: str = "adam",
) -> optax.GradientTransformation:
    """Returns an optimizer with what may stand before and behind it; what is 0 is left out, of the state too.

    Args:
      rate: learning rate, a number or a traced scalar; the state does not depend on it.
      beta1: decay of the first moment.
      beta2: decay of the second moment, a number or a traced scalar.
      clip_norm: the gradient's norm over all parameters, at most.
      adaptive_clip: a unit's gradient as a share of its weights, at most (Brock et al. 2021, arXiv:2102.06171).
      weight_decay: share of the kernels that is taken away at a rate of 1, apart from the gradient (AdamW, Loshchilov &
        Hutter 2019, arXiv:1711.05101); biases and other vectors do not decay.
      kind: of `OPTIMIZERS`.
    """
    body = OPTIMIZERS[kind](rate, beta1, beta2)
    before = []
    if clip_norm:
        before.append(optax.clip_by_global_norm(clip_norm))
    if adaptive_clip:
        before.append(optax.adaptive_grad_clip(adaptive_clip))
    after = []
    if weight_decay:
        after.append(optax.add_decayed_weights(-rate * weight_decay, mask=_decaying))
    return optax.chain(*before, body, *after) if before or after else body


def _decaying(params: Any) -> Any:
    """Which leaves are kernels that are trained: a network's collection "fixed" (pretrained features) is not."""
    fixed = lambda path: any(getattr(key, "key", None) == FIXED for key in path)
    return jax.tree_util.tree_map_with_path(lambda path, x: x.ndim > 1 and not fixed(path), params)


def gradients(loss_fn: Callable, params: Any, batch: Any, key: jax.Array, microbatches: int = 1) -> tuple[Any, dict]:
    """Returns the gradient of the mean loss of a batch by `params`, and the means of its metrics.

    Args:
      loss_fn: (params, batch, key) -> (mean loss, metrics by name: arrays, of which the mean is taken).
      params: what is differentiated.
      batch: arrays whose leading axis is the batch.
      key: randomness; each microbatch gets a key of its own.
      microbatches: parts that the batch is computed in, one after another, so that only one part's activations are in
        memory. For a loss that is a mean over samples the result is that of the whole batch but for rounding; a term
        between samples (matching, another's caption) sees its own part only.
    """

    def gradient(part, part_key):
        grads, metrics = jax.grad(loss_fn, has_aux=True)(params, part, part_key)
        return grads, {name: value.mean() for name, value in metrics.items()}

    if microbatches == 1:
        return gradient(batch, key)
    # Taken with stride, so that each device keeps its own samples.
    parts = jax.tree.map(lambda x: jnp.moveaxis(x.reshape(-1, microbatches, *x.shape[1:]), 1, 0), batch)
    keys = jax.random.split(key, microbatches)
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), (parts, keys))
    like = jax.eval_shape(gradient, *one)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)

    def add(total, part):
        return jax.tree.map(jnp.add, total, gradient(*part)), None

    # On a CPU XLA runs convolutions in a loop some ten times slower than outside, so there the loop is written out.
    total, _ = jax.lax.scan(add, zeros, (parts, keys), unroll=jax.default_backend() == "cpu")
    return jax.tree.map(lambda x: x / microbatches, total)
