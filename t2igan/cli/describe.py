"""`t2igan describe`: pictures to captions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl import flags
from absl.flags import FlagValues

from t2igan.cli import verb
from t2igan.cli.verb import Given, Verb
from t2igan.errors import UserError

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".jp2", ".ppm", ".pgm", ".qoi")


def define(given: FlagValues) -> None:
    """Adds the flags of `describe`."""
    verb.define_workdir(given, "folder of a run, a snapshot file, or models/NAME (see `models`)")
    verb.define_which(given)
    verb.define_paths(given, "image", "a picture, or a folder of pictures; may be given several times")
    flags.DEFINE_integer("beams", 4, "captions that are followed at a time; more find likelier ones", flag_values=given)
    flags.DEFINE_boolean("json", False, "a line of JSON a picture", flag_values=given)
    flags.DEFINE_boolean("txt", False, "write a .txt file beside each picture, if there is none yet", flag_values=given)
    verb.define_plugin(given)


def run(given: Given) -> None:
    """Says what pictures show, how sure that is, and which are unlike those of the training."""
    import numpy as np

    import t2igan
    from t2igan.inference.console import say
    from t2igan.inference.editing import decoding_of, read_picture
    from t2igan.inference.editing.describing import AT_ONCE, check_captioner, describe
    from t2igan.training.distributed import parallel

    files = files_of(given.image or [])
    parallel.start()
    model = t2igan.load(verb.workdir(given, "describe"), given.which)
    check_captioner(model)
    how, refused, written = decoding_of(model.config), [], 0
    for start in range(0, len(files), AT_ONCE):
        pictures = []
        for file in files[start : start + AT_ONCE]:
            try:
                pictures.append((file, read_picture(file, how).pixels))
            except UserError as error:  # of many pictures one that is none must not cost the others
                if len(files) == 1:
                    raise
                refused.append(str(error))
        if not pictures:
            continue
        found = describe(model, np.stack([pixels for _, pixels in pictures]), given.beams)
        for (file, _), of in zip(pictures, found, strict=True):
            say(line_of(file, of, given.json))
            written += given.txt and write_beside(file, of.caption)
    for reason in refused:
        say(f"left out: {reason}")
    if given.txt:
        say(f"{written} captions written beside {len(files)} pictures")
    if len(refused) == len(files):
        raise UserError(f"none of {len(files)} files is a picture that can be described")


def files_of(given: list[Path]) -> list[Path]:
    """Returns pictures that are given, and those that lie in folders that are given; `UserError` for none."""
    if not given:
        raise UserError("--image is missing; give a picture or a folder of pictures, once or more")
    files: list[Path] = []
    for path in given:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in ENDINGS and file.is_file())
            if not inside:
                raise UserError(f"--image={path} is a folder without pictures ({', '.join(ENDINGS)})")
            files += inside
        else:
            files.append(path)
    return files


def line_of(file: Path, found: Any, as_json: bool) -> str:
    """Returns what is said of a picture, in a line."""
    import json

    if as_json:
        values = {"image": str(file), "caption": found.caption, "confidence": round(found.confidence, 4)}
        values |= {"strangeness": round(found.strangeness, 3), "unlike": found.unlike}
        return json.dumps(values, ensure_ascii=False)
    unlike = "; unlike the pictures of the training: it may mean nothing" if found.unlike else ""
    return f"{file}: {found.caption}  ({found.confidence:.0%} sure{unlike})"


def write_beside(file: Path, caption: str) -> int:
    """Writes a caption beside its picture; returns 1, or 0 where there was one, which stays."""
    from t2igan.inference.files import write_text

    text = file.with_suffix(".txt")
    if text.exists():
        return 0
    write_text(text, caption + "\n")
    return 1


VERB = Verb(
    name="describe",
    summary="say what pictures show",
    examples=(
        "describe --workdir=runs/base --image=me.png --image=you.png --json",
        "describe --workdir=runs/base --image=pictures --txt",
    ),
    define=define,
    run=run,
)
