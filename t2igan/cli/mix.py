"""`t2igan mix`: from one picture to another, as frames, GIF or MP4; or the styles of two pictures in one."""

from __future__ import annotations

from absl import flags
from absl.flags import FlagValues

from t2igan.cli import editing
from t2igan.cli.verb import Given, Verb
from t2igan.errors import UserError


def define(given: FlagValues) -> None:
    """Adds the flags of `mix`."""
    out = "a .gif, .mp4 or .png file, or a folder for a file a frame; without it mixed.png"
    editing.define(given, out, "a picture; two of them, or two prompts")
    flags.DEFINE_multi_string(
        "prompt", [], "a caption that is drawn with --seed; two of them, or two pictures", flag_values=given
    )
    flags.DEFINE_integer("frames", 8, "pictures from the first to the last, both included", flag_values=given)
    flags.DEFINE_integer(
        "levels",
        None,
        "instead of frames: so many styles of the first picture and the rest of the second's",
        flag_values=given,
    )
    flags.DEFINE_integer(
        "frame_ms", 120, "time that a frame of a GIF or MP4 is shown, in milliseconds", flag_values=given
    )
    editing.define_scale(given)


def run(given: Given) -> None:
    """Draws what lies between two pictures."""
    from t2igan.inference import animation
    from t2igan.inference.console import say
    from t2igan.inference.editing import drawn_codes, mix, mix_styles

    if bool(given.image) == bool(given.prompt):
        raise UserError("give either two pictures, --image=A --image=B, or two prompts, --prompt=A --prompt=B")
    if given.prompt and len(given.prompt) != 2:
        raise UserError(f"--prompt is given {len(given.prompt)} times, and `mix` takes two")
    if not 20 <= given.frame_ms <= 60_000:
        raise UserError(
            f"--frame_ms={given.frame_ms} must lie between 20 and 60000; below, no program shows it as fast"
        )
    out = editing.check_out(given, (*animation.SUFFIXES, ".png"), "mixed.png")
    animation.check_can_write(out)
    files = editing.images_of(given, "mix", 2, 2) if given.image else []
    model = editing.load(given, "mix")
    if files:
        codes, pictures = editing.codes_of(given, "mix", model, files)
        sources = {"images": [editing.source_of(picture) for picture in pictures]}
    else:
        codes, sources = drawn_codes(model, given.prompt, given.seed), {}
    if given.levels is None:
        images = mix(model, codes[:1], codes[1:], given.frames)
    else:
        images = mix_styles(model, codes[:1], codes[1:], given.levels)
    facts = editing.facts_of(
        model,
        "mix",
        **sources,
        captions=list(codes.captions),
        levels=given.levels,
        frames=len(images),
        quality=given.quality if files else "",
    )
    if out.suffix.lower() in animation.SUFFIXES:
        animation.save_animation(out, images, given.scale, given.frame_ms, facts)
        say(f"{len(images)} frames, there and back, in {out}")
    else:
        editing.save(out, images, given.scale, facts, [given.seed] * len(images))


VERB = Verb(
    name="mix",
    summary="draw what lies between two pictures or captions",
    examples=('mix --workdir=runs/base --prompt="a red cap" --prompt="a green hat" --frames=16 --out=mix.gif',),
    define=define,
    run=run,
)
