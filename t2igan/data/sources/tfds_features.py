"""Which features of a TFDS data set hold the picture, its captions or its label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from t2igan.data.sources.columns import IMAGE_FIELDS
from t2igan.data.sources.fields import CAPTION_FIELDS
from t2igan.errors import UserError, nearest

# Text that says which picture it is, not what it shows.
NOT_CAPTIONS = ("id", "file_name", "filename", "image_filename", "path", "url", "key", "license")


@dataclass(frozen=True)
class Chosen:
    """Paths ("captions/text") of the features to use; of `caption` and `label` one is None."""

    image: str
    caption: str | None
    label: str | None
    label_names: tuple[str, ...] | None = None

    def labels(self, found: Sequence[Any]) -> list[str]:
        """Returns the labels of an example in words; a number out of range is none (TFDS writes -1 for unknown)."""
        if self.label_names is None:
            texts = [label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label) for label in found]
            return [text for text in texts if text.strip()]
        numbers = [label for label in found if isinstance(label, int) and 0 <= label < len(self.label_names)]
        return [self.label_names[number] for number in numbers]

    def __str__(self) -> str:
        return f"pictures in {self.image!r}, " + (
            f"captions from {self.caption!r}" if self.caption else f"labels from {self.label!r}"
        )


def choose_features(source: str, features: Any, data_config: Any) -> Chosen:
    """Returns which of a `tfds.features.FeaturesDict` to use; UserError, with those that there are, where none fits."""
    leaves = dict(_leaves(features))
    image = _image(source, leaves)
    caption = _caption(source, leaves, data_config)
    if caption is not None:
        return Chosen(image, caption, None)
    names = getattr(leaves[data_config.label_field][0], "names", None)
    return Chosen(image, None, data_config.label_field, tuple(names) if names else None)


def _image(source: str, leaves: dict[str, tuple[Any, bool]]) -> str:
    import tensorflow_datasets as tfds

    found = {path: listed for path, (feature, listed) in leaves.items() if isinstance(feature, tfds.features.Image)}
    # A mask of labels is a picture to TFDS, too.
    drawn = {p: n for p, n in found.items() if not isinstance(leaves[p][0], tfds.features.LabeledImage)}
    single = [path for path, listed in drawn.items() if not listed]
    if not single:
        what = f"lists of pictures only ({', '.join(drawn)})" if drawn else "no pictures"
        raise UserError(f"{source} has {what}; it has {_listed(leaves)}.\nOne picture an example is accepted.")
    image = min(single, key=lambda path: _rank(path, IMAGE_FIELDS))
    if np.dtype(leaves[image][0].np_dtype).kind == "f":
        raise UserError(f"{source}: the pictures in {image!r} are of floating point, which TFDS packs as four bytes.")
    return image


def _caption(source: str, leaves: dict[str, tuple[Any, bool]], data_config: Any) -> str | None:
    """Returns the path of the text to use, or None where there is a label only."""
    label = data_config.label_field
    if wanted := data_config.caption_field:
        for path in (wanted, *(f"{wanted}/{field}" for field in CAPTION_FIELDS)):
            if path in leaves:
                return path
        raise UserError(
            f"config.data.caption_field={wanted!r}: {source} has no such field{nearest(wanted, leaves)}\n"
            f"It has {_listed(leaves)}."
        )
    texts = [path for path, (feature, _) in leaves.items() if _is_text(feature)]
    texts = [path for path in texts if path.split("/")[-1].lower() not in NOT_CAPTIONS and path != label]
    # The customary names first, in their order; then whatever text there is, unless there are labels.
    texts.sort(key=lambda path: min(_rank(part, CAPTION_FIELDS) for part in path.split("/")))
    if texts and _rank(texts[0], CAPTION_FIELDS) < len(CAPTION_FIELDS):
        return texts[0]
    if label in leaves:
        return None
    if texts:
        return texts[0]
    raise UserError(
        f"{source} has neither captions nor {label!r}; it has {_listed(leaves)}.\n"
        "Set config.data.caption_field or config.data.label_field."
    )


def _leaves(feature: Any, path: str = "", listed: bool = False) -> Iterator[tuple[str, tuple[Any, bool]]]:
    """Yields "a/b", the feature that is there, and whether there is a list of it."""
    import tensorflow_datasets as tfds

    if isinstance(feature, tfds.features.FeaturesDict):
        for name, inner in feature.items():
            yield from _leaves(inner, f"{path}/{name}" if path else name, listed)
    elif isinstance(feature, tfds.features.Sequence):
        yield from _leaves(feature.feature, path, True)
    else:
        yield path, (feature, listed)


def _is_text(feature: Any) -> bool:
    import tensorflow_datasets as tfds

    return isinstance(feature, tfds.features.Tensor) and np.dtype(feature.np_dtype).kind in "OSU"


def _rank(path: str, names: Sequence[str]) -> int:
    name = path.split("/")[-1].lower()
    return names.index(name) if name in names else len(names)


def _listed(leaves: dict[str, tuple[Any, bool]]) -> str:
    return ", ".join(f"{path} ({type(feature).__name__})" for path, (feature, _) in leaves.items())
