"""What the verbs that edit pictures share: flags, pictures and captions that are given, and what is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from absl.flags import FlagValues

from t2igan.cli import verb
from t2igan.cli.verb import Given
from t2igan.errors import UserError


def define(given: FlagValues, out: str, images: str = "the picture, of any size and format") -> None:
    """Adds the flags that all of them have."""
    verb.define_workdir(given, "folder of a run, a snapshot file, or models/NAME (see `models`)")
    verb.define_which(given)
    verb.define_paths(given, "image", images)
    flags.DEFINE_multi_string(
        "caption", [], "what a picture shows, one a picture; without it, it is described first", flag_values=given
    )
    flags.DEFINE_enum(
        "quality", "good", ["fast", "good", "best"], "how long its codes are looked for", flag_values=given
    )
    flags.DEFINE_integer("seed", 0, "of the noises that are tried, and of the first version", flag_values=given)
    verb.define_path(given, "out", out)
    verb.define_plugin(given)


def define_scale(given: FlagValues) -> None:
    """Adds `--scale`."""
    flags.DEFINE_integer("scale", 0, "enlarge pixels so many times, or 0: to 128 px at least", flag_values=given)


def images_of(given: Given, name: str, least: int = 1, most: int | None = 1) -> list[Path]:
    """Returns the files of `--image`; `UserError` where they are too few or too many."""
    found = given.image or []
    if len(found) < least or (most is not None and len(found) > most):
        wanted = f"{least} pictures" if least > 1 else "a picture" if most == 1 else "one or more pictures"
        raise UserError(f"--image is given {len(found)} times, and `{name}` takes {wanted}: --image=FILE")
    return found


def check_out(given: Given, suffixes: Sequence[str], default: str) -> Path:
    """Returns where to write; `UserError` for a file of another kind, and for a scale that there is not."""
    if (scale := getattr(given, "scale", 0)) < 0:
        raise UserError(f"--scale={scale} must be 0 or more")
    out = given.out or Path(default)
    if out.suffix and out.suffix.lower() not in suffixes and not out.is_dir():
        raise UserError(f"--out={out} must end in {' or '.join(suffixes)}, or be a folder")
    return out


def load(given: Given, name: str) -> Any:
    """Returns the model, once JAX has started as the other verbs start it."""
    import t2igan
    from t2igan.training.distributed import parallel

    parallel.start()
    model = t2igan.load(verb.workdir(given, name), given.which)
    model.check_styled(f"`{name}`")
    return model


def captions_of(given: Given, model: Any, pictures: Sequence[Any]) -> list[str]:
    """Returns a caption for each picture: those given, or what the model's captioner says of them.

    Raises:
      UserError: they are not as many, or there are none and no captioner.
    """

    import numpy as np

    from t2igan.inference.console import say
    from t2igan.inference.editing import describe, has_captioner

    if given.caption:
        if len(given.caption) not in (1, len(pictures)):
            raise UserError(f"there are {len(pictures)} pictures and {len(given.caption)} captions; give one each")
        return list(given.caption) * (len(pictures) if len(given.caption) == 1 else 1)
    if not has_captioner(model):
        raise UserError(
            f"--caption is missing, and this model has no captioner to describe {pictures[0].name}; say what it "
            f"shows, --caption=\"...\", or add the phase 'caption' to config.phases and train again"
        )
    found = describe(model, np.stack([picture.pixels for picture in pictures]))
    for picture, of in zip(pictures, found, strict=True):
        say(f"{picture.name}: {of.caption}  ({of.confidence:.0%} sure)")
        if of.unlike:
            say("  it is unlike the pictures of the training, so that this may mean nothing; better give --caption")
    return [of.caption for of in found]


def codes_of(given: Given, name: str, model: Any, files: Sequence[Path]) -> tuple[Any, list[Any]]:
    """Returns the codes of pictures, found with the quality and the captions that are given, and the pictures.

    It shows how far the search is, and says how well each picture is reproduced.
    """
    import numpy as np

    from t2igan.inference.editing import decoding_of, invert, read_picture

    pictures = [read_picture(file, decoding_of(model.config)) for file in files]
    captions = captions_of(given, model, pictures)
    images = np.stack([picture.pixels for picture in pictures])
    codes = invert(model, images, captions, given.quality, seed=given.seed, progress=show_progress(name))
    say_how_near(codes.psnr_db, pictures, given.quality)
    return codes, pictures


def show_progress(text: str) -> Callable[[int, int], None]:
    """Returns what shows steps done, of steps in all, as a bar."""
    from t2igan.inference.console import progress_bar

    bars: list[Any] = []

    def show(done: int, total: int) -> None:
        if not bars:
            bars.append(progress_bar(total=total, desc=text, leave=False))
        bars[0].update(done - bars[0].n)
        if done >= total:
            bars[0].close()

    return show


def say_how_near(values_db: Any, pictures: Sequence[Any], quality: str, what: str = "reproduced") -> None:
    """Says how well pictures are drawn by their codes, and of which nothing good is to be expected."""
    from t2igan.inference.console import say
    from t2igan.inference.editing import UNLIKE_DB

    least_db = UNLIKE_DB[quality]
    for picture, value in zip(pictures, values_db, strict=True):
        say(f"{picture.name}: {what} to {value:.1f} dB")
        if value < least_db:
            say(
                f"  that is far off ({least_db:g} dB is the least to go by): the picture, or its caption, is unlike "
                f"what this model draws, and what is made of it will not look like it"
            )


def facts_of(model: Any, name: str, **more: Any) -> dict[str, Any]:
    """Returns the recipe of a picture, which goes into its PNG."""
    import t2igan

    given = {key: value for key, value in more.items() if value not in (None, "", [])}
    return {"verb": name, "model": model.digest, "t2igan": t2igan.__version__} | given


def source_of(picture: Any) -> dict[str, str]:
    """Returns a given picture in a recipe: its name, and a hash of its pixels at the model's size."""
    return {"image": Path(picture.name).name, "pixels": picture.digest}


def save(out: Path, images: Any, scale: int, facts: dict[str, Any], seeds: Sequence[int]) -> None:
    """Writes one picture as it is, several as a sheet, or, into a folder, a file each; says where they are."""
    from t2igan.inference.console import say
    from t2igan.inference.pictures import enlarge, save_png, sheet
    from t2igan.inference.provenance import EDITED, GENERATED

    source = EDITED if facts["verb"] in ("edit", "complete") else GENERATED  # of the others the model draws all
    if out.suffix.lower() == ".png":
        if len(images) == 1:
            save_png(out, enlarge(images, scale)[0], facts | {"seed": seeds[0]}, source)
        else:
            columns = min(len(images), 8)
            save_png(out, sheet(images, [""] * len(images), columns, scale), facts | {"seeds": list(seeds)}, source)
        say(f"{_pictures(len(images))} in {out}")
        return
    for i, (image, seed) in enumerate(zip(enlarge(images, scale), seeds, strict=True)):
        save_png(out / f"{i:05d}_seed{seed}.png", image, facts | {"seed": seed}, source)
    say(f"{_pictures(len(images))} in {out}/")


def diversity_of(images: Any, hidden: Any = None) -> dict[str, float]:
    """Returns, for the recipe, how much versions of a picture differ, and says it; {} for a single one.

    Args:
      images: uint8 [N, S, S, C].
      hidden: float32 [S, S, 1], above 0 what was drawn anew; None = all of it.
    """
    from t2igan.inference.console import say
    from t2igan.inference.editing import diversity_levels

    if len(images) < 2:
        return {}
    levels = diversity_levels(images, None if hidden is None else hidden[..., 0] > 0)
    where = "" if hidden is None else " where they are drawn anew"
    say(f"they differ by {levels:.1f} levels of 255 (standard deviation){where}")
    return {"diversity_levels": round(levels, 2)}


def _pictures(num: int) -> str:
    return "1 picture" if num == 1 else f"{num} pictures"
