"""`t2igan data`: what is in the data, before anything is trained."""

from __future__ import annotations

from absl import flags
from absl.flags import FlagValues

from t2igan.cli import verb
from t2igan.cli.verb import Given
from t2igan.errors import UserError


def define(given: FlagValues) -> None:
    """Adds the flags of `data`."""
    verb.define_path(given, "out", "a .png file: a sheet of pictures with their captions; a .json beside it")
    flags.DEFINE_integer("num", 24, "pictures on the sheet", flag_values=given)
    verb.define_plugin(given)


def run(given: Given) -> None:
    """Shows what is in the data and what would be left out, before anything is trained."""
    from t2igan.config import looks_at_private
    from t2igan.config.checks import check
    from t2igan.data import check_all_usable, list_splits, open_datasets, split_names
    from t2igan.data.summary import as_json, examples, lines
    from t2igan.inference.console import say
    from t2igan.inference.files import write_json
    from t2igan.inference.pictures import save_png, sheet

    config, out = given.config, given.out
    if out and out.suffix.lower() != ".png":
        raise UserError(f"--out={out} must end in .png: a sheet of pictures with their captions")
    num = verb.number_of_pictures(given, 24)
    if line := looks_at_private(config, "these counts, and the pictures of a sheet"):
        say(line)
    splits = list_splits(config.data)
    datasets = open_datasets(config.data, split_names(config.data))
    say("\n".join(lines(datasets, config.data, config.tokenizer)))
    if others := [split for split in splits if split not in {dataset.split for dataset in datasets}]:
        say(f"more splits: {', '.join(others)}")
    if out:
        images, captions = examples(datasets[0], num)
        save_png(out, sheet(images, captions, columns=6))
        report = out.with_suffix(".json")
        write_json(report, as_json(datasets))
        say(f"pictures in {out}, all that was left out in {report}")
    # What a training would refuse is refused here too, once it is seen what there is.
    check_all_usable(datasets, config.data)
    check(config)


VERB = verb.Verb(
    name="data",
    summary="look at captioned pictures before anything is trained",
    examples=("data --config=base --out=sheet.png", "data --config=folder --config.data.source=PATH --out=sheet.png"),
    define=define,
    run=run,
    configured=True,
)
