"""`t2igan explore`: the directions of the noise that move pictures most, as a sheet."""

from __future__ import annotations

from typing import Any

from absl import flags
from absl.flags import FlagValues

from t2igan.cli import editing, verb
from t2igan.cli.verb import Given, Verb
from t2igan.errors import UserError

COLUMNS = 5


def define(given: FlagValues) -> None:
    """Adds the flags of `explore`."""
    verb.define_workdir(given, "folder of a run, a snapshot file, or models/NAME (see `models`)")
    verb.define_which(given)
    flags.DEFINE_multi_string(
        "prompt",
        [],
        "captions whose pictures are asked; the first is shown; may be given several times",
        flag_values=given,
    )
    flags.DEFINE_integer("num", 6, "directions", flag_values=given)
    flags.DEFINE_integer("seed", 0, "of the first picture", flag_values=given)
    flags.DEFINE_float("strength", 2.0, "how far, in standard deviations of the noise; 3 at most", flag_values=given)
    verb.define_path(given, "out", "a .png file; without it explored.png")
    editing.define_scale(given)
    verb.define_plugin(given)


def run(given: Given) -> None:
    """Draws a row a direction, and says how much of what the noise does lies along it."""
    from t2igan.inference.arguments import check_number
    from t2igan.inference.console import say
    from t2igan.inference.editing import has_captioner
    from t2igan.inference.editing.exploring import MAX_STRENGTH, along, directions, names
    from t2igan.inference.pictures import save_png, sheet

    if not given.prompt:
        raise UserError('--prompt is missing; give a caption or more whose pictures are asked: --prompt="..."')
    check_number("--strength", given.strength, MAX_STRENGTH, "beyond that pictures break")
    out = editing.check_out(given, (".png",), "explored.png")
    out = out if out.suffix else out / "explored.png"
    model = editing.load(given, "explore")
    found = directions(model, given.prompt, verb.number_of_pictures(given, 6), given.seed)
    rows = along(model, found, given.prompt[0], given.seed, given.strength, COLUMNS)
    called = names(model, rows) if has_captioner(model) else [""] * len(rows)
    lines = [_line(i, share, name) for i, (share, name) in enumerate(zip(found.shares, called, strict=True), start=1)]
    for line in lines:
        say(line)
    say(
        f"{found.dims_95} of {model.networks.z_dim} directions have 95 % of what the noise does to pictures; effective "
        f"rank {found.effective_rank:.1f}"
    )
    facts: dict[str, Any] = editing.facts_of(
        model, "explore", prompts=given.prompt, seed=given.seed, strength=given.strength, directions=lines
    )
    save_png(out, sheet(rows.reshape(-1, *rows.shape[2:]), lines, COLUMNS, given.scale), facts)
    say(f"{len(rows)} directions in {out}")


def _line(number: int, share: float, name: str) -> str:
    return f"{number}: {share:.0%} of what the noise does" + (f"; {name}" if name else "")


VERB = Verb(
    name="explore",
    summary="show the directions of the noise that move pictures most",
    examples=('explore --workdir=runs/base --prompt="a pixel person with a red cap, light skin" --out=directions.png',),
    define=define,
    run=run,
)
