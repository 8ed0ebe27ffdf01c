"""`t2igan edit`: a picture changed so that another caption holds."""

from __future__ import annotations

from absl import flags
from absl.flags import FlagValues

from t2igan.cli import editing, verb
from t2igan.cli.verb import Given, Verb
from t2igan.errors import UserError


def define(given: FlagValues) -> None:
    """Adds the flags of `edit`."""
    editing.define(given, "a .png file; without it edited.png")
    flags.DEFINE_string("prompt", "", "what the picture is to show; (phrase:1.3) weighs, AND joins", flag_values=given)
    flags.DEFINE_string("negative", "", "what is not wanted, phrases between commas", flag_values=given)
    verb.define_path(given, "mask", "picture of the same size: only what is white, or transparent, is changed")
    editing.define_scale(given)


def run(given: Given) -> None:
    """Changes what the new caption changes; the rest stays, to the byte."""
    from t2igan.inference.console import say
    from t2igan.inference.editing import decoding_of, edit, read_mask, read_picture

    (file,) = editing.images_of(given, "edit")
    if not given.prompt:
        raise UserError('--prompt is missing; say what the picture is to show: --prompt="..."')
    out = editing.check_out(given, (".png",), "edited.png")
    model = editing.load(given, "edit")
    how = decoding_of(model.config)
    picture = read_picture(file, how)
    hidden = None if given.mask is None else read_mask(given.mask, picture, how)
    (caption,) = editing.captions_of(given, model, [picture])
    for note in model.understood([given.prompt], given.negative)[0].notes:
        say(note)
    edited = edit(
        model,
        picture.pixels,
        given.prompt,
        caption=caption,
        hidden=hidden,
        negative=given.negative,
        quality=given.quality,
        seed=given.seed,
        progress=editing.show_progress("edit"),
    )
    editing.say_how_near(edited.codes.psnr_db, [picture], given.quality)
    share = float((edited.hidden > 0).mean())
    say(f"{share:.0%} of the pixels are drawn anew" if share else "nothing changes: both captions are drawn alike")
    facts = editing.facts_of(
        model,
        "edit",
        **editing.source_of(picture),
        caption=caption,
        prompt=given.prompt,
        negative=given.negative,
        quality=given.quality,
        mask=given.mask.name if given.mask else "",
    )
    editing.save(out, edited.image[None], given.scale, facts, [given.seed])


VERB = Verb(
    name="edit",
    summary="change a picture so that another caption holds",
    examples=('edit --workdir=runs/base --image=me.png --caption="a red cap" --prompt="a green cap" --out=edited.png',),
    define=define,
    run=run,
)
