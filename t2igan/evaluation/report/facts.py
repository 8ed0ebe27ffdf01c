"""What is known of a run: its folder, its model and its data, gathered once for the report and the model card."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from t2igan import config as config_lib
from t2igan.data import Dataset
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError, command
from t2igan.inference.files import read_json_lines
from t2igan.inference.snapshot import Snapshot

EVALUATION_FORMAT = "t2igan evaluation 1"
MAX_COUNTED = 100_000  # captions whose tokens are counted, evenly over all
MOST_EXAMPLES = 8
# Licences of data that come with t2igan or that its configurations name, by the start of their source.
LICENSES = {
    "pixel_avatars": "CC0 1.0 (DiceBear, style Pixel Art)",
    "toon_avatars": "CC BY 4.0 (Johan Melin, DiceBear, style Toon Head)",
    "noto_emoji": "Apache-2.0 (Google, Noto Emoji; names: Unicode CLDR)",
    "tfds:fashion_mnist": "MIT (Zalando SE)",
}


@dataclass(frozen=True)
class SplitFacts:
    """One split in figures."""

    name: str
    num_images: int
    num_captions: int  # distinct ones
    skipped: dict[str, int]  # reason -> files left out
    attributes: dict[str, dict[str, int]]  # name -> value -> pictures, most frequent first
    caption_tokens: tuple[int, int, int]  # of the shortest, the median and the longest caption, marks included
    cut_share: float  # of captions that are longer than the model reads


@dataclass(frozen=True)
class RunFacts:
    """All that is known of a run without drawing a picture."""

    name: str
    workdir: Path
    config: dict[str, Any]
    overrides: tuple[str, ...] = ()
    data_name: str = ""
    data_fingerprint: str = ""
    splits: tuple[SplitFacts, ...] = ()
    example_captions: tuple[str, ...] = ()  # some, of the test split
    license: str = ""  # of the data; "" where nothing is known
    rows: tuple[dict[str, Any], ...] = ()  # of metrics.jsonl
    evaluations: dict[str, dict[str, Any]] = field(default_factory=dict)  # of this model, by split
    info: dict[str, Any] = field(default_factory=dict)  # of the snapshot
    digest: str = ""  # of the snapshot's weights; "" where there is none
    parameters: dict[str, int] = field(default_factory=dict)  # network -> how many
    trained_on: dict[str, Any] = field(default_factory=dict)  # as `environment` tells; {} for older runs

    @property
    def private(self) -> bool:
        """Whether it was trained with differential privacy: what is shared then says nothing else of the pictures."""
        return "privacy" in self.info

    @property
    def images_seen(self) -> dict[str, int]:
        """How many pictures each phase has seen, repeats counted."""
        return {row["phase"]: row["images"] for row in self.rows}

    @property
    def training_s(self) -> float:
        """About how long the training steps took, evaluation left out: pictures by pictures a second."""
        total_s, before = 0.0, {}
        for row in self.rows:
            rate = row.get("images_per_s")
            if isinstance(rate, int | float) and rate > 0:
                total_s += max(row["images"] - before.get(row["phase"], 0), 0) / rate
                before[row["phase"]] = row["images"]
        return total_s


def gather(
    workdir: Path,
    config: Mapping[str, Any],
    snapshot: Snapshot | None,
    splits: Sequence[Dataset],
    tokenizer: Tokenizer | None,
) -> RunFacts:
    """Returns what the run's folder, its snapshot and its data say; whatever is missing is left empty.

    An evaluation is taken only if it is of this very model.
    """
    record = read_json(workdir / "config.json") or {}
    digest = snapshot.digest if snapshot else ""
    evaluations = {}
    for path in sorted(workdir.glob("evaluation_*.json")):
        evaluation = read_json(path)
        if is_current(evaluation, digest):
            evaluations[evaluation["split"]] = evaluation
    return RunFacts(
        name=workdir.absolute().name,
        workdir=workdir,
        config=dict(config),
        overrides=tuple(record.get("overrides", ())),
        data_name=splits[0].name if splits else (snapshot.info.get("data", "") if snapshot else ""),
        data_fingerprint=record.get("data_fingerprint", ""),
        splits=tuple(split_facts(split, tokenizer) for split in splits),
        example_captions=_examples(splits[-1]) if splits else (),
        license=data_license(config),
        rows=tuple(read_json_lines(workdir / "metrics.jsonl")),
        evaluations=evaluations,
        info=dict(snapshot.info) if snapshot else {},
        digest=digest,
        parameters={name: count_parameters(tree) for name, tree in snapshot.params.items()} if snapshot else {},
        trained_on=record.get("environment", {}),
    )


def _examples(split: Dataset) -> tuple[str, ...]:
    """A few captions from all over a split, which may be sorted."""
    return tuple(split.captions[row][0] for row in split.spread(MOST_EXAMPLES))


def is_current(evaluation: Any, digest: str) -> bool:
    """Whether a file's content is an evaluation in the format of today, of the model with this hash."""
    return (
        isinstance(evaluation, dict)
        and evaluation.get("format") == EVALUATION_FORMAT
        and bool(digest)
        and evaluation.get("model") == digest
    )


def read_json(path: Path) -> Any:
    """Returns what a JSON file holds; None where there is none, or it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def split_facts(split: Dataset, tokenizer: Tokenizer | None) -> SplitFacts:
    """Returns a split in figures."""
    captions = list(dict.fromkeys(caption for of_one in split.captions for caption in of_one))
    attributes: dict[str, dict[str, int]] = {}
    for name in split.attribute_names():
        counts = Counter(of_one.get(name, "none") for of_one in split.attributes or ())
        attributes[name] = dict(counts.most_common())
    counted = captions[:: len(captions) // MAX_COUNTED + 1]
    lengths = (
        np.minimum(tokenizer.lengths(counted), tokenizer.max_tokens) if tokenizer and counted else np.zeros(1, int)
    )
    return SplitFacts(
        name=split.split,
        num_images=len(split),
        num_captions=len(captions),
        skipped=dict(Counter(skipped.reason for skipped in split.skipped).most_common()),
        attributes=attributes,
        caption_tokens=(int(lengths.min()), int(np.median(lengths)), int(lengths.max())),
        cut_share=float((tokenizer.lengths(counted) > tokenizer.max_tokens).mean()) if tokenizer and counted else 0.0,
    )


def data_license(config: Mapping[str, Any]) -> str:
    """Returns the licence of a run's data: what the configuration says, else of data that t2igan knows, else ""."""
    if said := config["model_card"]["data_license"]:
        return said
    source = str(config["data"]["source"])
    for start, name in LICENSES.items():
        if source == start or source.startswith((f"{start}:", f"{start}/")):
            return name
    folder = config_lib.expanded(source, "config.data.source")
    files = sorted(p.name for p in folder.glob("LICEN[CS]E*")) if folder.is_dir() else []
    return f"see {files[0]} beside the pictures" if files else ""


def count_parameters(tree: Any) -> int:
    """Returns how many numbers nested dictionaries of arrays hold."""
    return sum(count_parameters(x) if isinstance(x, Mapping) else int(np.size(x)) for x in tree.values())


def changed_from(base: Mapping[str, Any] | None, config: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Returns dotted key -> (value, default) of the keys in which `config` differs from `base`; {} without `base`."""
    if base is None:
        return {}
    old, new = config_lib.flatten(base), config_lib.flatten(config)
    return {key: (new[key], old.get(key)) for key in sorted(new) if key not in old or old[key] != new[key]}


def read_record(workdir: Path) -> dict[str, Any]:
    """Returns config.json of a run's folder; UserError where there is none."""
    record = read_json(workdir / "config.json")
    if not isinstance(record, dict) or "config" not in record:
        raise UserError(
            f"{workdir} has no config.json, so it is not the folder of a run; give one that "
            f"`{command('train', config='...', workdir='...')}` made"
        )
    return record
