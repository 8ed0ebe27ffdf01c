"""`t2igan vary`: variations of a picture."""

from __future__ import annotations

from absl import flags
from absl.flags import FlagValues

from t2igan.cli import editing, verb
from t2igan.cli.verb import Given, Verb


def define(given: FlagValues) -> None:
    """Adds the flags of `vary`."""
    editing.define(given, "a .png file, or a folder for a file a variation; without it varied.png")
    flags.DEFINE_float("strength", 0.5, "0 = the picture itself, 1 = any other of its caption", flag_values=given)
    flags.DEFINE_integer("num", 8, "variations", flag_values=given)
    editing.define_scale(given)


def run(given: Given) -> None:
    """Draws a picture again with other noise."""
    from t2igan.inference.arguments import check_number
    from t2igan.inference.editing import vary

    files = editing.images_of(given, "vary")
    num = verb.number_of_pictures(given, 8)
    check_number("--strength", given.strength, 1, "0 is the picture itself, 1 any other picture of its caption")
    out = editing.check_out(given, (".png",), "varied.png")
    model = editing.load(given, "vary")
    codes, (picture,) = editing.codes_of(given, "vary", model, files)
    images = vary(model, codes, given.strength, num=num, seed=given.seed)
    facts = editing.facts_of(
        model,
        "vary",
        **editing.source_of(picture),
        caption=codes.captions[0],
        strength=given.strength,
        quality=given.quality,
        **editing.diversity_of(images),
    )
    editing.save(out, images, given.scale, facts, range(given.seed, given.seed + num))


VERB = Verb(
    name="vary",
    summary="draw variations of a picture",
    examples=(
        'vary --workdir=runs/base --image=me.png --caption="a pixel person with a red cap, light skin" --strength=0.5',
    ),
    define=define,
    run=run,
)
