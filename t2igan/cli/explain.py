"""`t2igan explain`: what each word of a prompt does to its picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl import flags
from absl.flags import FlagValues

from t2igan.cli import verb
from t2igan.cli.verb import Given
from t2igan.errors import UserError

MAX_SEEDS = 64
MAX_CAPTIONS = 100_000  # pictures whose captions are searched for other words


def define(given: FlagValues) -> None:
    """Adds the flags of `explain`."""
    verb.define_workdir(given, "folder of a run, or a snapshot file; with the folder, training pictures are looked at")
    verb.define_which(given)
    flags.DEFINE_string("prompt", None, "the caption to explain", flag_values=given)
    flags.DEFINE_multi_string("exchange", [], 'a word and another for it, such as "red=blue"', flag_values=given)
    flags.DEFINE_integer("num", 4, "seeds that the change is the mean of", flag_values=given)
    flags.DEFINE_integer("seed", 0, "the first of them, which is shown", flag_values=given)
    verb.define_path(given, "out", "a .png file for the sheet; without it explain.png")
    flags.DEFINE_integer("scale", 0, "enlarge pixels so many times, or 0: to 128 px at least", flag_values=given)
    verb.define_plugin(given)


def run(given: Given) -> None:
    """Draws a prompt without each of its words and with others, and writes what changes as a sheet."""
    import t2igan
    from t2igan.evaluation.explain import explain, learned_extractors
    from t2igan.evaluation.report.explanation import LIMITS, agreement, attention_maps, describe, explanation_sheet
    from t2igan.inference.console import say
    from t2igan.inference.pictures import save_png
    from t2igan.inference.provenance import EDITED, GENERATED
    from t2igan.training.distributed import parallel

    out = given.out or Path("explain.png")
    if not given.prompt:
        raise UserError('--prompt is missing; `explain` wants one caption, such as --prompt="a red cap"')
    if out.suffix.lower() != ".png":
        raise UserError(f"--out={out} must end in .png")
    if not 1 <= given.num <= MAX_SEEDS:
        raise UserError(f"--num={given.num} must lie between 1 and {MAX_SEEDS}")
    exchanges = read_exchanges(given.exchange)
    workdir = verb.workdir(given, "explain")
    parallel.start()
    model = t2igan.load(workdir, given.which)
    seeds = range(given.seed, given.seed + given.num)
    config, train = training_data(workdir)
    captions = [caption for of_one in train.captions[:MAX_CAPTIONS] for caption in of_one] if train else []
    extractors = learned_extractors(config, train, model.tokenizer, workdir) if train else None
    found = explain(model, given.prompt, seeds, exchanges, captions, extractors)
    attention = attention_maps(model, given.prompt, seeds)
    for change, correlation in zip(found.changes, agreement(found, attention), strict=True):
        say(describe(change, correlation))
    facts = {"model": model.digest, "t2igan": t2igan.__version__, "explains": given.prompt, "seeds": list(seeds)}
    save_png(out, explanation_sheet(found, attention, train, given.scale), facts, EDITED if train else GENERATED)
    say(f"{out}: picture, changed prompt, pixels that change, attention to the word; means of {given.num}\n{LIMITS}")


def read_exchanges(given: list[str]) -> dict[str, str]:
    """Returns the words of `--exchange`; UserError for what is no pair of words."""
    exchanges = {}
    for text in given:
        word, equals, other = (part.strip() for part in text.partition("="))
        if not (word and equals and other):
            raise UserError(f'--exchange={text!r} must be a word and another for it, such as --exchange="red=blue"')
        exchanges[word] = other
    return exchanges


def training_data(workdir: Path) -> tuple[Any, Any]:
    """Returns the configuration and training split of a run's folder; (None, None) where they are not at hand."""
    from t2igan import config as config_lib
    from t2igan.data import open_dataset
    from t2igan.evaluation.report.facts import read_record
    from t2igan.inference.console import say

    if not workdir.is_dir():
        return None, None
    try:
        config = config_lib.from_dict(read_record(workdir)["config"])
        train = open_dataset(config.data, config.data.train_split)
    except UserError as error:
        say(f"note: no training pictures are looked at: {error}")
        return None, None
    if line := config_lib.looks_at_private(config, "the training pictures on the sheet, and what is said of them"):
        say(line)
    return config, train


VERB = verb.Verb(
    name="explain",
    summary="show which pixels change when one word of a caption is left out or exchanged",
    examples=(
        'explain --workdir=runs/base --prompt="a pixel person with a red cap, light skin" --exchange="red=blue"',
    ),
    define=define,
    run=run,
)
