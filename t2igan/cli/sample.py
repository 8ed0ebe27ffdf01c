"""`t2igan sample`: pictures from prompts."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from absl.flags import FlagValues

from t2igan.cli import verb
from t2igan.cli.keys import PASSWORD
from t2igan.cli.verb import Given
from t2igan.errors import UserError, counted

SHOWN_NEAR = 10  # drawings that are named
SHOWN_WARNINGS = 5  # prompts with words that were never seen
CHECKED_PROMPTS = 4096  # of a shard, at a time


def define(given: FlagValues) -> None:
    """Adds the flags of `sample`."""
    verb.define_workdir(given, "folder of a run, a snapshot file, or models/NAME (see `models`)")
    verb.define_which(given)
    flags.DEFINE_multi_string(
        "prompt", [], "a caption; (phrase:1.3) weighs, AND joins; may be given several times", flag_values=given
    )
    verb.define_path(given, "prompts", "text file with a caption a line")
    flags.DEFINE_string("negative", "", "what is not wanted, phrases between commas", flag_values=given)
    flags.DEFINE_integer("num", 1, "pictures a prompt", flag_values=given)
    flags.DEFINE_integer("seed", 0, "seed of the first picture of a prompt", flag_values=given)
    flags.DEFINE_float("truncation", 1.0, "the noise of training; less = more typical pictures", flag_values=given)
    flags.DEFINE_float(
        "guidance", 1.0, "above 1 leans towards the caption, if the training allows it", flag_values=given
    )
    verb.define_path(given, "deny", "text file, a word or phrase a line: prompts that have one are refused")
    verb.define_path(given, "allow", "text file of words: prompts that have any other are refused")
    verb.define_path(
        given, "watermark", "secret (.mark, of `keys`): a watermark in each picture; wants 64 px and a folder"
    )
    verb.define_path(
        given, "c2pa", "key and certificates (.pem, of `keys` or your own): content credentials in each file"
    )
    flags.DEFINE_float(
        "flag_near",
        None,
        "names pictures nearer to a training picture than all but this share of the held-out ones, such as 0.01; wants "
        "the run's data",
        flag_values=given,
    )
    verb.define_path(given, "out", "a .png file for a sheet, or a folder for a file a picture; without it sample.png")
    flags.DEFINE_integer(
        "scale", 0, "enlarge pixels so many times, or 0: to 128 px at least, in shards not at all", flag_values=given
    )
    flags.DEFINE_string(
        "shard",
        None,
        "I/N: the I-th (from 0) of N parts of --prompts, as a .tar file in the folder --out; what is "
        "there already is not drawn again",
        flag_values=given,
    )
    verb.define_plugin(given)


def run(given: Given) -> None:
    """Draws pictures from prompts into a sheet or a folder."""
    if given.shard is not None:
        run_shard(given)
        return
    import t2igan
    from t2igan.inference.console import say
    from t2igan.inference.credentials import read_signer
    from t2igan.inference.prompts import parse
    from t2igan.inference.rules import PromptRules
    from t2igan.inference.sample import PromptWarning
    from t2igan.inference.watermark import check_size, mark, read_secret
    from t2igan.training.distributed import parallel

    prompts = read_prompts(given.prompt, given.prompts)
    num = verb.number_of_pictures(given, 1)
    if given.scale < 0:
        raise UserError(f"--scale={given.scale} must be 0 or more")
    out = given.out or Path("sample.png")
    if out.suffix and out.suffix.lower() != ".png" and not out.is_dir():
        raise UserError(f"--out={out} must end in .png, or be a folder")
    sheet = out.suffix.lower() == ".png"
    if given.watermark and sheet:
        raise UserError(f"--watermark marks pictures, not sheets; give a folder instead of --out={out}")
    secret = read_secret(given.watermark) if given.watermark else None
    signer = read_signer(given.c2pa, os.environ.get(PASSWORD, "")) if given.c2pa else None
    splits = _splits(given)
    parallel.start()
    model = t2igan.load(verb.workdir(given, "sample"), given.which)
    if secret is not None:
        check_size(model.config["data"]["image_size_px"], "the model")
    # Of what is drawn: weights stand between the words of a prompt.
    PromptRules.read(given.deny, given.allow).check(caption for prompt in prompts for caption in parse(prompt).captions)
    for unseen in model.unseen(prompts)[:SHOWN_WARNINGS]:
        say(f"note: {unseen.text}; it means little to this model")
    everyone = [(prompt, given.seed + i) for prompt in prompts for i in range(num)]
    how = {"truncation": given.truncation, "guidance": given.guidance} | _given_negative(given)
    for note in dict.fromkeys(note for of in model.understood(prompts, given.negative) for note in of.notes):
        say(note)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PromptWarning)  # said above
        images = model.sample([p for p, _ in everyone], [s for _, s in everyone], **how)
    if splits:
        _say_near(images, everyone, splits, given.flag_near)
    facts = {"model": model.digest, "t2igan": t2igan.__version__, "scale": given.scale} | how
    facts |= {"c2pa": True} if signer else {}
    if secret is not None:
        images, facts = mark(images, secret), facts | {"watermark": secret.fingerprint}
    if sheet:
        save_sheet(out, images, prompts, range(given.seed, given.seed + num), given.scale, facts, signer)
        say(f"{counted(len(images), 'picture')} in {out}")
    else:
        save_files(out, images, everyone, given.scale, facts, signer)
        say(f"{counted(len(images), 'picture')} in {out}/")


def run_shard(given: Given) -> None:
    """Draws one of many parts of a file of prompts into a tar file."""
    import time

    import t2igan
    from t2igan.inference import shards
    from t2igan.inference.console import say
    from t2igan.inference.prompts import parse
    from t2igan.inference.rules import PromptRules
    from t2igan.inference.sample import PromptWarning
    from t2igan.training.distributed import parallel

    shard, num = shards.Shard.parse(given.shard), verb.number_of_pictures(given, 1)
    if given.prompt or given.prompts is None:
        raise UserError("--shard wants all prompts in one file, --prompts=FILE, and no --prompt")
    if given.scale < 0:
        raise UserError(f"--scale={given.scale} must be 0 or more")
    if other := next((name for name in ("watermark", "c2pa", "flag_near") if getattr(given, name) is not None), None):
        raise UserError(f"--shard draws without --{other}; leave one of the two out")
    if given.out is None or given.out.suffix:
        raise UserError("--shard wants a folder, --out=FOLDER, which all shards are written into")
    out = given.out / shard.name
    prompts = shards.Prompts.of(given.prompts)
    parallel.start()
    generator = t2igan.load(verb.workdir(given, "sample"), given.which)
    generator.check_guidance(given.guidance)
    how = {"truncation": given.truncation, "guidance": given.guidance} | _given_negative(given)
    common = {"model": generator.digest, "t2igan": t2igan.__version__} | how
    settings = {"prompts": prompts.sha256, "num": num, "seed": given.seed, "scale": given.scale, "shards": shard.of}
    shards.agree(given.out, common | settings)
    if out.exists():
        say(f"{out} is there already")
        return
    rows, rules, unseen = prompts.rows(shard.rows(prompts.total)), PromptRules.read(given.deny, given.allow), 0
    pieces = [rows[start : start + CHECKED_PROMPTS] for start in range(0, len(rows), CHECKED_PROMPTS)]
    for piece in pieces:  # all of them, before hours of drawing
        rules.check(caption for prompt in piece for caption in parse(prompt).captions)
        generator.understood(piece, given.negative)
        unseen += len(generator.unseen(piece))
    if unseen:
        say(f"note: {counted(unseen, 'prompt')} of {len(rows):,} with words that training captions hardly had")

    def batches() -> Iterator[Any]:
        for piece in pieces:
            everyone = [(prompt, given.seed + i) for prompt in piece for i in range(num)]
            yield from generator.sample_batches([p for p, _ in everyone], [s for _, s in everyone], **how)

    first = shard.rows(prompts.total).start
    facts = (
        (f"{(first + row) * num + i:09d}", common | {"prompt": prompt, "seed": given.seed + i})
        for row, prompt in enumerate(rows)
        for i in range(num)
    )
    begun_s = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PromptWarning)  # said above
        drawn = shards.write_shard(out, batches(), facts, given.scale or 1)
    say(f"{counted(drawn, 'picture')} in {out}, {time.monotonic() - begun_s:.1f} s")


def _splits(given: Given) -> list[Any]:
    """The training split and the held-out ones, where drawings are compared with them; UserError where they are not."""
    if given.flag_near is None:
        return []
    from t2igan import config as config_lib
    from t2igan.data import different, open_datasets, split_names
    from t2igan.evaluation.report.facts import read_record
    from t2igan.inference.console import say

    if not 0 < given.flag_near < 1:
        raise UserError(f"--flag_near={given.flag_near:g} must lie between 0 and 1: a share of the held-out pictures")
    workdir = verb.workdir(given, "sample")
    if not workdir.is_dir():
        raise UserError(
            f"--flag_near compares with the training pictures, which {workdir} does not tell of; give the run's folder"
        )
    config = config_lib.from_dict(read_record(workdir)["config"])
    if line := config_lib.looks_at_private(config, "names of near pictures"):
        say(line)
    train, *held_out = different(open_datasets(config.data, split_names(config.data)))
    if not held_out:
        raise UserError("--flag_near wants held-out pictures, and this run's splits are all the training split")
    return [train, *held_out]


def _say_near(images: Any, everyone: list[tuple[str, int]], splits: list[Any], share: float) -> None:
    """Names the drawings that are nearer to the training pictures than a share of the held-out pictures."""
    from t2igan.evaluation.near import nearness
    from t2igan.inference.console import say

    train, *held_out = splits
    found = nearness(images, train, held_out, share)
    for i in found.flagged[:SHOWN_NEAR]:
        (prompt, seed), row = everyone[i], int(found.rows[i])
        say(
            f"near: {prompt!r}, seed {seed}: {found.distances[i]:.4f} from training picture {row}, "
            f"{train.captions[row][0]!r}"
        )
    if more := found.flagged[SHOWN_NEAR:]:
        say(f"near: and {counted(len(more), 'more picture')}")
    say(
        f"{counted(len(found.flagged), 'picture')} of {len(images)} nearer than {found.threshold:.4f}, as {share:.2%} "
        f"of {counted(found.held_out, 'held-out picture')} are (root mean square of pixels, from 0 to 1)"
    )


def _given_negative(given: Given) -> dict[str, str]:
    """A picture without one is made as before there was one, and its PNG says the same."""
    return {"negative": given.negative} if given.negative else {}


def read_prompts(given: Sequence[str], file: Path | None) -> list[str]:
    """Returns the prompts of the command line and of a file; UserError where there is none."""
    prompts = list(given)
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--prompts={file} cannot be read ({error}); give a UTF-8 text file") from error
        prompts += [line for line in lines if line.strip()]
    if not prompts:
        raise UserError('there is no prompt; give --prompt="..." (once or more) or --prompts=FILE, a caption a line')
    return prompts


def save_sheet(
    out: Path, images: Any, prompts: list[str], seeds: range, scale: int, facts: dict[str, Any], signer: Any = None
) -> None:
    """Writes one picture with a row a prompt."""
    from t2igan.inference.pictures import save_png, sheet

    picture = sheet(images, prompts, columns=len(seeds), scale=scale)
    save_png(out, picture, facts | {"prompts": prompts, "seeds": list(seeds)}, signer=signer)


def save_files(
    out: Path, images: Any, everyone: list[tuple[str, int]], scale: int, facts: dict[str, Any], signer: Any = None
) -> None:
    """Writes a file a picture into a folder."""
    from t2igan.inference.pictures import enlarge, save_png

    for i, ((prompt, seed), image) in enumerate(zip(everyone, enlarge(images, scale), strict=True)):
        save_png(out / f"{i:05d}_seed{seed}.png", image, facts | {"prompt": prompt, "seed": seed}, signer=signer)


VERB = verb.Verb(
    name="sample",
    summary="draw pictures from captions with a trained model",
    examples=(
        'sample --workdir=runs/base --prompt="a pixel person with a red cap, light skin" --num=8 --out=me.png',
        "sample --workdir=runs/base --prompts=captions.txt --out=pictures",
        "sample --workdir=runs/base --prompts=captions.txt --shard=0/1 --out=shards",
    ),
    define=define,
    run=run,
)
