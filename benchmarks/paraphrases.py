"""Asks models of the emoji for what they know by another name: paraphrases, and words that no caption had.

    python -m benchmarks.paraphrases --workdirs=models/noto_emoji,runs/emoji64_minilm --out=paraphrases.json

The 64 prompts were written down before any model was asked. Half say in other words what a caption says (`REWORDED`);
the others rest on a word that stands in no training caption (`UNSEEN`). Each names the captions that would be right,
with `*` for anything. Figures, for each half:

    told           the training caption whose sentence vector is the nearest to the prompt's (cosine) is a right one
    told_of_5      one of the five nearest is
    drawn          the training picture nearest to the drawing, at 16 x 16, is of a right caption
    drawn_kind     it is of the Unicode subgroup of a right caption: any heart for a blue one
    by_name_...    the same of what is drawn for a right caption itself: the most that a drawing can come to
    words          the caption that shares most words with the prompt is a right one: what needs no model
    untrained      as `told`, with a frozen language model's own vectors, before anything was learned on them
"""

from __future__ import annotations

import argparse
import fnmatch
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import t2igan
from benchmarks.judge64 import small
from t2igan.data import Dataset, open_dataset
from t2igan.evaluation.runs import configuration
from t2igan.inference.pictures import save_png, sheet

SHOWN = 12  # of the sheet: every fifth prompt

REWORDED: dict[str, tuple[str, ...]] = {
    "a heart that is blue": ("blue heart",),
    "a heart of green colour": ("green heart",),
    "a heart in two pieces": ("broken heart",),
    "a face that smiles": ("*smiling face*", "*face with smiling eyes"),
    "a face with sunglasses on": ("smiling face with sunglasses",),
    "a face that sneezes": ("sneezing face",),
    "a face with its eyes crossed out": ("face with crossed-out eyes",),
    "half past three": ("three-thirty",),
    "a clock that says eight": ("eight o’clock",),
    "a dark-skinned man who walks": ("man walking: dark skin tone*",),
    "a man who lifts weights": ("man lifting weights*",),
    "a woman who plays handball": ("woman playing handball*",),
    "a woman whose hair is red": ("woman: *red hair", "woman: red hair"),
    "a woman on a bike": ("woman biking*", "woman mountain biking*"),
    "a man who cooks": ("man cook*",),
    "a hand with the thumb up": ("thumbs up*",),
    "two people who kiss": ("kiss", "kiss: *"),
    "a cat that is black": ("black cat",),
    "a bear that is white": ("polar bear",),
    "the face of a dog": ("dog face",),
    "the face of a rabbit": ("rabbit face",),
    "an apple, green": ("green apple",),
    "a ball of rice": ("rice ball",),
    "a pot for tea": ("teapot",),
    "a flag with a rainbow": ("rainbow flag",),
    "a house and its garden": ("house with garden",),
    "a book with an orange cover": ("orange book",),
    "a circle that is red": ("red circle",),
    "a purple square shape": ("purple square",),
    "snow that falls from a cloud": ("cloud with snow",),
    "an arrow to the right": ("right arrow",),
    "the moon when it is full": ("full moon", "full moon face"),
}

CATS = ("cat", "cat face", "black cat", "*cat with*", "grinning cat", "kissing cat", "crying cat", "weary cat")

UNSEEN: dict[str, tuple[str, ...]] = {
    "kitten": CATS,
    "puppy": ("dog", "dog face", "poodle"),
    "a hare": ("rabbit", "rabbit face"),
    "a serpent": ("snake",),
    "an ape": ("orangutan", "monkey", "monkey face"),
    "ladybug": ("lady beetle",),
    "tyrannosaurus": ("T-Rex",),
    "aubergine": ("eggplant",),
    "maize": ("ear of corn",),
    "noodles": ("steaming bowl",),
    "a burger": ("hamburger",),
    "champagne": ("bottle with popping cork", "clinking glasses"),
    "a bunch of tulips": ("tulip", "bouquet"),
    "conifer": ("evergreen tree",),
    "motorbike": ("motorcycle", "motor scooter"),
    "a cab": ("taxi", "oncoming taxi"),
    "ocean liner": ("passenger ship", "ship", "ferry"),
    "UFO": ("flying saucer",),
    "planet Saturn": ("ringed planet",),
    "planet Earth": ("globe showing*",),
    "thunderstorm": ("cloud with lightning", "cloud with lightning and rain"),
    "trousers": ("jeans",),
    "spectacles": ("glasses",),
    "jewel": ("gem stone", "ring"),
    "cellphone": ("mobile phone", "mobile phone with arrow"),
    "padlock": ("locked", "unlocked", "locked with*"),
    "Halloween pumpkin": ("jack-o-lantern",),
    "birthday present": ("wrapped gift",),
    "a furious face": ("angry face", "enraged face", "face with steam from nose", "face with symbols on mouth"),
    "weeping": ("crying face", "loudly crying face", "crying cat"),
    "a professor": ("*teacher*",),
    "a jogger": ("woman running*", "man running*", "person running*"),
}


def right_rows(data: Dataset, patterns: Sequence[str]) -> np.ndarray:
    """Returns which pictures have a caption that matches one of the patterns, bool [N]; ValueError where none has."""
    found = np.array([any(fnmatch.fnmatchcase(of[0], pattern) for pattern in patterns) for of in data.captions])
    if not found.any():
        raise ValueError(f"no caption matches {patterns}")
    return found


def sentences(model: Any, captions: Sequence[str]) -> np.ndarray:
    """Returns the sentence vectors of captions as the model's text encoder gives them, float32 [N, D], of length 1."""
    encode = jax.jit(lambda params, rows: model.networks.text_encoder.apply(params, rows).sentence)
    return _in_pieces(captions, lambda piece: encode(model.params["text"], model.tokenizer.encode(piece)))


def untrained(model: Any, captions: Sequence[str]) -> np.ndarray | None:
    """Returns the vectors of the frozen language model itself, of length 1; None where the model reads with none."""
    if len(model.tokenizer.row_shape) == 1:
        return None
    return _in_pieces(captions, lambda piece: model.tokenizer.encode(piece)[:, 0].astype(np.float32))


def _in_pieces(captions: Sequence[str], encode: Any, size: int = 64) -> np.ndarray:
    pieces = [captions[i : i + size] for i in range(0, len(captions), size)]
    filled = [encode([*piece, *[piece[-1]] * (size - len(piece))])[: len(piece)] for piece in pieces]
    vectors = np.concatenate([np.asarray(x, np.float32) for x in filled])
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def best_places(nearness: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Returns the place, from 0, of the nearest right one, int [P], of nearness [P, N] and right bool [P, N]."""
    best = np.where(right, nearness, -np.inf).max(1, keepdims=True)
    return (nearness > best).sum(1)


def share_right(nearness: np.ndarray, right: np.ndarray) -> float:
    """Returns how often the nearest of N is a right one; of several equally near, the share of them that are right."""
    nearest = nearness == nearness.max(1, keepdims=True)
    return float(((nearest & right).sum(1) / nearest.sum(1)).mean())


def overlap(prompts: Sequence[str], captions: Sequence[str]) -> np.ndarray:
    """Returns the share of words that prompts and captions have in common (Jaccard), [P, N]."""
    words = lambda text: set(text.lower().replace(",", " ").replace(":", " ").split())
    of_prompts, of_captions = [words(prompt) for prompt in prompts], [words(caption) for caption in captions]
    return np.array([[len(a & b) / len(a | b) for b in of_captions] for a in of_prompts])


def nearest_pictures(images: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Returns for each picture the number of the candidate that is nearest at 16 x 16, int [P]."""
    x, y = small(images), small(candidates)
    return ((y**2).sum(1) - 2 * x @ y.T).argmin(1)


def measure(model: Any, train: Dataset, wanted: dict[str, tuple[str, ...]]) -> tuple[dict[str, Any], np.ndarray]:
    """Returns the figures of a model for prompts, with a line a prompt, and what it draws for them."""
    prompts, captions, real = list(wanted), [of[0] for of in train.captions], np.asarray(train.images)
    right = np.stack([right_rows(train, patterns) for patterns in wanted.values()])
    names = [captions[row.argmax()] for row in right]
    kinds = np.array([attributes.get("subgroup", "") for attributes in train.attributes])
    nearness = sentences(model, prompts) @ sentences(model, captions).T
    places = best_places(nearness, right)
    figures: dict[str, Any] = {"told": share_right(nearness, right), "told_of_5": float((places < 5).mean())}
    images = model.sample(prompts, [0] * len(prompts), cut_long=True)
    of_names = model.sample(names, [0] * len(names), cut_long=True)
    rows, each = np.arange(len(prompts)), []
    for prefix, drawn in (("", images), ("by_name_", of_names)):
        found = nearest_pictures(drawn, real)
        figures[f"{prefix}drawn"] = float(right[rows, found].mean())
        figures[f"{prefix}drawn_kind"] = float(
            np.mean([kinds[f] in kinds[r] for f, r in zip(found, right, strict=True)])
        )
        each = each or [{"nearest_picture": captions[i]} for i in found]
    others = {"words": overlap(prompts, captions)}
    if (vectors := untrained(model, prompts)) is not None:
        others["untrained"] = vectors @ untrained(model, captions).T
    for name, near in others.items():
        figures[name] = share_right(near, right)
    for prompt, near, line in zip(prompts, nearness.argmax(1), each, strict=True):
        line |= {"prompt": prompt, "nearest_caption": captions[near]}
    return figures | {"each": each}, images


def main() -> None:
    """Asks each model, prints the figures, and writes them and a sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdirs", required=True, help="runs' folders or snapshots, separated by commas")
    parser.add_argument("--out", default="", help="a .json file for the figures")
    parser.add_argument("--sheet", default="", help="a .png file: twelve prompts, a row a model, in the order given")
    options = parser.parse_args()
    results, drawn = {}, []
    for workdir in options.workdirs.split(","):
        model = t2igan.load(workdir)
        config = configuration(workdir, model)
        train = open_dataset(config.data, config.data.train_split)
        of_all = []
        for name, wanted in (("reworded", REWORDED), ("unseen", UNSEEN)):
            figures, images = measure(model, train, wanted)
            results.setdefault(workdir, {"model": model.digest})[name] = figures
            of_all.append(images)
            line = "  ".join(f"{key} {value:.3f}" for key, value in figures.items() if key != "each")
            print(f"{workdir:<28}{name:<10}{line}", flush=True)
        drawn.append(np.concatenate(of_all))
    if options.out:
        Path(options.out).write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if options.sheet:
        _draw_sheet(Path(options.sheet), drawn)


def _draw_sheet(path: Path, drawn: Sequence[np.ndarray]) -> None:
    """Writes every fifth prompt in blocks of six columns: a row a model, the prompts under the last."""
    prompts = [*REWORDED, *UNSEEN]
    chosen = list(range(2, len(prompts), 5))[:SHOWN]
    images, lines = [], []
    for start in range(0, SHOWN, 6):
        block = chosen[start : start + 6]
        for number, of_model in enumerate(drawn):
            images.append(of_model[block])
            lines += [prompts[i] if number == len(drawn) - 1 else "" for i in block]
    save_png(path, sheet(np.concatenate(images), lines, columns=6, scale=1))


if __name__ == "__main__":
    main()
