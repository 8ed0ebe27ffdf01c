"""`t2igan mix`: from one picture to another, as frames or a GIF; or the styles of two pictures in one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl import flags
from absl.flags import FlagValues

from t2igan.cli import editing
from t2igan.cli.verb import Given, Verb
from t2igan.errors import UserError


def define(given: FlagValues) -> None:
    """Adds the flags of `mix`."""
    out = "a .gif or .png file, or a folder for a file a frame; without it mixed.png"
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
    flags.DEFINE_integer("frame_ms", 120, "time that a frame of a GIF is shown, in milliseconds", flag_values=given)
    editing.define_scale(given)


def run(given: Given) -> None:
    """Draws what lies between two pictures."""
    from t2igan.inference.editing import drawn_codes, mix, mix_styles

    if bool(given.image) == bool(given.prompt):
        raise UserError("give either two pictures, --image=A --image=B, or two prompts, --prompt=A --prompt=B")
    if given.prompt and len(given.prompt) != 2:
        raise UserError(f"--prompt is given {len(given.prompt)} times, and `mix` takes two")
    if given.frame_ms < 20:
        raise UserError(f"--frame_ms={given.frame_ms} must be 20 or more, or no program shows it as fast")
    out = editing.check_out(given, (".gif", ".png"), "mixed.png")
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
    if out.suffix.lower() == ".gif":
        save_gif(out, images, given.scale, given.frame_ms)
    else:
        editing.save(out, images, given.scale, facts, [given.seed] * len(images))


def save_gif(out: Path, images: Any, scale: int, frame_ms: int) -> None:
    """Writes frames, there and back, as a GIF that goes on for ever."""
    from t2igan.inference.console import say
    from t2igan.inference.pictures import enlarge, gif_bytes

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(gif_bytes(enlarge(images, scale), frame_ms))
    except OSError as error:
        raise UserError(f"could not write {out}: {error.strerror or error}; choose another --out") from error
    say(f"{len(images)} frames, there and back, in {out}")


VERB = Verb(
    name="mix",
    summary="draw what lies between two pictures or captions",
    examples=('mix --workdir=runs/base --prompt="a red cap" --prompt="a green hat" --frames=16 --out=mix.gif',),
    define=define,
    run=run,
)
