"""The models that a server draws with, by the names that clients call them."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from t2igan.errors import UserError, nearest
from t2igan.inference.editing import has_captioner
from t2igan.inference.examples import captions_of
from t2igan.inference.pictures import read_facts
from t2igan.inference.prompts import Prompt, parse
from t2igan.inference.sample import WHICH, Model, load, snapshot_path
from t2igan.inference.serving.answers import ApiError
from t2igan.inference.serving.encoded import LONGEST_REMEMBERED, EncodedCaptions
from t2igan.inference.serving.encoding import shown_px
from t2igan.inference.serving.queueing import Group
from t2igan.inference.serving.vocabulary import Vocabulary
from t2igan.inference.snapshot import Snapshot, load_snapshot

# Clients of OpenAI often name its models without being told to; they get the first of ours.
_ALIAS = re.compile(r"(gpt-image|chatgpt-image|dall-e)[\w.-]*")
_MOST_EXAMPLES = 12
_REMEMBERED = 1024  # prompts: a client mostly draws the same one again, with other seeds


@dataclasses.dataclass(frozen=True)
class ServedModel:
    """A model and what a server says about it."""

    id: str
    model: Model
    created_s: int  # when its file was written, in seconds since 1970
    card: str  # Markdown
    examples: tuple[str, ...]  # captions in the style of its training captions
    vocabulary: Vocabulary

    @functools.cached_property
    def understood(self) -> Callable[[str, str], Prompt]:
        """`Model.understood` of one prompt and its negative; the last ones are remembered."""
        return functools.lru_cache(_REMEMBERED)(lambda prompt, negative: self.model.understood([prompt], negative)[0])

    @functools.cached_property
    def encoded(self) -> EncodedCaptions:
        """What the model's text encoder makes of captions; the last ones are remembered."""
        return EncodedCaptions(self.model.encoded)

    @functools.cached_property
    def tokens(self) -> Callable[[str], int]:
        """How many tokens the model reads of a prompt; the last ones are remembered."""
        tokenizer = self.model.tokenizer
        count = lambda prompt: min(int(tokenizer.lengths([prompt])[0]), tokenizer.max_tokens)
        remembered = functools.lru_cache(_REMEMBERED)(count)
        return lambda prompt: remembered(prompt) if len(prompt) <= LONGEST_REMEMBERED else count(prompt)

    @property
    def native_px(self) -> int:
        """The size in which it draws."""
        return int(self.model.config["data"]["image_size_px"])

    @property
    def takes_guidance(self) -> bool:
        """Whether it can also draw without a caption, which guidance wants."""
        return _is_fine(self.model.check_guidance, 2.0)

    @property
    def editable(self) -> bool:
        """Whether pictures can be edited with it, and prompts have weights."""
        return _is_fine(self.model.check_styled, "editing")

    @property
    def describes(self) -> bool:
        """Whether it can say what a picture shows."""
        return has_captioner(self.model)

    def summary(self) -> dict[str, Any]:
        """Returns the model object of OpenAI's API, with what is ours under "t2igan"."""
        own = {
            "native_px": self.native_px,
            "size": f"{shown_px(self.native_px)}x{shown_px(self.native_px)}",
            "channels": int(self.model.config["data"]["channels"]),
            "max_tokens": self.model.tokenizer.max_tokens,
            "guidance": self.takes_guidance,
            "editable": self.editable,
            "captioner": self.describes,
            "digest": self.model.digest,
            "step": self.model.info.get("step"),
        }
        return {"id": self.id, "object": "model", "created": self.created_s, "owned_by": "t2igan", "t2igan": own}

    def new_words(self, prompt: str) -> dict[str, Any]:
        """Returns words of a prompt that training captions hardly had, and whether it is certain that none had them."""
        if self.model.seen is None:  # a snapshot of before they were kept: the tokenizer knows a little
            return {"unseen": self.vocabulary.unseen(prompt), "certain": self.vocabulary.complete}
        try:
            found = self.model.unseen([prompt])
        except UserError:  # a bracket that is still being typed
            found = []
        return {"unseen": [word for one in found for word in one.words], "certain": False}

    @functools.cached_property
    def warnings(self) -> Callable[..., tuple[dict[str, Any], ...]]:
        """What there is to say of a prompt (and its negative) that has been checked; the last ones are remembered.

        These are words that were never seen, and changes.
        """
        return functools.lru_cache(_REMEMBERED)(self._said_of)

    def _said_of(self, prompt: str, negative: str = "") -> tuple[dict[str, Any], ...]:
        found: list[dict[str, Any]] = []
        words: tuple[str, ...]
        pairs: tuple[str, ...]
        if self.model.seen is None:
            words, pairs = tuple(self.vocabulary.unseen(prompt)), ()
            message = f"{', '.join(words[:5])}: hardly in a training caption, if at all"
        else:
            unseen = next(iter(self.model.unseen([prompt])), None)
            words, pairs = (unseen.words, unseen.pairs) if unseen else ((), ())
            message = unseen.text if unseen else ""
        if words or pairs:
            message += "; it means little to this model"
            of_words = {"words": list(words), "pairs": list(pairs)}
            found.append({"code": "unseen_words", "message": message, "prompt": prompt} | of_words)
        notes = parse(prompt, negative).notes
        found += [{"code": "prompt_changed", "message": note, "prompt": prompt} for note in notes]
        return tuple(found)

    def description(self) -> dict[str, Any]:
        """Returns what the page wants to know besides: words, example captions, the card."""
        words = {"words": self.vocabulary.words, "complete": self.vocabulary.complete}
        return self.summary() | {"vocabulary": words, "examples": list(self.examples), "card": self.card}


class Catalogue(Mapping[str, ServedModel]):
    """Models by name; the first one is taken where a client names none."""

    def __init__(self, models: Sequence[ServedModel]):
        """Takes models with different names, one at least."""
        self._models = {model.id: model for model in models}
        self._by_digest = {model.model.digest: model for model in models}
        self.default = models[0]

    def __getitem__(self, name: str) -> ServedModel:
        return self._models[name]

    def __iter__(self):
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def find(self, name: str | None) -> ServedModel:
        """Returns the model that a client names. Raises `ApiError` 404 for one that is not here."""
        if not name or _ALIAS.fullmatch(name):
            return self.default
        if name not in self._models:
            known = ", ".join(self._models)
            raise ApiError(
                404,
                f"There is no model {name[:100]!r} here; there is: {known}{nearest(name[:100], self._models)}",
                "model",
                "model_not_found",
            )
        return self._models[name]

    def of_digest(self, digest: str) -> ServedModel | None:
        """Returns the model with these weights, None where it is not here any more."""
        return self._by_digest.get(digest)

    def draw(self, group: Group, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """Draws pictures of one group, uint8 [N, H, W, C]; prompts have been checked before."""
        served = self._models[group.model]
        if group.as_caption:
            numbers = np.asarray(seeds, np.uint32)
            return served.model.sample_encoded(served.encoded.of(prompts), numbers, group.truncation, group.guidance)
        return served.model.sample(prompts, seeds, group.truncation, guidance=group.guidance, negative=group.negative)

    def compile(self, group: Group, images: int) -> None:
        """Compiles what draws so many pictures of one of `groups_to_warm` at once; on any thread."""
        self._models[group.model].model.compile(images, group.guidance)

    def groups_to_warm(self) -> list[Group]:
        """Returns a group for each program that is to be compiled: with guidance, too, where a model takes it."""
        groups = []
        for served in self._models.values():
            groups.append(Group(served.id, as_caption=True))
            if served.takes_guidance:
                groups.append(Group(served.id, guidance=2.0, as_caption=True))
        return groups


def open_models(paths: Sequence[Path], which: str = "latest") -> Catalogue:
    """Loads runs, snapshot files, and folders of snapshot files.

    A model is called by the name of its run's folder or its file; where two have the same, by that of the folder around
    it too, as "mine/base".

    Raises:
      UserError: there is no model at a path, or two models have the same name.
    """
    files = [file for path in paths for file in _snapshots(path, which)]
    if twice := [file for file, count in Counter(file.resolve() for file in files).items() if count > 1]:
        raise UserError(f"--workdir gives the model {twice[0]} more than once; give each once")
    names = [_name(file) for file in files]
    shared = {name for name, count in Counter(names).items() if count > 1}
    names = [_name(file, longer=name in shared) for file, name in zip(files, names, strict=True)]
    if doubled := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"two models would be called {doubled[0]!r}; rename the folder of one")
    return Catalogue([open_model(file, name) for file, name in zip(files, names, strict=True)])


def open_model(path: Path, name: str) -> ServedModel:
    """Loads one snapshot file. Raises `UserError` as `load` does."""
    model = load(path)
    snapshot = load_snapshot(path, with_weights=False)  # for what it says besides
    vocabulary = Vocabulary(model.tokenizer, int(model.config["tokenizer"]["vocab_size"]), model.seen)
    return ServedModel(
        name, model, int(path.stat().st_mtime), snapshot.model_card, _examples(path, snapshot), vocabulary
    )


def _is_fine(check: Callable[..., None], *arguments: Any) -> bool:
    try:
        check(*arguments)
    except UserError:
        return False
    return True


def _snapshots(path: Path, which: str) -> list[Path]:
    """The snapshot files that a `--workdir` stands for."""
    if path.is_dir() and not (path / WHICH[which]).exists():
        found = sorted(file for file in path.glob("*.safetensors") if file.name not in WHICH.values())
        if found and not (path / "config.json").exists():
            return found
    return [snapshot_path(path, which)]


def _name(file: Path, longer: bool = False) -> str:
    file = file.resolve()
    own = file.parent if file.name in WHICH.values() else file.with_suffix("")
    return f"{own.parent.name}/{own.name}" if longer else own.name


def _examples(path: Path, snapshot: Snapshot) -> tuple[str, ...]:
    """Captions in the model's style: of the sheets beside it, or those that its configuration or its card names."""
    for sheet in sorted((path.parent / "samples").glob("*.png"), reverse=True):
        try:
            captions = read_facts(sheet).get("captions")
        except (OSError, ValueError):
            continue
        if isinstance(captions, list) and captions:
            return tuple(dict.fromkeys(map(str, captions)))[:_MOST_EXAMPLES]
    return tuple(captions_of(snapshot))[:_MOST_EXAMPLES]
