"""`t2igan invert`: pictures to the codes that draw them."""

from __future__ import annotations

from absl.flags import FlagValues

from t2igan.cli import editing
from t2igan.cli.verb import Given, Verb


def define(given: FlagValues) -> None:
    """Adds the flags of `invert`."""
    editing.define(given, "an .npz file for the codes; without it codes.npz", "a picture; may be given several times")


def run(given: Given) -> None:
    """Writes noise, styles, offsets and captions of pictures."""
    from t2igan.inference.console import say

    files = editing.images_of(given, "invert", most=None)
    out = editing.check_out(given, (".npz",), "codes.npz")
    codes, _ = editing.codes_of(given, "invert", editing.load(given, "invert"), files)
    out = out if out.suffix else out / "codes.npz"
    codes.save(out)
    say(f"codes of {len(codes)} in {out}")


VERB = Verb(
    name="invert",
    summary="find the codes that draw pictures",
    examples=(
        'invert --workdir=runs/base --image=me.png --caption="a pixel person with a red cap, light skin" '
        "--out=codes.npz",
    ),
    define=define,
    run=run,
)
