"""What phases are made of: how one is registered, what its loop needs to know, and what most of their steps share.

A phase is one file. It is registered once, as a `PhaseKind`: the name of its section of the configuration and the check
of that, its place among the others, the networks that it needs and trains, and how a `Phase` is made of a run:

    PHASES.register("mine", PhaseKind(section="mine", build=build, after=("text",), trains=lambda config: ("text",)))

Phases know a run (`t2igan.training.run.Run`) as the context that is given to them, and import nothing of training:

    run.config  run.networks  run.tokenizer  run.train_data  run.val_data  run.extractors  run.logs
    run.gathered_networks        for the compiled step, where parameters may lie in parts on several devices
    run.batch_shapes             shapes of a batch of two, in the space of the game; run.picture_shapes: of pictures
    run.say(text)                a line to the terminal
    run.over_held_out_pictures(f)    means of what f(batch, number) says of pictures of the val split
"""

from __future__ import annotations

import dataclasses
import functools
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from t2igan.config.constraints import require_below_one, require_not_negative, require_positive
from t2igan.config.registry import Registry
from t2igan.config.values import total_steps
from t2igan.errors import UserError
from t2igan.method.optim.schedules import SCHEDULES, learning_rate
from t2igan.nets import Networks
from t2igan.nets.init import init_network
from t2igan.step import Metrics, Params


def _nothing(config: Any) -> tuple[str, ...]:  # noqa: ARG001
    return ()


@dataclasses.dataclass(frozen=True)
class PhaseKind:
    """A phase as it is registered.

    Attributes:
      section: its section of the configuration, which has `steps`, `images`, `epochs` and `batch_images`.
      build: (run, networks that have learned before, by name) -> `Phase`.
      check: raises `UserError` for a section, in the whole configuration, that cannot be used.
      after: phases that come before this one, where there are such.
      before: phases that come after it, where there are such.
      trains: configuration -> networks that have learned when the phase is over, by their names in states.
      needs: configuration -> networks that must have learned before it begins.
      uses: configuration -> networks that it applies besides; those that have not learned are drawn at random.
      auto: keys that it reads and that may be "auto": what they are follows from the data (`t2igan.method.automatic`).
      game: whether it plays generator against discriminator: the guard may roll it back, `config.train.microbatches`
        divide its batches, and its section has the players' learning rates.
    """

    section: str
    build: Callable[[Any, Mapping[str, Any]], Phase]
    check: Callable[[Any], None] = lambda config: None  # noqa: ARG005
    after: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    trains: Callable[[Any], tuple[str, ...]] = _nothing
    needs: Callable[[Any], tuple[str, ...]] = _nothing
    uses: Callable[[Any], tuple[str, ...]] = _nothing
    auto: tuple[str, ...] = ()
    game: bool = False

    def total_steps(self, run: Any) -> int:
        """Returns the length of the phase in a run."""
        return total_steps(run.config[self.section], len(run.train_data))


@dataclasses.dataclass(frozen=True)
class OwnBatches:
    """Batches of a phase that takes others than `t2igan.data.Batches`, for one device.

    Attributes:
      shapes: of a whole batch, by name; a batch may now and then have more rows.
      of_step: number of a step, from 0 -> its batch; called ahead, by other threads.
      taken: called with the number of a step right before the step.
    """

    shapes: Mapping[str, Any]
    of_step: Callable[[int], dict[str, np.ndarray]]
    taken: Callable[[int], None]


@dataclasses.dataclass(frozen=True)
class Phase:
    """A phase of one run: a pure step with its first state and its length, and what is seen of it on the way.

    Attributes:
      name: under which it is registered.
      init: networks that have learned before, by name -> first state.
      step: (state, batch) -> (next state, float32 scalars by name); pure.
      total_steps: the length.
      step_images: pictures that one step takes.
      shown: metrics that stand behind the progress bar.
      decided: the number of a step, from 0 -> settings of `step`, as hashable pairs, for which it is compiled.
      columns: int32 [N, ...] by name, a row for each training picture, which batches have besides.
      unlabelled: whether its batches take pictures of `config.data.unlabelled_source` too. Then they have a column
        "captioned", int32 [N], 0 for pictures whose tokens are of no caption and whose `columns` are -1.
      monitor: (state, steps done) -> figures by name; called by the leader, with arrays of its own.
      monitored: steps done -> whether `monitor` is called; as it stands, at the end of the phase.
      evaluates: whether the generator is drawn with, measured and kept as a snapshot: never, when the phase ends, or on
        the way too, as `config.evaluate` and `config.sample` say.
      sheet_prefix: of the names of its picture sheets.
      full_size_from: the number of steps after which pictures have grown to full size; before, the guard does not look.
      shapes: of a batch, by name; None = those of `Run.batch_shapes`, in the space of the game.
      own_batches: what takes the place of `columns`, `unlabelled` and `shapes`; None = the usual batches.
      largest_map_values: places times channels of a picture's largest map that is convolved; 0 = of the generator's.
    """

    name: str
    init: Callable[[Mapping[str, Any]], Any]
    step: Callable[..., tuple[Any, Metrics]]
    total_steps: int
    step_images: int
    shown: tuple[str, ...]
    decided: Callable[[int], tuple] = lambda number: ()  # noqa: ARG005
    columns: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    unlabelled: bool = False
    monitor: Callable[[Any, int], dict[str, Any]] | None = None
    monitored: Callable[[int], bool] | None = None
    evaluates: Literal["never", "at_end", "on_the_way"] = "never"
    sheet_prefix: str = ""
    full_size_from: int = 0
    shapes: Mapping[str, Any] | None = None
    own_batches: OwnBatches | None = None
    largest_map_values: int = 0

    def is_monitored(self, done: int) -> bool:
        """Whether `monitor` is called after so many steps."""
        if self.monitor is None:
            return False
        return done == self.total_steps if self.monitored is None else self.monitored(done)


class PhaseRegistry(Registry[PhaseKind]):
    """The phases, in an order in which each comes after those that it says it follows.

    Of phases whose order is left open the one that was registered first comes first.
    """

    def names(self) -> tuple[str, ...]:
        """Returns all names in order; `UserError` where `after` and `before` contradict each other."""
        return self._ordered

    def register(self, name: str, thing: Any = None, *, replace: bool = False) -> Any:
        """As `Registry.register`; `UserError`, and all is as before, where the phase cannot have its place."""
        if thing is None:
            return super().register(name, replace=replace)
        before = dict(self._things)
        super().register(name, thing, replace=replace)
        try:
            self.__dict__.pop("_ordered", None)
            self.names()
        except UserError:
            self._things = before
            raise
        return thing

    def unregister(self, name: str) -> None:
        """As `Registry.unregister`."""
        super().unregister(name)
        self.__dict__.pop("_ordered", None)

    def earlier(self, name: str) -> set[str]:
        """Returns the phases that must come before this one, those before them included."""
        found: set[str] = set()
        new = self._directly_before(name)
        while new:
            found |= new
            new = {other for one in new for other in self._directly_before(one)} - found
        return found

    def _directly_before(self, name: str) -> set[str]:
        before = {other for other, kind in self._things.items() if name in kind.before}
        return before | (set(self._things[name].after) & self._things.keys())

    @functools.cached_property
    def _ordered(self) -> tuple[str, ...]:
        left, ordered = list(self._things), []
        while left:
            first = next((name for name in left if not self._directly_before(name) & set(left)), None)
            if first is None:
                raise UserError(f"the phases {', '.join(map(repr, left))} are each to come after another of them")
            left.remove(first)
            ordered.append(first)
        return tuple(ordered)


PHASES = PhaseRegistry("phase", key="phases")


def check_section(config: Any, section: str) -> None:
    """Raises `UserError` for a value that no phase's section may have."""
    values = config[section]
    if "schedule" in values:
        SCHEDULES.find(values.schedule, f"{section}.schedule")
    for key, value in values.items():
        name = f"{section}.{key}"
        if key == "batch_images" or (key.endswith("learning_rate") and key != "text_learning_rate"):
            require_positive(config, name)
        if isinstance(value, int | float):
            require_not_negative(config, name)
        if key.startswith("beta"):
            require_below_one(config, name)
    if values.get("schedule") == "exponential" and not values.learning_rate_end > 0:
        raise UserError(
            f"config.{section}.learning_rate_end={values.learning_rate_end} must be above 0 for the exponential "
            f"schedule"
        )


@dataclasses.dataclass(frozen=True)
class PhaseMethod:
    """What every such phase's step needs to know and never changes; each phase adds its own, and a `create`."""

    networks: Networks
    seed: int
    optimizer: optax.GradientTransformation
    rate: Callable  # step -> learning rate

    @classmethod
    def of(
        cls, config, section, networks: Networks, total_steps: int, optimizer: Callable = optax.adam, **own: Any
    ) -> Any:
        """Reads what a phase's section of the configuration has in common with the others'.

        Args:
          config: the whole configuration.
          section: the phase's.
          networks: the networks.
          total_steps: length of the phase.
          optimizer: (learning rate, b2=) -> optimizer.
          **own: the fields that the phase adds.
        """
        rate = learning_rate(section, total_steps)
        return cls(networks=networks, seed=config.seed, optimizer=optimizer(rate, b2=section.beta2), rate=rate, **own)


@flax.struct.dataclass
class PhaseState:
    """All that the future of the phase depends on; `params` and `frozen` are keyed by network."""

    step: Any  # int32 []
    params: Any  # of the networks that the phase trains
    opt_state: Any
    frozen: Any  # of the others that there are: used, or only kept for later phases


def init_phase_state(
    networks: Networks,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    batch: dict,
    given: dict[str, Params] | None,
    trained: tuple[str, ...],
    used: tuple[str, ...] = (),
) -> PhaseState:
    """Returns the first state: networks in `given` as they are there, of the rest the needed ones fresh.

    Args:
      networks: the networks.
      optimizer: of all trained networks together.
      key: of fresh parameters.
      batch: a batch, or its shapes.
      given: parameters by network, as earlier phases left them.
      trained: names of the networks that the phase trains.
      used: names of those that it only uses.
    """
    params = dict(given or {})
    for name in (*trained, *used):
        if name not in params:
            params[name] = init_network(networks, name, jax.random.fold_in(key, zlib.crc32(name.encode())), batch)
    moving = {name: params.pop(name) for name in trained}
    return PhaseState(jnp.zeros((), jnp.int32), moving, optimizer.init(moving), params)


def descend(method: PhaseMethod, state: Any, loss_fn: Callable, of: tuple[str, ...]) -> tuple[Any, Metrics]:
    """One update of all of `state.params` down a loss; returns the next state and float32 scalars.

    Args:
      method: the phase's.
      state: has `step`, `params` and `opt_state`.
      loss_fn: params -> (mean loss, metrics by name, of which the mean is taken).
      of: networks whose gradients' norms are among the metrics; the learning rate goes by the first.
    """
    grads, metrics = jax.grad(loss_fn, has_aux=True)(state.params)
    metrics = {name: value.mean() for name, value in metrics.items()}
    metrics |= {f"gradient_norm/{name}": optax.tree.norm(grads[name]) for name in of}
    metrics[f"learning_rate/{of[0]}"] = jnp.asarray(method.rate(state.step), jnp.float32)
    updates, opt_state = method.optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return state.replace(step=state.step + 1, params=params, opt_state=opt_state), metrics
