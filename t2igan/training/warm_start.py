"""Beginning with what another run has learned (`config.init_from`): fine-tuning, on the same data or on other.

A run's folder has all its networks in its checkpoints; a snapshot has those that are used: generator, text encoder,
and the inverter where there is one. Arrays are taken where path and shape are those of the new run's networks; the
rest begin fresh. What a token is decides what the text encoder means, so it is taken whole, with its tokenizer, or not.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from t2igan.config import expanded
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError
from t2igan.inference import shipped
from t2igan.inference.checkpoint import read_checkpoint
from t2igan.inference.sample import WHICH, snapshot_path
from t2igan.inference.snapshot import load_snapshot
from t2igan.method.phases import PHASES
from t2igan.nets import Networks
from t2igan.nets.init import NETWORKS, init_network

PRETRAINED_NAME = "pretrained.json"  # in a run's folder: what its text encoder reads with, if not its tokenizer
SHOWN = 3  # arrays that are named of those that do not fit


@dataclasses.dataclass(frozen=True)
class Source:
    """What there is to inherit."""

    label: str  # "runs/a, phase adversarial, step 4000"
    params: dict[str, Any]  # by network
    tokenizer: Tokenizer  # its own
    pretrained: str = ""  # `Tokenizer.identity` of the pretrained model that its text encoder reads with, if any

    @property
    def identity(self) -> str:
        """What is equal for runs whose text encoders read captions alike."""
        return self.pretrained or self.tokenizer.identity


def networks_of(state: Any) -> dict[str, Any]:
    """Returns the parameters in a phase's state by network, averages where there are any.

    `state` is a dataclass of the kind of `t2igan.step.State`, or such a dictionary as a checkpoint is read into.
    """
    fields = state if isinstance(state, Mapping) else vars(state)
    found = dict(fields.get("frozen") or {}) | dict(fields["params"]) | dict(fields.get("ema") or {})
    return {name: found[name] for name in NETWORKS if name in found}


def handed_on(given: Mapping[str, Any], state: Any) -> dict[str, Any]:
    """Returns what a phase that began with `given` leaves to the next one.

    A state holds in `frozen` what its phase did not train, or has let it go; that of the text phase holds only its own.
    """
    return networks_of(state) if hasattr(state, "frozen") else dict(given) | networks_of(state)


def read(path: str | Path, which: str = "latest") -> Source:
    """Reads a run's folder, a snapshot, or a model of the package; `UserError` for anything else.

    Of a folder it is the latest checkpoint of the last phase, or, where `which` is "best", the one that
    `snapshot_best.safetensors` was written with. Of one without checkpoints, such as a copy of what a run left to be
    used, it is that snapshot.
    """
    path = shipped.found(expanded(path, "config.init_from"))
    if not (path / "checkpoints").is_dir() and (path / WHICH[which]).is_file():
        path = path / WHICH[which]
    if path.is_file():
        snapshot = load_snapshot(path)
        tokenizer = Tokenizer.from_json(snapshot.tokenizer)
        return Source(f"snapshot {path}", snapshot.params, tokenizer, identity_of(snapshot.pretrained))
    if which == "best":
        best = load_snapshot(snapshot_path(path, which)).info
        found = [(best["phase"], read_checkpoint(path / "checkpoints" / best["phase"], best["step"]))]
    else:
        # A later phase holds what there is of the earlier ones.
        found = ((phase, read_checkpoint(path / "checkpoints" / phase)) for phase in reversed(_phases_of(path)))
    phase, latest = next(((phase, latest) for phase, latest in found if latest), ("", None))
    if latest is None:
        raise UserError(
            f"config.init_from={str(path)!r} is neither the folder of a run with a checkpoint nor a snapshot; give "
            f"runs/NAME or a .safetensors file that t2igan wrote"
        )
    try:
        tokenizer = Tokenizer.from_json((path / "tokenizer.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"config.init_from: {path / 'tokenizer.json'} cannot be read ({error})") from error
    step, state = latest
    described = path / PRETRAINED_NAME
    pretrained = identity_of(json.loads(described.read_text(encoding="utf-8"))) if described.is_file() else ""
    return Source(f"{path}, phase {phase}, step {step:,}", networks_of(state), tokenizer, pretrained)


def identity_of(description: Mapping[str, Any]) -> str:
    """Returns what a pretrained model's description says as `Tokenizer.identity` does; "" where there is none."""
    return f"{description['mode']} {description['digest']}" if description else ""


def _phases_of(workdir: Path) -> tuple[str, ...]:
    """The phases of a run in order, whether or not all of them are known here."""
    try:
        return tuple(json.loads((workdir / "config.json").read_text(encoding="utf-8"))["config"]["phases"])
    except (OSError, ValueError, KeyError, TypeError):
        return PHASES.names()


def text_fits(source: Source, networks: Networks, batch: Mapping[str, Any]) -> bool:
    """Whether the source's text encoder is, array by array, of the shapes of `networks`' own."""
    if "text" not in source.params:
        return False
    ours, theirs = _shapes(_abstract(networks, "text", batch)), _shapes(source.params["text"])
    return ours == theirs


def take(
    source: Source, networks: Networks, batch: Mapping[str, Any], seed: int, with_text: bool
) -> tuple[dict[str, Any], list[str]]:
    """Returns parameters by network, with what fits of the source's, and a report, a line a network.

    Args:
      source: what there is.
      networks: of the new run.
      batch: a batch of the new run, or its shapes.
      seed: of the arrays that do not fit and begin fresh.
      with_text: whether the new run has the source's tokenizer and so can take its text encoder; without it the heads
        that match sentences are left as well.

    Networks of which nothing fits are left out.
    """
    taken, report = {}, [f"begins with {source.label}:"]
    for name in NETWORKS:
        if getattr(networks, NETWORKS[name]) is None:
            continue
        if name not in source.params:
            report.append(f"  {name}: not there")
            continue
        if name in ("text", "matching") and not with_text:
            report.append(f"  {name}: not taken, because the text encoder or its tokenizer is another")
            continue
        ours = flatten_dict(_abstract(networks, name, batch), sep="/")
        theirs = flatten_dict(source.params[name], sep="/")
        fits = {path for path, like in ours.items() if path in theirs and theirs[path].shape == like.shape}
        if fits:
            arrays = {path: np.asarray(theirs[path], ours[path].dtype) for path in fits}  # small snapshots are float16
            if len(fits) < len(ours):
                key = jax.random.fold_in(jax.random.key(seed), list(NETWORKS).index(name))
                fresh = flatten_dict(init_network(networks, name, key, batch), sep="/")
                arrays = {path: np.asarray(fresh[path]) for path in ours} | arrays
            taken[name] = unflatten_dict(arrays, sep="/")
        report.append(f"  {name}: {_line(ours, theirs, fits)}{', with its tokenizer' if name == 'text' else ''}")
    return taken, report


def _line(ours: dict[str, Any], theirs: dict[str, Any], fits: set[str]) -> str:
    if len(fits) == len(ours):
        return f"all {len(ours)} arrays"
    others = sorted(ours.keys() - fits)
    shown = ", ".join(
        f"{path} {theirs[path].shape} for {ours[path].shape}" if path in theirs else f"{path}, which is new"
        for path in others[:SHOWN]
    )
    more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
    return f"{len(fits)} of {len(ours)} arrays; not {shown}{more}"


def _abstract(networks: Networks, name: str, batch: Mapping[str, Any]) -> Any:
    shapes = {k: jax.ShapeDtypeStruct(x.shape, x.dtype) for k, x in batch.items()}
    return jax.eval_shape(lambda key: init_network(networks, name, key, shapes), jax.random.key(0))


def _shapes(params: Any) -> dict[str, tuple[int, ...]]:
    return {path: tuple(x.shape) for path, x in flatten_dict(params, sep="/").items()}
