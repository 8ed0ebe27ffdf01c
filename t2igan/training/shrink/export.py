"""`t2igan.export`: a trained model in a form that draws without t2igan, as it is or smaller."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from t2igan import config as config_lib
from t2igan.data import Dataset, open_datasets
from t2igan.errors import UserError, counted
from t2igan.evaluation.report.facts import read_record
from t2igan.inference.arguments import as_prompts
from t2igan.inference.console import progress_bar, say
from t2igan.inference.export import Exported, check_form, write
from t2igan.inference.export.source import (
    check_include,
    check_without,
    data_card_beside,
    licensed,
    lightened,
    open_source,
    source_of,
)
from t2igan.inference.files import explain_write_errors, write_text
from t2igan.inference.sample import MODEL_NAME, WHICH, snapshot_path
from t2igan.inference.snapshot import DATA_CARD_NAME, Snapshot, digest_of, load_snapshot, save_snapshot

KEEPS = ("hub", "snapshot")  # forms that hold a snapshot
PAGES = ("web", "hub")  # forms that have a page
SUFFIX = ".safetensors"


def export(
    path: str | Path,
    format: str,
    out: str | Path,
    dtype: str | None = None,
    which: str = "latest",
    weights: str = "inside",
    captions: Sequence[str] | None = None,
    license: str | None = None,
    shrink: float = 1.0,
    shrink_images: int | None = None,
    without: Sequence[str] = (),
    include: Sequence[str] = (),
) -> Exported:
    """Writes a trained model in a form that draws without t2igan, and compares it with JAX before it is there.

    Args:
      path: a run's folder, a snapshot, or one of `t2igan models`.
      format: a name in `t2igan.inference.export.FORMATS`: "onnx", "stablehlo", "web", "hub" or "snapshot".
      out: the folder to write, or the file, where the form is one file. What it has of the same names is replaced.
      dtype: of the weights: "float32", "float16" or "int8", where the form has it; None = the form's first, which is
        "int8" for "web" and "float32" for all others. Arithmetic is float32.
      which: of a run's folder, "latest" or "best".
      weights: "inside" the programs or "beside" them, where the form allows it.
      captions: to compare on, the first of them to show on a page or card; None = made of words that the model knows.
      license: of the model, as "CC-BY-4.0", stated in what is written and in its card; None = as the run says.
      shrink: the share of the generator's channels to keep, from 0.1; 1 = all. A smaller one learns from the whole one,
        with the captions of the training data, or with `captions` where that is not at hand. It is also written as a
        snapshot, into the folder or next to the file.
      shrink_images: from how many pictures it learns; None = 32,000.
      without: some of "inverter", "captioner" and "completer", to be left out of a form that holds a snapshot: a
        smaller file, which edits by search alone and does not describe. Of the other forms only "web" has one of them,
        the captioner, where the page stays below 1.6 MB with it, or, with pictures of 64 px and more, below 4 MB.
      include: ("captioner",) for a page that describes pictures however large that makes it.

    Raises:
      UserError: an unknown form or type, a model without a generator or one that cannot be shrunk, captions that are
        not at hand, a disk that is full or read-only, a library that is missing, or an export that is not the model.
    """
    from t2igan.training.shrink.student import check_share

    out = config_lib.expanded(out, "out")
    check_form(format, out, dtype, weights)
    check_share(shrink)
    check_without(without)
    check_include(include, without)
    if include and format not in PAGES:
        raise UserError(f"include={include[0]!r} is for the page: give format 'web' or 'hub', or leave it out")
    if shrink == 1:
        return write(open_source(path, which, captions, license, without, include), format, out, dtype, weights)
    with explain_write_errors(out.parent):  # now, not when it has learned
        out.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out.parent).close()
    snapshot, rows = shrunk(path, shrink, which, captions, shrink_images)
    snapshot = lightened(snapshot if license is None else licensed(snapshot, license), without)
    # Kept whatever becomes of the form, which may want a library that is not there.
    beside = None if format in KEEPS else out.with_suffix(SUFFIX) if out.suffix else out / MODEL_NAME
    data_card = data_card_beside(snapshot_path(path, which))
    if beside is not None:
        save_snapshot(beside, snapshot)
        if data_card and not out.suffix:  # a folder of its own: elsewhere it might be taken for another model's
            write_text(out / DATA_CARD_NAME, data_card)
    try:
        source = dataclasses.replace(
            source_of(snapshot, str(path), captions), data_card=data_card, include=tuple(include)
        )
        done = write(source, format, out, dtype, weights)
    except UserError as error:
        raise (
            error
            if beside is None
            else UserError(f"{error}\nThe shrunk model is in {beside}: give --workdir={beside} to export that")
        ) from error
    sizes = done.size_bytes if beside is None else {**done.size_bytes, beside.name: beside.stat().st_size}
    return dataclasses.replace(done, shrunk=rows, size_bytes=sizes)


def shrunk(
    path: str | Path,
    share: float,
    which: str = "latest",
    captions: Sequence[str] | None = None,
    images: int | None = None,
    seed: int = 0,
) -> tuple[Snapshot, tuple[tuple[str, str, str], ...]]:
    """Returns a snapshot with a share of a model's channels, and (what, before, after) as its card has it.

    Args:
      path: as for `export`, as are `which` and `captions`.
      share: of the generator's channels to keep.
      images: from how many pictures it learns; None = as many as suit the default configuration.
      seed: of all that is drawn at random.

    Raises:
      UserError: as `export`.
    """
    from t2igan.training.shrink import figures
    from t2igan.training.shrink.distil import IMAGES, distilled
    from t2igan.training.shrink.student import pruned_student

    images = IMAGES if images is None else images
    if images < 1:
        raise UserError(f"shrink_images={images} must be 1 or more")
    found = snapshot_path(path, which)
    source = source_of(load_snapshot(found), str(path), captions)
    model, snapshot = source.model, source.snapshot
    data = _data_of(found, snapshot, captions)
    student = pruned_student(model, share, data.captions, seed)
    with progress_bar(total=images, desc="learning to draw with less", unit=" pictures", leave=False) as bar:

        def progress(done: int, steps: int, error: float) -> None:
            bar.set_postfix_str(f"error {error:.4f}", refresh=False)
            bar.update(images * done // steps - bar.n)

        student = distilled(model, student, data.captions, images, seed, progress)
    larger = ("inverter", "completer")  # they know the larger generator's styles and maps
    kept = {name: params for name, params in snapshot.params.items() if name not in larger}
    params = kept | {"generator": student.params}
    config = dict(snapshot.config) | {"generator": dict(snapshot.config["generator"]) | student.changed}
    small = dataclasses.replace(snapshot, params=params, config=config, metrics={}, digest=digest_of(params))
    after = source_of(small, str(path)).model
    extractors = None
    if data.train is not None:
        extractors = figures.extractors_of(data.config, data.train, model, data.workdir)
    compared = figures.compare(model, after, data.captions, data.test, extractors, seed)
    said = figures.section(compared, student.changed, snapshot.config["generator"], snapshot.digest, images)
    card = figures.card_of(snapshot.model_card, said, small.digest)
    metrics = {} if compared.result is None else {k: v for k, v in compared.result.items() if k != "details"}
    return dataclasses.replace(small, model_card=card, metrics=metrics), compared.rows


@dataclasses.dataclass(frozen=True)
class _Data:
    """What a model learned from, as far as it is at hand and may be looked at."""

    config: Any
    captions: list[str]
    train: Dataset | None = None
    test: Dataset | None = None
    workdir: Path | None = None  # of the run, where the model is a run's


def _data_of(found: Path, snapshot: Snapshot, given: Sequence[str] | None) -> _Data:
    """The data of a model's run, or of its configuration; captions alone where neither is at hand."""
    record = found.parent / "config.json"
    workdir = found.parent if found.name in WHICH.values() and record.is_file() else None
    # A run's own record has the paths that snapshots do not tell.
    config = config_lib.from_dict(snapshot.config if workdir is None else read_record(workdir)["config"])
    try:
        train, test = open_datasets(config.data, [config.data.train_split, config.data.test_split])
    except UserError as error:
        if given is None:
            raise UserError(
                f"to be shrunk, a model draws the captions it was trained with, and these are not at hand: {error}\n"
                f"Give captions like them, as many as there are: --prompts=FILE, one a line (captions=[...] in Python)"
            ) from error
        captions = as_prompts(given)
        say(f"note: its data is not at hand, so it learns from the {counted(len(captions), 'caption')} given")
        return _Data(config, captions)
    captions = [caption for of_one in train.captions for caption in of_one]
    if config.privacy.epsilon:  # of which the captions are public
        say("privacy: its training pictures are private, so nothing is measured on them")
        return _Data(config, captions)
    return _Data(config, captions, train, test, workdir)
