"""Phase "adversarial": generator against discriminator. The method itself stands in `t2igan.step`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from t2igan import nets, step
from t2igan.config.auto import WEIGHTS
from t2igan.config.constraints import require_exponential_ends, require_positive
from t2igan.errors import UserError
from t2igan.method.game import Method
from t2igan.method.optim.optimizers import OPTIMIZERS
from t2igan.method.phases import private
from t2igan.method.phases.base import PHASES, Phase, PhaseKind
from t2igan.step import Params

SECTION = "train"
MOVED = (
    ("loss", "penalty_weight"),
    ("train", "beta2"),
    ("train", "ema_half_life_images"),
    ("augment", "instance_noise"),
)


def check(config: Any) -> None:
    """Raises `UserError` for what `config.train` cannot have."""
    OPTIMIZERS.find(config.train.optimizer)
    require_positive(config, "train.discriminator_steps", "train.microbatches")
    for key in ("train.beta2", "train.ema_half_life_images"):
        require_exponential_ends(config, key, f"{key}_end")
    for factor in config.train.ema_tracks:
        if not (isinstance(factor, int | float) and factor > 0) or config.train.ema_tracks.count(factor) > 1:
            raise UserError(
                f"config.train.ema_tracks={tuple(config.train.ema_tracks)} must be different numbers above 0: "
                f"half-lives as multiples of config.train.ema_half_life_images, such as (0.25, 4.0)"
            )
    if config.train.grow_share:
        _check_growth(config)


def _check_growth(config: Any) -> None:
    train, names = config.train, ("generator", "discriminator")
    if not 0 < train.grow_share < 1 or not 0 <= train.fade_share <= 1:
        raise UserError(
            f"config.train.grow_share={train.grow_share} and fade_share={train.fade_share} must be shares from 0 to 1; "
            f"a half each is usual"
        )
    kinds = tuple(config[name].kind for name in names)
    levels = tuple(len(config[name].channels) for name in names)
    grow = all(nets.kind_of(config, name).grows for name in names)
    if not grow or levels[0] != levels[1] or config.discriminator.multi_scale:
        raise UserError(
            f"config.train.grow_share={train.grow_share} wants networks that grow ('residual') with as many channels "
            f"each and no discriminator.multi_scale; there are {kinds} with {levels[0]} and {levels[1]}. Change them, "
            f"or set it to 0"
        )


def players(config: Any) -> tuple[str, ...]:
    """Returns the networks that a game trains whether or not the text encoder is tuned."""
    more = {"inverter": config.loss.reconstruction_weight, "space": config.train.tune_decoder}
    return ("generator", "discriminator", *(name for name, weight in more.items() if weight))


def read(config: Any) -> tuple[str, ...]:
    """Returns the networks that a game applies besides, and does not train, if its text encoder is not tuned."""
    loss = config.loss
    reads_noise = loss.paired_weight and loss.paired_noises == 0 and not loss.reconstruction_weight
    return ("text", *["inverter"] * bool(reads_noise))


def teachers(config: Any) -> tuple[str, ...]:
    """Returns the networks that must have learned for the game's losses to mean something."""
    loss = config.loss
    near = loss.drifting_weight and loss.drifting_features == "tower"
    return ("image", "matching") if loss.contrastive_weight or loss.cycle_weight or near else ()


def gone_on_with(config: Any, section: str) -> Any:
    """Returns the settings of a later phase's game: its section's in place of `config.train`'s, where it has them.

    What moved during the adversarial phase stays where that ended.
    """
    merged = config.copy_and_resolve_references().unlock()
    merged.train.update({key: value for key, value in config[section].items() if key in config.train})
    merged.train.update(discriminator_steps=1, grow_share=0.0)
    for group, key in MOVED:
        ended = config[group][key if config.train.schedule == "constant" else f"{key}_end"]
        merged[group].update({key: ended, f"{key}_end": ended})
    return merged


def build(run: Any, given: Mapping[str, Params]) -> Phase:  # noqa: ARG001
    """Returns the phase of a run; that of `t2igan.method.phases.private` where pictures are to stay private."""
    if run.config.privacy.epsilon:
        return private.build(run)
    method = Method.create(run.config, run.gathered_networks, KIND.total_steps(run))
    return phase_of_game(run, "adversarial", KIND, method, step.train_step, method, sheet_prefix="")


def phase_of_game(
    run: Any,
    name: str,
    kind: PhaseKind,
    game: Method,
    step_function: Callable,
    method: Any,
    sheet_prefix: str | None = None,
) -> Phase:
    """Returns a phase with the state of the adversarial one, drawings on the way, and figures.

    Args:
      run: the run.
      name: of the phase.
      kind: of the phase.
      game: the settings of the game.
      step_function: (method, state, batch) -> (state, metrics).
      method: of that function.
      sheet_prefix: None = the phase's name.
    """
    return Phase(
        name=name,
        init=functools.partial(step.init_state, game, run.batch_shapes),
        step=functools.partial(step_function, method),
        total_steps=kind.total_steps(run),
        step_images=game.batch_images * game.discriminator_steps,
        shown=("loss/generator", "loss/discriminator"),
        decided=functools.partial(step.decided, game),
        evaluates="on_the_way",
        sheet_prefix=f"{name}_" if sheet_prefix is None else sheet_prefix,
        full_size_from=game.growth.whole_from,
        shapes=run.picture_shapes if game.tune_decoder else None,
    )


KIND = PhaseKind(
    SECTION,
    build,
    check,
    after=("discriminator",),
    trains=lambda config: (*players(config), *["text"] * config.train.tune_text),
    needs=teachers,
    uses=read,
    auto=WEIGHTS,
    game=True,
)
PHASES.register("adversarial", KIND)
