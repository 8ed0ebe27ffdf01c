"""`t2igan models`: trained models that come with the package."""

from __future__ import annotations

import shlex

from absl import flags
from absl.flags import FlagValues

from t2igan.cli import verb
from t2igan.cli.verb import Given
from t2igan.errors import UserError, command


def define(given: FlagValues) -> None:
    """Adds the flags of `models`."""
    flags.DEFINE_string("card", None, "a model of the list: show its card", flag_values=given)
    verb.define_plugin(given)


def run(given: Given) -> None:
    """Lists the models of the package, or shows the card of one."""
    from t2igan.inference.console import say
    from t2igan.inference.shipped import PREFIX, shipped
    from t2igan.inference.snapshot import load_snapshot

    if given.card is not None:
        name = given.card.removeprefix(f"{PREFIX}/")
        if name not in shipped():
            raise UserError(
                f"--card={given.card} is none of {', '.join(f'{PREFIX}/{known}' for known in shipped()) or 'no models'}"
            )
        say(load_snapshot(shipped()[name], with_weights=False).model_card)
        return
    for name, path in shipped().items():
        say("\n".join(lines(f"{PREFIX}/{name}", path)))
    say(f"`{command('models', card='...')}` shows the card of one.")


def lines(name: str, path) -> list[str]:
    """Returns what the list says of a model: name, picture size, file size, what it follows, licences, an example."""
    from t2igan.inference.examples import captions_of
    from t2igan.inference.snapshot import load_snapshot

    snapshot = load_snapshot(path, with_weights=False)
    config, figures = snapshot.config, snapshot.metrics.get("figures", {})
    size_px = config["data"]["image_size_px"]
    facts = [f"{size_px} x {size_px} px", f"{path.stat().st_size / 1e6:.1f} MB"]
    facts += [
        f"{what} {figures[figure]['value']:.3f}"
        for figure, what in FIGURES.items()
        if "value" in figures.get(figure, {})
    ]
    said = [f"{name}: {', '.join(facts)}"]
    said += [f"    {line[2:]}" for line in snapshot.model_card.splitlines() if line.startswith("- Licence")]
    examples = [shlex.quote(caption) for caption in captions_of(snapshot)[:1]]
    return said + [f"    {command('sample', workdir=name)} --prompt={example}" for example in examples]


FIGURES = {"attributes/mean": "attributes right", "attributes/all": "all of them"}

VERB = verb.Verb(
    name="models",
    summary="list the trained models that come with the package",
    examples=("models", "models --card=models/pixel_avatars"),
    define=define,
    run=run,
)
