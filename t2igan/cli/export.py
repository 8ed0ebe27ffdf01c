"""`t2igan export`: a trained model in a form that draws without t2igan."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
from absl.flags import FlagValues

from t2igan.cli import verb
from t2igan.cli.verb import Given
from t2igan.errors import UserError


def define(given: FlagValues) -> None:
    """Adds the flags of `export`."""
    verb.define_workdir(given, "folder of a run, a snapshot file, or models/NAME (see `models`)")
    verb.define_which(given)
    flags.DEFINE_string(
        "format",
        None,
        "onnx, stablehlo, web (one page), hub (Hugging Face's layout) or snapshot (one file)",
        flag_values=given,
    )
    verb.define_path(given, "out", "the folder to write, or the file")
    flags.DEFINE_string(
        "dtype", None, "of the weights: float32, float16 or int8; web has int8 without it", flag_values=given
    )
    flags.DEFINE_string("weights", "inside", "of stablehlo: inside the programs, or beside them", flag_values=given)
    flags.DEFINE_string("license", None, "of the model, such as CC-BY-4.0; else as the run says", flag_values=given)
    verb.define_path(
        given, "prompts", "text file, a caption a line: to compare on, the first to show; else made of known words"
    )
    flags.DEFINE_float(
        "shrink", 1.0, "share of the generator's channels to keep, as 0.6; the rest learns anew", flag_values=given
    )
    flags.DEFINE_integer(
        "shrink_images", None, "from how many pictures of the whole model; 32,000 without it", flag_values=given
    )
    flags.DEFINE_list(
        "without",
        [],
        "of hub, snapshot, web: inverter, captioner, completer; only editing needs them",
        flag_values=given,
    )
    flags.DEFINE_list(
        "include",
        [],
        "of web and hub: captioner, so that the page describes, however large it gets",
        flag_values=given,
    )
    verb.define_plugin(given)


def run(given: Given) -> None:
    """Writes the export, and says how near it is to the model."""
    import t2igan
    from t2igan.cli.sample import read_prompts
    from t2igan.inference.console import say
    from t2igan.inference.export import FORMATS
    from t2igan.training.distributed import parallel

    if given.format is None:
        forms = "".join(f"\n  {name}: {form.about}" for name, form in FORMATS.items())
        raise UserError(f"--format is missing; give one of{forms}")
    form = FORMATS[given.format]
    workdir = verb.workdir(given, "export")
    if given.out is None:
        raise UserError(f"--out is missing; give {f'a {form.suffix} file' if form.suffix else 'a folder'} to write to")
    captions = read_prompts((), given.prompts) if given.prompts else None
    parallel.start()
    how = {"which": given.which, "weights": given.weights, "captions": captions, "license": given.license}
    how |= {"shrink": given.shrink, "shrink_images": given.shrink_images}
    how |= {"without": given.without, "include": given.include}
    done = t2igan.export(workdir, given.format, given.out, given.dtype, **how)
    if done.shrunk:
        say(side_by_side(("", "before", "after"), done.shrunk))
    for name, size in done.size_bytes.items():
        say(f"{size / 1e6:9.3f} MB  {(done.out.parent if form.suffix else done.out) / name}")
    say("compared with JAX:")
    for line in done.checks:
        say(f"  {line}")


def side_by_side(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns rows as aligned lines."""
    every = [heading, *rows]
    widths = [max(len(row[column]) for row in every) for column in range(len(heading))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in every
    )


VERB = verb.Verb(
    name="export",
    summary="write a trained model in a form that draws without t2igan",
    examples=(
        "export --workdir=runs/base --format=onnx --out=avatars",
        "export --workdir=runs/base --format=hub --out=avatars_hub --dtype=float16",
        "export --workdir=runs/base --format=web --out=avatars.html --shrink=0.6",
    ),
    define=define,
    run=run,
)
