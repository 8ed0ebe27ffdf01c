"""`t2igan complete`: the hidden part of a picture drawn anew (inpainting), or what is around it (outpainting)."""

from __future__ import annotations

import re

from absl import flags
from absl.flags import FlagValues

from t2igan.cli import editing, verb
from t2igan.cli.verb import Given, Verb
from t2igan.errors import UserError


def define(given: FlagValues) -> None:
    """Adds the flags of `complete`."""
    editing.define(given, "a .png file, or a folder for a file a version; without it completed.png")
    flags.DEFINE_string("prompt", "", "what the whole picture shows; may stand for --caption", flag_values=given)
    verb.define_path(given, "mask", "picture of the same size: white, or transparent, is drawn anew; grey is mixed")
    flags.DEFINE_list(
        "pad", [], "left,top,right,bottom: room around the picture, in pixels of the result", flag_values=given
    )
    flags.DEFINE_integer("num", 1, "versions", flag_values=given)
    editing.define_scale(given)


def run(given: Given) -> None:
    """Draws the hidden part of a picture; the rest stays, to the byte."""
    from t2igan.inference.editing import completed, decoding_of, padded, read_mask, read_picture

    (file,) = editing.images_of(given, "complete")
    caption = given.prompt or (given.caption[0] if given.caption else "")
    if not caption:
        raise UserError('--prompt is missing; say what the whole picture shows: --prompt="..."')
    num = verb.number_of_pictures(given, 1)
    out = editing.check_out(given, (".png",), "completed.png")
    pad = read_pad(given.pad)
    if (given.mask is None) == (pad is None):
        raise UserError("give either --mask=FILE or --pad=left,top,right,bottom: what is to be drawn")
    model = editing.load(given, "complete")
    how = decoding_of(model.config)
    if pad is not None:
        picture, hidden = padded(file, pad, how)
    else:
        picture = read_picture(file, how)
        hidden = read_mask(given.mask, picture, how)
    images, visible_db = completed(
        model,
        picture.pixels,
        hidden,
        caption,
        num=num,
        seed=given.seed,
        quality=given.quality,
        progress=editing.show_progress("complete"),
    )
    editing.say_how_near(visible_db.max(keepdims=True), [picture], given.quality, "what is visible is drawn")
    facts = editing.facts_of(
        model,
        "complete",
        **editing.source_of(picture),
        prompt=caption,
        quality=given.quality,
        mask=given.mask.name if given.mask else "",
        pad=pad,
        **editing.diversity_of(images, hidden),
    )
    editing.save(out, images, given.scale, facts, range(given.seed, given.seed + num))


def read_pad(words: list[str]) -> tuple[int, ...] | None:
    """Returns the four numbers of `--pad`, None where it is not given."""
    if not words:
        return None
    if len(words) != 4 or not all(re.fullmatch(r"\s*-?[0-9]+\s*", word) for word in words):
        raise UserError(f"--pad={','.join(words)} must be four whole numbers of pixels: left,top,right,bottom")
    return tuple(int(word) for word in words)


VERB = Verb(
    name="complete",
    summary="draw the hidden part of a picture, or what is around it",
    examples=(
        'complete --workdir=runs/base --image=me.png --mask=mask.png --prompt="a pixel person with a red cap" --num=4',
        'complete --workdir=runs/base --image=me.png --pad=4,4,4,4 --prompt="a pixel person with a red cap"',
    ),
    define=define,
    run=run,
)
