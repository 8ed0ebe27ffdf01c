"""How often prompts are noted to have words that training captions hardly had, rightly and wrongly.

    python -m benchmarks.prompts --workdirs=models/pixel_avatars,models/toon_avatars,models/noto_emoji

Each figure is the share of prompts, read as captions, of which something is named, and how many prompts there are:

    exchanged      a training caption with one of its words exchanged for one that no training caption has
    told           training captions as they are
    SPLIT          captions of a split that training does not have
    shuffled       training captions with their words in another order
    paraphrases    what training captions say, in other words; written down before any model was asked

Nothing is drawn. Models are those of embedded data, which is opened by the name of its source.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import t2igan
from benchmarks.paraphrases import REWORDED
from t2igan.config import from_dict
from t2igan.data import open_datasets
from t2igan.data.seen import WORD, words_of

SPLITS = {
    "pixel_avatars": ("val", "test", "unseen_pairs"),
    "toon_avatars": ("val", "heldout_random", "heldout_combo"),
    "noto_emoji": ("val", "heldout_combo", "heldout_concept"),
}
# Common words; of each model those are taken that none of its training captions has.
OTHERS = (
    *("locomotive", "velvet", "thunder", "cathedral", "spaghetti", "harbour", "trampoline", "porcelain", "gravity"),
    *("turquoise", "maroon", "beige", "crimson", "plaid", "leather", "transparent", "rusty", "gigantic", "ancient"),
    *("giraffe", "lobster", "sparrow", "hedgehog", "daisy", "oak", "meadow", "volcanic", "desert", "lagoon"),
    *("swimming", "whispering", "juggling", "melting", "sleepy", "jealous", "thoughtful", "brave"),
    *("helmet", "necktie", "kimono", "moccasins", "monocle", "earring", "tattoo", "freckles", "eyebrow"),
)
PARAPHRASES = {
    "pixel_avatars": (
        "a pixel person who wears a red cap and has light skin",
        "a bearded pixel person with a blue top, dark skin",
        "pixel art of someone with long blond hair and a green top, medium skin",
        "a person in pixels with glasses and a yellow top, light skin",
        "a pixel person, short brown hair, green top, light skin",
        "a light-skinned pixel person with a red hat and a blue top",
        "dark skin, short brown hair, a yellow top: a pixel person",
        "pixel art of a person dressed in red, with a blue cap, medium skin",
        "a pixel person whose hair is long and blond, in a red top, light skin",
        "a pixel person with shades and a green top, dark skin",
        "a pixel portrait of a person in blue with a beard, light skin",
        "a pixel person with spectacles, a pink hat and a red top, medium skin",
        "a pixel character with short red hair and a dark blue top, light skin",
        "a pixel person in a yellow top, with long brown hair and sunglasses, dark skin",
        "a pixel person with a striped green hat and a red top, light skin",
        "a pixel person with long hair that is blue, and a green top, light skin",
    ),
    "toon_avatars": (
        "a person who smiles, with a full beard and a blue shirt, light skin",
        "a happy person with long black hair in a bun wearing a white t-shirt, medium skin",
        "somebody sad in an orange open jacket, with brown undercut hair, dark skin",
        "an angry person, blond spiky hair, green turtleneck, dark skin",
        "a person with a moustache and a red shirt, laughing, light skin",
        "a person wearing a grey turtleneck, surprised, long brown side-combed hair, medium skin",
        "a furious face, blond undercut hair, yellow t-shirt, light skin",
        "a grinning person with a long beard, in a pink t-shirt, dark skin",
        "light skin, smiling face, blue shirt, long wavy brown hair in a bun",
        "a dark-skinned person with black spiky hair wearing a purple t-shirt, smiling",
        "a person in a white shirt whose hair is long and brown, sad, light skin",
        "a person with hair in a bun, long and red-brown, and a green t-shirt, laughing, medium skin",
        "an astonished person with a full beard wearing an orange shirt, light skin",
        "a bearded person in a black turtleneck, angry, medium skin",
        "a person with blond hair combed to the side, smiling, in a red t-shirt, light skin",
        "a weeping person with brown spiky hair wearing a grey shirt, dark skin",
    ),
    "noto_emoji": tuple(REWORDED),
}


def exchanged(captions: Sequence[str], num: int, random: np.random.Generator) -> list[str]:
    """Returns `num` captions with one word exchanged for one that none of the captions has."""
    known = {word for caption in captions for word in words_of(caption)}
    others = [word for word in OTHERS if word not in known]
    made = []
    for row in random.choice(len(captions), num, replace=num > len(captions)):
        caption = captions[row]
        words = list(WORD.finditer(caption)) or [None]
        chosen = words[random.integers(len(words))]
        start, end = chosen.span() if chosen else (0, len(caption))  # a caption of signs only
        made.append(caption[:start] + str(random.choice(others)) + caption[end:])
    return made


def shuffled(captions: Sequence[str], num: int, random: np.random.Generator) -> list[str]:
    """Returns `num` captions, or fewer where few have different words, with their words in another order."""
    made = []
    for row in random.permutation(len(captions)):
        words = captions[row].split()
        if len(set(words)) > 1 and len(made) < num:
            other = words
            while other == words:
                other = [words[i] for i in random.permutation(len(words))]
            made.append(" ".join(other))
    return made


def prompts_of(model: Any, num: int, seed: int = 0) -> dict[str, list[str]]:
    """Returns the prompts that a model of embedded data is asked about, by kind."""
    data, random = from_dict(model.config).data, np.random.default_rng(seed)
    splits = SPLITS[data.source]
    train, *others = open_datasets(data, [data.train_split, *splits])
    told = list(dict.fromkeys(caption for of in train.captions for caption in of))
    kinds = {"exchanged": exchanged(told, num, random), "told": told}
    for split, dataset in zip(splits, others, strict=True):
        kinds[split] = sorted({caption for of in dataset.captions for caption in of} - set(told))
    return kinds | {"shuffled": shuffled(told, num, random), "paraphrases": list(PARAPHRASES[data.source])}


def measure(model: Any, prompts: dict[str, list[str]]) -> dict[str, dict[str, Any]]:
    """Returns of each kind of prompts the share of which something is named, their number, and those that are named."""
    figures = {}
    for kind, of_kind in prompts.items():
        named = [prompt for prompt in of_kind if model.seen.unseen(prompt, model.tokenizer)]
        figures[kind] = {"share": len(named) / max(len(of_kind), 1), "prompts": len(of_kind), "named": named}
    return figures


def main() -> None:
    """Asks each model, and prints and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdirs", required=True, help="runs' folders or snapshots, separated by commas")
    parser.add_argument("--num", type=int, default=400, help="captions that are changed, of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of what is changed")
    parser.add_argument("--out", default="", help="a .json file for the figures, and the prompts that are named")
    options = parser.parse_args()
    results = {}
    for workdir in options.workdirs.split(","):
        model = t2igan.load(workdir)
        figures = measure(model, prompts_of(model, options.num, options.seed))
        results[workdir] = {"model": model.digest, **figures}
        for kind, of in figures.items():
            print(f"{workdir:<24}{kind:<16}{of['share']:7.1%} of {of['prompts']}", flush=True)
    if options.out:
        Path(options.out).write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
