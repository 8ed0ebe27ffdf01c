"""Phase "adversarial" with `config.privacy`: the discriminator alone sees pictures, through clipping and noise.

One update of the discriminator, with B the pictures of a Poisson sample on average and C the clipping norm:

    g_i  = gradient of [adversarial(real_i) + gamma R1(real_i)]          for each private picture of the sample
    h    = gradient of the mean of adversarial(fake)                     of fakes, from public captions
    g    = (sum of g_i min(1, C / |g_i|) + sigma C N(0, I)) / B + h min(1, C / |h|)

h is clipped for balance alone: else fakes would outweigh real pictures, whose gradients are clipped.

Fakes are drawn from public captions, and the generator learns from the discriminator and from public captions, so all
that is not g is computed from what is private already (DP-SGD: Abadi et al. 2016, arXiv:1607.00133; GANs: Xie et al.
2018, arXiv:1802.06739). Several such updates for one of the generator help (Bie et al. 2023, arXiv:2302.02936).

Where means were released before (`t2igan.method.phases.private_means`), a share of the budget is theirs, and the
generator's paired loss is towards them.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from t2igan import step
from t2igan.errors import UserError
from t2igan.inference.checkpoint import newest_step
from t2igan.method.game import Method
from t2igan.method.phases import private_means
from t2igan.method.phases.base import OwnBatches, Phase
from t2igan.method.phases.ledger import Ledger
from t2igan.method.privacy.clipping import PictureLoss, clipped_sum, clipped_sum_by_vmap
from t2igan.method.privacy.sampling import PoissonBatches
from t2igan.nets.init import init_network
from t2igan.nets.taps import layers_of, not_covered

NAME = "adversarial"
ASSUMPTIONS = (
    "captions, attributes and the number of pictures are public; one picture is there or not (add or remove one)",
    "settings, networks and lengths were chosen without looking at these pictures",
    "each further training on the same pictures spends as much again; what was evaluated on them is not covered",
)


@dataclasses.dataclass(frozen=True)
class PrivateMethod:
    """The settings of a private step: those of the game, and how the discriminator's gradient is made private."""

    game: Method
    penalised: bool
    clip_norm: float
    noise_multiplier: float
    batch_images: int  # of a sample on average
    by_ghost: bool  # or by vmap, where a layer has no ghost norm
    microbatch_images: int  # pictures at once, 0 = all


def private_step(
    private: PrivateMethod, state: step.State, batch: dict[str, jax.Array]
) -> tuple[step.State, step.Metrics]:
    """One step as `t2igan.step.train_step`, on a batch of `PoissonBatches`; metrics say nothing of single pictures."""
    game = private.game
    for i in range(game.discriminator_steps):
        key = step.stream(game.seed, f"discriminator {i}", state.step)
        part = {name: values[i] for name, values in batch.items() if name != "means"}
        state, d_metrics = update_discriminator(private, state, part, key)
    key, tokens = step.stream(game.seed, "generator", state.step), batch["public_tokens"][-1]
    # The generator's losses that are allowed look at no real picture: means take their place, or blank ones.
    if "means" in batch:
        shown = game.networks.to_network(state.frozen, batch["means"])
    else:
        shown = jnp.zeros((len(tokens), *batch["images"].shape[2:]), jnp.float32)
    state, g_metrics = step.update_generator(game, state, shown, tokens, key)
    return step.advance(game, state, d_metrics), d_metrics | g_metrics


def update_discriminator(
    private: PrivateMethod, state: step.State, part: dict[str, jax.Array], key: jax.Array
) -> tuple[step.State, step.Metrics]:
    """Moves the discriminator down `private_gradient`."""
    grads, metrics = private_gradient(private, state, part, key)
    rates = {"discriminator": private.game.discriminator_rate}
    state, of_move = step.move(private.game, state, rates, {"discriminator": grads})
    return state, metrics | of_move


def private_gradient(
    private: PrivateMethod, state: step.State, part: dict[str, jax.Array], key: jax.Array
) -> tuple[step.Params, step.Metrics]:
    """Returns the noisy sum of clipped gradients of real pictures by B, with the plain mean of fakes; and metrics.

    Args:
      private: the method.
      state: of the game.
      part: of a batch of `PoissonBatches`, what belongs to one update.
      key: of what is public: noise of drawings, augmentation.
    """
    game, params = private.game, state.frozen | state.params
    # Clipped are gradients by the weights as they are applied; back through their normalisation goes the noisy sum.
    weights, back = jax.vjp(game.normalise, state.params["discriminator"])
    plain = dataclasses.replace(game, normalise=lambda weights: weights)
    critic = lambda weights, images, text, key: step.make_critic(plain, weights, state.step, key, len(images))(
        images, text
    )
    z_key, fake_key, real_key = jax.random.split(key, 3)

    def of_fakes(weights):
        z = step.noise(game, z_key, len(part["public_tokens"]))
        text, fake = step.draw(game, params, part["public_tokens"], z, fake_key)
        logits = critic(weights, jax.lax.stop_gradient(fake), text, fake_key)
        loss = game.adversarial.discriminator(jnp.zeros_like(logits), logits).mean()
        return loss, {"loss/fake": loss, "logits/fake": logits.mean()}

    fake_grads, metrics = jax.grad(of_fakes, has_aux=True)(weights)
    loss = PictureLoss(
        of_logit=lambda logits: game.adversarial.discriminator(logits, jnp.zeros_like(logits)),
        penalty_weight=game.penalty_weight(state.step) if private.penalised else 0,
        clip_norm=private.clip_norm,
    )
    text, _ = step.read(game, params, part["tokens"], real_key)
    images = game.networks.to_network(state.frozen, part["images"])
    summed = _summed(private, critic, loss, weights, images, text, part["mask"], real_key)
    deviation = private.noise_multiplier * private.clip_norm
    noisy = jax.tree.map(lambda g, n: g + deviation * n, summed, noise_like(summed, part["noise"]))
    share = jnp.minimum(1.0, private.clip_norm / jnp.maximum(optax.tree.norm(fake_grads), 1e-12))
    total = jax.tree.map(lambda g, f: g / private.batch_images + share * f, noisy, fake_grads)
    return back(total)[0], metrics


def _summed(private: PrivateMethod, critic, loss, weights, images, text, mask, key) -> Any:
    """The sum of clipped gradients, `microbatch_images` at a time."""
    at_once = private.microbatch_images or len(images)
    if not private.by_ghost:
        return clipped_sum_by_vmap(critic, loss, weights, images, text, mask, key, at_once)
    total = None
    for number, start in enumerate(range(0, len(images), at_once)):
        rows = jax.tree.map(lambda x, start=start: x[start : start + at_once], (images, text, mask))
        part = clipped_sum(critic, loss, weights, *rows, jax.random.fold_in(key, number))
        total = part if total is None else jax.tree.map(jnp.add, total, part)
    return total


def noise_like(params: Any, values: jax.Array) -> Any:
    """Returns a vector as a tree like `params`; collections other than "params" get zeros."""
    leaves, structure = jax.tree.flatten(params["params"])
    ends = np.cumsum([leaf.size for leaf in leaves])
    parts = [values[end - leaf.size : end].reshape(leaf.shape) for leaf, end in zip(leaves, ends, strict=True)]
    return jax.tree.map(jnp.zeros_like, params) | {"params": structure.unflatten(parts)}


def build(run: Any) -> Phase:
    """Returns the phase of a run; says what it may spend and what that costs in noise.

    Raises:
      UserError: the budget allows no update, a batch is larger than the data, several devices, or a lost ledger.
    """
    private_means.require_one_device(run)
    privacy, updates = run.config.privacy, run.config.train.discriminator_steps
    budget = private_means.budget_of(run.config, len(run.train_data))
    steps = budget.updates // updates
    if not steps:
        raise UserError(
            f"config.privacy.epsilon={privacy.epsilon:g} allows {budget.updates} updates of the discriminator, fewer "
            f"than config.train.discriminator_steps={updates}; raise config.privacy.noise_multiplier"
        )
    game = Method.create(run.config, run.gathered_networks, steps)
    like = jax.eval_shape(
        lambda key: init_network(run.networks, "discriminator", key, run.batch_shapes), jax.random.key(0)
    )
    private = PrivateMethod(
        game=game,
        penalised=run.config.loss.penalty == "r1",
        clip_norm=privacy.clip_norm,
        noise_multiplier=budget.noise_multiplier,
        batch_images=privacy.batch_images,
        by_ghost=not (missing := _without_norms(run, game, like)),
        microbatch_images=privacy.microbatch_images,
    )
    if missing:
        run.say(
            f"phase {NAME}: no ghost norms for {missing[0]} and {len(missing) - 1} more of the discriminator's "
            f"parameters, so each picture's gradient is made, which is slow"
        )
    if math.isfinite(privacy.epsilon):  # a plan without data counts nothing
        run.say(
            f"phase {NAME}: epsilon {privacy.epsilon:g} at delta {privacy.delta:g} allows {steps:,} steps with "
            f"{updates:,} updates each: sampling rate {budget.sampling_rate:.4f}, noise {budget.noise_multiplier:g} x "
            f"norm {privacy.clip_norm:g}, by {privacy.accountant}"
        )
    held = private_means.of_run(run) if game.paired_weight else None
    batches = _batches(run, sum(leaf.size for leaf in jax.tree.leaves(like["params"])), held)
    lost, ledger = _lost_steps(run, updates), Ledger(run.workdir)
    if lost:
        run.say(f"phase {NAME}: {lost:,} steps were made and lost when a process ended; they stay spent")
    return Phase(
        name=NAME,
        init=functools.partial(step.init_state, game, run.batch_shapes),
        step=functools.partial(private_step, private),
        total_steps=steps - lost,
        step_images=privacy.batch_images * updates,
        shown=("loss/generator", "loss/fake"),
        evaluates="on_the_way",
        own_batches=OwnBatches(
            shapes=_shapes(run, batches),
            of_step=batches.__getitem__,
            # Counted before, so that no step is made that is not.
            taken=lambda number: ledger.write((lost + number + 1) * updates),
        ),
    )


def facts(run: Any) -> dict[str, Any]:
    """Returns what a snapshot says of the privacy of its weights, for JSON; {} where none is asked for."""
    privacy = run.config.privacy
    if not privacy.epsilon:
        return {}
    budget = private_means.budget_of(run.config, len(run.train_data))
    updates = Ledger(run.workdir).updates() or 0
    of_updates = {
        "sampling_rate": budget.sampling_rate,
        "noise_multiplier": budget.noise_multiplier,
        "clip_norm": privacy.clip_norm,
    }
    return {
        "epsilon": budget.spent(updates),
        "budget": privacy.epsilon,
        "delta": budget.delta,
        "updates": updates,
        **(of_updates if updates else {}),
        **({"means_noise_multiplier": budget.means_noise} if budget.means_noise else {}),
        "accountant": privacy.accountant,
        "assumptions": [*ASSUMPTIONS, *_of_init(run.config)],
    }


def _of_init(config: Any) -> list[str]:
    if not config.init_from:
        return []
    return ["what it began with (config.init_from) had learned from none of these pictures"]


def _without_norms(run: Any, game: Method, like: Any) -> list[str]:
    """Names of the discriminator's parameters for which there is no ghost norm."""
    plain = dataclasses.replace(game, normalise=lambda weights: weights)
    missing: list[str] = []

    def trace(params, key, images, tokens):
        text = run.networks.text_encoder.init_with_output(key, tokens)[0]
        call = lambda: step.make_critic(plain, params, 0, key, len(images))(images, text)
        missing.extend(not_covered(layers_of(call), params))
        return 0

    batch = run.batch_shapes
    images = jax.ShapeDtypeStruct(batch["images"].shape, jnp.float32)
    jax.eval_shape(trace, like, jax.random.key(0), images, batch["tokens"])
    return missing


def _batches(run: Any, noise_values: int, held: private_means.Means | None) -> PoissonBatches:
    train, privacy = run.config.train, run.config.privacy
    num_captions = private_means.num_captions(run)
    return PoissonBatches(
        images=run.train_data.images,
        tokens=private_means.tokens_of(run),
        first_caption=np.cumsum(num_captions) - num_captions,
        num_captions=num_captions,
        seed=run.config.seed,
        updates=train.discriminator_steps,
        batch_images=privacy.batch_images,
        public_captions=train.batch_images,
        noise_values=noise_values,
        multiple=privacy.microbatch_images or 8,
        means=held,
    )


def _shapes(run: Any, batches: PoissonBatches) -> dict[str, jax.ShapeDtypeStruct]:
    like, updates, room = run.batch_shapes, batches.updates, batches.room()
    tokens, public = like["tokens"], batches.public_captions
    shapes = {
        "images": jax.ShapeDtypeStruct((updates, room, *like["images"].shape[1:]), like["images"].dtype),
        "tokens": jax.ShapeDtypeStruct((updates, room, *tokens.shape[1:]), tokens.dtype),
        "mask": jax.ShapeDtypeStruct((updates, room), jnp.float32),
        "noise": jax.ShapeDtypeStruct((updates, batches.noise_values), jnp.float32),
        "public_tokens": jax.ShapeDtypeStruct((updates + 1, public, *tokens.shape[1:]), tokens.dtype),
    }
    if batches.means is not None:
        shapes["means"] = jax.ShapeDtypeStruct((public, *like["images"].shape[1:]), like["images"].dtype)
    return shapes


def _lost_steps(run: Any, updates: int) -> int:
    """Steps that were made after the newest checkpoint, by a process that was killed.

    Raises:
      UserError: there is a checkpoint and no ledger.
    """
    private_means.require_ledger(run, NAME)
    start, counted = newest_step(run.workdir / "checkpoints" / NAME), Ledger(run.workdir).updates()
    return max(-(-(counted or 0) // updates) - (start or 0), 0)
