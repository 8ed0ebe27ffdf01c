"""TensorFlow Datasets, without TensorFlow: "tfds:NAME" or "tfds:NAME:CONFIG".

What TFDS has prepared as array_record is read by index. What it has not is prepared first, where its builder
can do so without TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from t2igan.data.dataset import (
    CAPTION_FIELDS,
    Record,
    Skipped,
    as_captions,
    label_captions,
    readable_label,
)
from t2igan.errors import UserError, nearest

# Text that says which picture it is, not what it shows.
NOT_CAPTIONS = ("id", "file_name", "filename", "image_filename", "path", "url", "key", "license")
EXAMPLES_AT_A_TIME = 1024
FILE_FORMAT = "array_record"  # the format that can be read by index, and without TensorFlow


class Tfds:
    """One data set of TFDS."""

    def __init__(self, data_config: Any):
        """`data_config.source` is "tfds:NAME[:CONFIG]"; nothing is read or prepared yet."""
        self.name = str(data_config.source)
        self._config = data_config
        # "a:b" to the user, "a/b" to TFDS, which keeps the colon for versions ("a:1.0.0").
        name, _, rest = self.name.removeprefix("tfds:").partition(":")
        self._tfds_name = name if not rest else f"{name}:{rest}" if rest[0].isdigit() else f"{name}/{rest}"
        if not name:
            raise UserError(
                f'config.data.source={self.name!r} names no data set.\nWrite "tfds:NAME" or "tfds:NAME:CONFIG".'
            )

    def splits(self) -> tuple[str, ...]:
        """Returns the splits that the data set has, prepared first if need be."""
        return tuple(self._builder.info.splits)

    def records(self, split: str | None) -> tuple[list[Record], list[Skipped]]:
        """Returns the pictures of a split, encoded, in the order in which TFDS holds them."""
        import tensorflow_datasets as tfds

        builder = self._builder
        features = dict(_leaves(tfds, builder.info.features))
        image_field = self._image_field(tfds, features)
        caption_field = self._caption_field(tfds, features)
        label_names = None
        if caption_field is None:
            label_names = getattr(features[self._config.label_field], "names", None)
        data = self._data_source(tfds, split, image_field)
        records: list[Record] = []
        skipped: list[Skipped] = []
        for index, example in enumerate(_examples(data)):
            file = f"{split}/{index:07d}"
            attributes = {}
            if caption_field is not None:
                captions = as_captions(_value(example, caption_field))
            else:
                label = _value(example, self._config.label_field)
                label = label.decode("utf-8", "replace") if isinstance(label, bytes) else label
                label = str(label_names[int(label)] if label_names else label)
                captions = label_captions(label, self._config.caption_templates)
                attributes = {self._config.label_field: readable_label(label)}
            if captions:
                records.append(Record(file, bytes(_value(example, image_field)), captions, attributes))
            else:
                skipped.append(Skipped(file, f"no caption in {caption_field!r}"))
        return records, skipped

    @cached_property
    def _builder(self) -> Any:
        import tensorflow_datasets as tfds

        data_dir = self._config.tfds_dir or None
        with self._errors():
            try:
                builder = tfds.builder(self._tfds_name, data_dir=data_dir, file_format=FILE_FORMAT)
            except tfds.core.DatasetNotFoundError as error:
                near = nearest(self._tfds_name.split("/")[0], tfds.list_builders(with_community_datasets=False))
                raise UserError(
                    f"config.data.source={self.name!r}: TFDS has no such data set{near}\n"
                    f"Looked also for prepared data in {data_dir or tfds.core.constants.DATA_DIR} "
                    "(config.data.tfds_dir)."
                ) from error
            if not builder.is_prepared():
                self._prepare(tfds, builder)
                # Anew: the builder at hand was made before there were splits and would say that there are none.
                builder = tfds.builder_from_directory(builder.data_dir)
        return builder

    def _prepare(self, tfds: Any, builder: Any) -> None:
        files_dir = self._config.tfds_files_dir
        if files_dir and not Path(files_dir).is_dir():
            raise UserError(
                f"config.data.tfds_files_dir={files_dir!r} is not a folder.\n"
                f"It must hold the original files of {builder.name}; leave it empty to download them."
            )
        if builder.name == "fashion_mnist":
            from t2igan.data import fashion_mnist

            fashion_mnist.prepare(str(builder.data_dir_root), files_dir, FILE_FORMAT)
            return
        builder.download_and_prepare(
            file_format=FILE_FORMAT,
            download_config=tfds.download.DownloadConfig(manual_dir=files_dir or None, try_download_gcs=False),
        )

    def _data_source(self, tfds: Any, split: str | None, image_field: str) -> Any:
        decoders: Any = tfds.decode.SkipDecoding()
        for part in reversed(image_field.split("/")):
            decoders = {part: decoders}
        with self._errors():
            try:
                return self._builder.as_data_source(split, decoders=decoders)
            except NotImplementedError as error:
                raise UserError(
                    f"{self.name} in {self._builder.data_dir} has a format that cannot be read by index.\n"
                    f"Set config.data.tfds_dir to another folder: there it is prepared as {FILE_FORMAT}."
                ) from error

    def _image_field(self, tfds: Any, features: dict[str, Any]) -> str:
        for name, feature in features.items():
            if isinstance(feature, tfds.features.Image):
                return name
        raise UserError(f"{self.name} has no pictures; it has {_listed(features)}.")

    def _caption_field(self, tfds: Any, features: dict[str, Any]) -> str | None:
        """Returns the path of the text to use, or None where there is a label only."""
        texts = [name for name, feature in features.items() if isinstance(feature, tfds.features.Text)]
        if wanted := self._config.caption_field:
            for name in (wanted, *(f"{wanted}/{field}" for field in CAPTION_FIELDS)):
                if name in features:
                    return name
            raise UserError(
                f"config.data.caption_field={wanted!r}: {self.name} has no such field"
                f"{nearest(wanted, features)}\nIt has {_listed(features)}."
            )
        texts = [name for name in texts if name.split("/")[-1].lower() not in NOT_CAPTIONS]
        # The customary names first, in their order; then whatever text there is.
        texts.sort(key=lambda name: min(_rank(part) for part in name.split("/")))
        if texts and (_rank(texts[0].split("/")[-1]) < len(CAPTION_FIELDS)):
            return texts[0]
        if self._config.label_field in features:
            return None
        if texts:
            return texts[0]
        raise UserError(
            f"{self.name} has neither captions nor {self._config.label_field!r}.\n"
            f"It has {_listed(features)}. "
            "Set config.data.caption_field or config.data.label_field."
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Says what to do where TFDS lacks a package, a file or the network."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            chain = [error]
            while (cause := chain[-1].__cause__ or chain[-1].__context__) and cause not in chain:
                chain.append(cause)
            for cause in chain:
                if isinstance(cause, ImportError) and cause.name:
                    package = cause.name.split(".")[0]
                    install = "tensorflow-cpu" if package == "tensorflow" else package
                    raise UserError(
                        f"{self.name}: preparing it takes the package {package!r}, which is not installed.\n"
                        f"pip install {install} (once: what is prepared is read without it)."
                    ) from error
            if any(isinstance(cause, OSError) for cause in chain):
                raise UserError(
                    f"{self.name} could not be downloaded or prepared: {_first_line(chain[-1])}\n"
                    "Where you have its original files, set config.data.tfds_files_dir to their folder."
                ) from error
            raise UserError(f"{self.name}: TFDS says: {_first_line(error)}") from error


def _examples(data: Any) -> Iterator[Any]:
    # Twice as fast as one at a time.
    for start in range(0, len(data), EXAMPLES_AT_A_TIME):
        yield from data.__getitems__(list(range(start, min(start + EXAMPLES_AT_A_TIME, len(data)))))


def _leaves(tfds: Any, feature: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields "a/b" and the feature that is there; sequences count as what they are sequences of."""
    if isinstance(feature, tfds.features.FeaturesDict):
        for name, inner in feature.items():
            yield from _leaves(tfds, inner, f"{path}/{name}" if path else name)
    elif isinstance(feature, (tfds.features.Sequence, tfds.features.Dataset)):
        yield from _leaves(tfds, feature.feature, path)
    else:
        yield path, feature


def _value(example: Any, path: str) -> Any:
    """Returns what is at "a/b", through lists: of a list of dicts, the list of their values."""
    for part in path.split("/"):
        if isinstance(example, dict):
            example = example[part]
        else:
            example = [item[part] for item in example]
    if isinstance(example, np.ndarray) and example.ndim:
        return example.tolist()
    return example


def _rank(name: str) -> int:
    name = name.lower()
    return CAPTION_FIELDS.index(name) if name in CAPTION_FIELDS else len(CAPTION_FIELDS)


def _listed(features: dict[str, Any]) -> str:
    return ", ".join(f"{name} ({type(feature).__name__})" for name, feature in features.items())


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
