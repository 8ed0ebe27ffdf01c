"""Phase "inversion": after the game, an inverter learns to find the noise (and style offsets) of pictures.

The generator is left as it is. Half of what the inverter sees are real pictures, half are pictures that the generator
has drawn, whose noise is known; of each only a part may be visible. It learns, by captions where its kind reads them,

    mean over visible places of |e| + e^2,  e = G(styles(z, c) + d, c) - x     to draw what is visible
    + kl_weight KL(E(x) || N(0, 1)) / Z                                        to stay where the noise of training is
    + noise_weight -log N(z; E(G(z, c))) / Z                                   to find the noise, where it is known
    + offset_weight mean d^2                                                   to want few offsets

with z drawn from the inverter's distribution, and with its offsets d for one half of the pictures, without them for the
other, so that either can be asked for. Hidden places cost nothing: what is there is the caption's to say.

Figures of the validation split at its end: "inversion/held_out", mean squared error of whole pictures, in the space of
the game, and "inversion/random_z", the same with noise at random.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from t2igan.errors import UserError
from t2igan.method.losses.inversion import divergence_from_normal
from t2igan.method.phases.base import PHASES, Phase, PhaseKind, PhaseMethod, PhaseState, descend, init_phase_state
from t2igan.method.techniques.masks import MASKS, random_visible, visible_distance
from t2igan.nets import Networks, Text
from t2igan.nets.inverter import Inverted, invert
from t2igan.step import Metrics, Params, stream

SECTION = "inversion"
TRAINED = ("inverter",)


@dataclasses.dataclass(frozen=True)
class InversionMethod(PhaseMethod):
    """What the inversion phase's step needs to know and never changes. Made by `InversionMethod.create`."""

    masks: tuple[str, ...]
    kl_weight: float
    noise_weight: float
    offset_weight: float

    @classmethod
    def create(cls, config, networks: Networks, total_steps: int) -> InversionMethod:
        """Reads `config.inversion` (checked by `t2igan.config`)."""
        p = config[SECTION]
        weights = {name: p[name] for name in ("kl_weight", "noise_weight", "offset_weight")}
        return cls.of(config, p, networks, total_steps, masks=tuple(p.masks), **weights)


def init_inversion_state(method: InversionMethod, batch: dict, given: dict[str, Params] | None = None) -> PhaseState:
    """Returns the first state; generator and text encoder of `given` are used and stay as they are."""
    key = stream(method.seed, "inversion init", 0)
    return init_phase_state(method.networks, method.optimizer, key, batch, given, TRAINED, used=("generator", "text"))


def inversion_step(
    method: InversionMethod, state: PhaseState, batch: dict[str, jax.Array]
) -> tuple[PhaseState, Metrics]:
    """One step of the inverter on a batch and as many drawn pictures; returns the next state and float32 scalars."""
    networks, frozen = method.networks, state.frozen
    real = networks.to_network(frozen, batch["images"])
    z_key, mask_key, half_key, noise_key = jax.random.split(stream(method.seed, "inversion", state.step), 4)
    text = networks.text_encoder.apply(frozen["text"], batch["tokens"])
    z = jax.random.normal(z_key, (len(real), networks.z_dim))
    drawn = networks.generator.apply(frozen["generator"], z, text)
    # Real and drawn ones take turns, so that each device of several has both.
    images, both = _in_turns(real, drawn), jax.tree.map(lambda x: _in_turns(x, x), text)
    visible = random_visible(mask_key, *images.shape[:3], method.masks)
    with_offsets = jax.random.bernoulli(half_key, 0.5, (len(images), 1, 1)).astype(jnp.float32)

    def loss_fn(params):
        inverted = invert(networks.inverter, params["inverter"], images, visible, both.sentence)
        noise = jax.random.normal(noise_key, inverted.mean.shape)
        found = inverted.mean + jnp.exp(inverted.log_std) * noise
        offsets = None if inverted.offsets is None else with_offsets * inverted.offsets
        terms = {
            "loss/inversion": visible_distance(
                draw_codes(networks, frozen["generator"], found, offsets, both) - images, visible
            ),
            "loss/prior": divergence_from_normal(inverted),
            "loss/noise": surprise(jax.tree.map(lambda x: x[1::2], inverted), z),
        }
        loss = terms["loss/inversion"].mean() + method.kl_weight * terms["loss/prior"].mean()
        loss = loss + method.noise_weight * terms["loss/noise"].mean()
        if inverted.offsets is not None:
            terms["loss/offsets"] = (inverted.offsets**2).mean((1, 2))
            loss = loss + method.offset_weight * terms["loss/offsets"].mean()
        return loss, terms

    return descend(method, state, loss_fn, TRAINED)


def _in_turns(one: Array, other: Array) -> Array:
    return jnp.stack([one, other], axis=1).reshape(-1, *one.shape[1:])


def draw_codes(networks: Networks, params: Params, noise: Array, offsets: Array | None, text: Text) -> Array:
    """Returns what the generator draws of noise and, where it has styles and there are any, their offsets."""
    if offsets is None:
        return networks.generator.apply(params, noise, text)
    styles = networks.generator.apply(params, noise, text.sentence, method="styles") + offsets
    return networks.generator.apply(params, styles, text, method="draw")


def surprise(inverted: Inverted, z: Float[Array, "B Z"]) -> Float[Array, " B"]:
    """Returns -log N(z; mean, std^2) a dimension in nats, without the constant."""
    return (((z - inverted.mean) * jnp.exp(-inverted.log_std)) ** 2 / 2 + inverted.log_std).mean(-1)


def check(config: Any) -> None:
    """Raises `UserError` for masks that there are not."""
    masks = tuple(config[SECTION].masks)
    if not masks:
        raise UserError(f"config.{SECTION}.masks=() is empty; give one or more of {MASKS.listed()}")
    MASKS.check(masks, f"{SECTION}.masks")


def build(run: Any, given: Mapping[str, Params]) -> Phase:  # noqa: ARG001
    """Returns the phase of a run."""
    total_steps = KIND.total_steps(run)
    method = InversionMethod.create(run.config, run.gathered_networks, total_steps)
    return Phase(
        name="inversion",
        init=functools.partial(init_inversion_state, method, run.batch_shapes),
        step=functools.partial(inversion_step, method),
        total_steps=total_steps,
        step_images=run.config[SECTION].batch_images,
        shown=("loss/inversion", "loss/noise"),
        monitor=functools.partial(held_out, run),
    )


def held_out(run: Any, state: PhaseState, done: int) -> dict[str, float]:
    """Returns mean squared errors of drawing held-out pictures by what the inverter says, and by noise at random."""
    networks, params = run.networks, state.frozen | state.params

    @jax.jit
    def errors(params, images, tokens, key):
        x = networks.to_network(params, images)
        text = networks.text_encoder.apply(params["text"], tokens)
        inverted = invert(networks.inverter, params["inverter"], x, jnp.ones_like(x[..., :1]), text.sentence)
        draw = lambda z, offsets: draw_codes(networks, params["generator"], z, offsets, text)
        error = lambda z, offsets: ((draw(z, offsets) - x) ** 2).mean((1, 2, 3))
        return error(inverted.mean, inverted.offsets), error(jax.random.normal(key, inverted.mean.shape), None)

    measure = lambda batch, i: errors(params, batch["images"], batch["tokens"], jax.random.key(i))
    found, random = run.over_held_out_pictures(measure)
    images = done * run.config[SECTION].batch_images
    run.say(
        f"{images:>9,} images: squared error of {len(run.val_data):,} held-out pictures "
        f"{found:.4f} by the inverter, {random:.4f} by noise at random"
    )
    return {"inversion/held_out": found, "inversion/random_z": random}


KIND = PhaseKind(
    SECTION,
    build,
    check,
    after=("text", "adversarial", "text_matching", "joint"),
    before=("caption",),
    trains=lambda config: TRAINED,  # noqa: ARG005
    needs=lambda config: ("generator",),  # noqa: ARG005
    uses=lambda config: ("text",),  # noqa: ARG005
)
PHASES.register("inversion", KIND)
