"""`t2igan verify`: what pictures and snapshots say of themselves, and what of that was checked."""

from __future__ import annotations

from absl.flags import FlagValues

from t2igan.cli import verb
from t2igan.cli.verb import Given
from t2igan.errors import UserError


def define(given: FlagValues) -> None:
    """Adds the flags of `verify`."""
    verb.define_paths(given, "file", "a picture or a snapshot (.safetensors); or as a plain word; may repeat")
    verb.define_workdir(given, "folder of a run, or a snapshot: pictures are drawn again with it from their recipes")
    verb.define_which(given)
    verb.define_path(given, "key", "file of a public key (.pub) that snapshots have to be signed with")
    verb.define_path(given, "trust", "file of root certificates (.pem) that signers of pictures have to come from")
    verb.define_path(given, "watermark", "secret (.mark) of a watermark to look for in pictures")
    verb.define_plugin(given)


def run(given: Given) -> None:
    """Says of each file what it claims and what was checked; a check that fails is an error."""
    import t2igan
    from t2igan.inference.console import say
    from t2igan.inference.verify import verify
    from t2igan.inference.watermark import read_secret

    if not given.file:
        raise UserError("there is no file to look at; `verify` wants pictures or snapshots, such as me.png")
    model = t2igan.load(verb.workdir(given, "verify"), given.which) if given.workdir else None
    secret = read_secret(given.watermark) if given.watermark else None
    failed = []
    for path in given.file:
        try:
            found = verify(path, model, given.key, given.trust, secret)
        except UserError as error:
            if len(given.file) == 1:
                raise
            say(f"{path}\n  {error}")
            failed.append(path)
            continue
        say("\n  ".join([str(path), *found.lines]))
        failed += [path] * found.failed
    if failed:
        raise UserError(f"{len(failed)} of {len(given.file)} files did not pass: {', '.join(map(str, failed[:5]))}")


VERB = verb.Verb(
    name="verify",
    summary="say what pictures and snapshots claim of themselves, and check what can be checked",
    examples=("verify me.png --workdir=runs/base", "verify runs/base/snapshot.safetensors --key=mine.pub"),
    define=define,
    run=run,
    words="file",
)
