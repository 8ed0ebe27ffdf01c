"""The model card: what a model is, what it learned from, how good it is, and what it is not for.

After Mitchell et al. 2019, arXiv:1810.03993.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from t2igan.evaluation.report.facts import LICENSES, RunFacts, SplitFacts
from t2igan.evaluation.report.privacy import privacy_lines
from t2igan.evaluation.report.tables import duration, headlines, number
from t2igan.inference.examples import drawing_code

CARD_NAME = "model_card.md"
UNKNOWN_LICENSE = "not known; ask whoever made the pictures before you pass the model on"
TEMPLATES = "Captions of this set are templates over drawn options; nobody wrote them."


def model_card(facts: RunFacts) -> str:
    """Returns the model card of a run as Markdown; it holds nothing that differs from one call to the next."""
    parts = [
        _title(facts),
        _use(facts),
        _data(facts),
        _training(facts),
        _privacy(facts),
        _results(facts),
        _limits(facts),
        _sampling(facts),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def escape(text: Any) -> str:
    """Returns text that Markdown shows as it stands: no markup, no HTML, one line."""
    return re.sub(r"([\\`*_{}\[\]<>#|!~&$])", r"\\\1", " ".join(str(text).split()))


def _title(facts: RunFacts) -> str:
    size, channels = facts.config["data"]["image_size_px"], facts.config["data"]["channels"]
    kind = {1: "grey", 4: "colour with transparency"}.get(channels, "colour")
    card = facts.config["model_card"]
    lines = [
        f"# {escape(facts.name)}",
        "",
        f"A text-to-image GAN: a caption and noise become a {kind} picture of {size} x {size} px in one forward pass.",
        "",
        f"- Made with: t2igan {facts.info.get('t2igan', '(no snapshot yet)')}",
        f"- Weights: `{facts.digest or 'none yet'}` ({_parameters(facts)})",
        f"- Licence of the model: {escape(card['license'] or 'not stated')}",
        f"- Licence of the data: {escape(facts.license or UNKNOWN_LICENSE)}",
    ]
    if notes := str(card["notes"]).strip():
        lines += ["", notes]
    return "\n".join(lines)


def _parameters(facts: RunFacts) -> str:
    return ", ".join(f"{name} {count:,} parameters" for name, count in facts.parameters.items()) or "no parameters"


def _use(facts: RunFacts) -> str:
    return (
        "## Intended use\n\n"
        f"To draw pictures like those of “{escape(source_name(facts.config))}” from captions in the style of its "
        "captions; to study text-to-image GANs. Not for pictures that pass for photographs of real events or people, "
        "and not for decisions about people."
    )


def source_name(config: Mapping[str, Any]) -> str:
    """Returns the name of the data; of a folder or file only its own name, since cards travel and paths are private."""
    source = str(config["data"]["source"])
    return PurePath(source).name if "/" in source or "\\" in source else source


def _data(facts: RunFacts) -> str:
    source = escape(source_name(facts.config))
    if not facts.splits:
        return f"## Data\n\nSource: {source}. It was not at hand when this card was written."
    lines = ["## Data", "", "| split | pictures | distinct captions | left out |", "|---|---|---|---|"]
    lines += [
        f"| {escape(s.name)} | {s.num_images:,} | {s.num_captions:,} | {sum(s.skipped.values()):,} |"
        for s in facts.splits
    ]
    lines += ["", f"Source: {source}."]
    if not facts.private:  # a hash of private pictures would tell who has them
        lines[-1] += f" Hash of the training pictures and captions: `{facts.data_fingerprint or 'unknown'}`."
    if facts.config["data"]["source"] in ("pixel_avatars", "toon_avatars"):
        lines[-1] += f" {TEMPLATES}"
    if attributes := _attributes(facts.splits[0]):
        lines += ["", f"Attributes: {attributes}."]
    return "\n".join(lines)


def _attributes(split: SplitFacts) -> str:
    return "; ".join(f"{escape(name)} ({len(values)} values)" for name, values in split.attributes.items())


def _training(facts: RunFacts) -> str:
    section, loss = facts.config["train"], facts.config["loss"]
    lines = ["## Training", ""]
    for phase, images in facts.images_seen.items():
        lines.append(f"- phase {escape(phase)}: {images:,} pictures seen")
    if facts.info.get("step") is not None:
        phase = escape(str(facts.info.get("phase", "adversarial")))
        lines.append(f"- saved after step {facts.info['step']:,} of the phase {phase}; what draws is a moving average")
    lines += [
        f"- loss {escape(loss['adversarial'])}, penalty {escape(loss['penalty'])} "
        f"(weight {_number(loss['penalty_weight'])}), "
        f"batches of {section['batch_images']}, learning rates {section['generator_learning_rate']:g} (generator) and "
        f"{section['discriminator_learning_rate']:g} (discriminator), root seed {facts.config['seed']}",
    ]
    space = facts.config.get("space", {"kind": "pixels"})
    if space["kind"] != "pixels":
        codes = f"{space['channels']} numbers for each {space['factor']} x {space['factor']} pixels"
        lines.append(f"- not played on pixels but on codes: {escape(space['kind'])}, {codes}")
    if facts.trained_on:
        t = facts.trained_on
        lines.append(
            f"- on {escape(t['devices'])} ({escape(t['cpu'])}), Python {t['python']}, JAX {t['versions'].get('jax')}"
        )
    if facts.training_s:
        lines.append(f"- about {duration(facts.training_s)} of training steps")
    if overrides := [o.replace("`", "") for o in facts.overrides if "/" not in o]:  # without paths
        lines += ["- changed on the command line: " + " ".join(f"`{override}`" for override in overrides)]
    return "\n".join(lines)


def _privacy(facts: RunFacts) -> str:
    if not facts.private:
        return ""
    lines = [line.strip().removeprefix("privacy:").strip() for line in privacy_lines(facts.info)]
    return "\n".join(["## Privacy", "", "Differential privacy, experimental:", "", *(f"- {escape(x)}" for x in lines)])


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _results(facts: RunFacts) -> str:
    if facts.private:
        return "## Results\n\nNone here: figures look at the private pictures, and epsilon does not cover them."
    if not facts.evaluations:
        return "## Results\n\nNot evaluated yet: `t2igan evaluate --workdir=...`."
    lines = ["## Results", ""]
    for split, evaluation in facts.evaluations.items():
        counts = evaluation.get("counts", {})
        lines += [
            f"Split `{escape(split)}`, {counts.get('num_images', 0):,} pictures drawn, with 95 % intervals. Figures of "
            "different extractors cannot be compared.",
            "",
            "| figure | generated | 95 % | real pictures | captions shuffled | judged by |",
            "|---|---|---|---|---|---|",
        ]
        for row in headlines(evaluation):
            cells = (f"{row.label} {row.arrow}", row.value, row.interval, row.real, row.floor, row.extractor)
            lines.append("| " + " | ".join(escape(cell) for cell in cells) + " |")
        lines += ["", *(f"- {escape(finding['text'])}" for finding in evaluation.get("verdict", ())), ""]
    return "\n".join(lines).rstrip()


def _limits(facts: RunFacts) -> str:
    config = facts.config
    lines = ["## Limits", ""]
    lines.append(f"- It draws {config['data']['image_size_px']} px and nothing finer, and only what its data show.")
    if facts.splits:
        shortest, _, longest = facts.splits[0].caption_tokens
        lines.append(
            f"- Training captions have {shortest} to {longest} tokens; prompts of other lengths, styles or languages "
            "are outside of what it has seen, and words that training lacks mean nothing to it."
        )
        if cut := facts.splits[0].cut_share:
            most = config["tokenizer"]["max_tokens"]
            lines.append(
                f"- {cut:.1%} of the training captions are longer than {most} tokens; it never read their ends."
            )
    for split, evaluation in () if facts.private else facts.evaluations.items():
        worst = [(n, f) for n, f in evaluation["figures"].items() if n.startswith("attributes/each/")]
        if worst:
            name, figure = min(worst, key=lambda item: item[1]["value"])
            lines.append(
                f"- The attribute that it gets wrong most often on `{escape(split)}` is "
                f"{escape(name.rpartition('/')[2])}: right in {number(figure['value'])} of the pictures."
            )
    lines.append("- Whatever is one-sided in the data is one-sided in its pictures.")
    return "\n".join(lines)


def _sampling(facts: RunFacts) -> str:
    return (
        "## How to draw\n\n"
        "```python\n"
        "import t2igan\n\n"
        'model = t2igan.load("snapshot.safetensors")\n'
        f"{drawing_code(_examples(facts))}\n"
        "```\n\n"
        "The picture of (prompt, seed) is always the same. This card is in the file too: "
        "`t2igan.inference.snapshot.load_snapshot(path).model_card`."
    )


def _examples(facts: RunFacts) -> list[str]:
    """Captions that the model knows: chosen ones, or some of data that anybody can have; others may be personal."""
    if chosen := list(facts.config["model_card"].get("examples", ())):
        return chosen
    source = str(facts.config["data"]["source"])
    published = any(source == name or source.startswith((f"{name}:", f"{name}/")) for name in LICENSES)
    return list(facts.example_captions) if published else []
