"""Captioned squares: data that extractors learn in a second, and generators of known quality that draw it."""

import numpy as np
from PIL import Image

from t2igan.data import Dataset
from t2igan.data.tokenizer import Tokenizer
from t2igan.evaluation.extractors import Settings

COLORS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (40, 40, 230), "yellow": (230, 220, 40)}
SIZES = {"small": 3, "large": 6}
QUICK = Settings(
    classifier_steps=60,
    classifier_batch_images=32,
    probe_steps=80,
    probe_batch_images=32,
    features=32,
)


def squares(split, num_images, seed, px=8, with_attributes=True, noise=0):
    """Squares at random places; every fifth has no colour: it is black, and its caption names none.

    `noise` levels are added to or taken from every pixel, so that no two pictures are alike.
    """
    random = np.random.default_rng(seed)
    images = np.full((num_images, px, px, 3), 255, np.uint8)
    captions, attributes = [], []
    for i in range(num_images):
        size = random.choice(list(SIZES))
        side = SIZES[size] * px // 8
        y, x = random.integers(px - side + 1, size=2)
        if i % 5 == 0:
            images[i, y : y + side, x : x + side] = 0
            captions.append((f"a {size} square",))
            attributes.append({"size": size})
        else:
            color = str(random.choice(tuple(COLORS)))
            images[i, y : y + side, x : x + side] = COLORS[color]
            captions.append((f"a {size} {color} square", f"a square, {color} and {size}"))
            attributes.append({"color": color, "size": size})
    if noise:
        images = np.clip(images + random.integers(-noise, noise + 1, images.shape), 0, 255).astype(np.uint8)
    return Dataset("squares", split, images, tuple(captions), tuple(attributes) if with_attributes else None)


def save(dataset, folder):
    """Writes it as a folder of pictures with a caption each; returns the folder."""
    folder.mkdir(parents=True)
    for i, (image, captions) in enumerate(zip(dataset.images, dataset.captions, strict=True)):
        Image.fromarray(image).save(folder / f"{i:03d}.png")
        (folder / f"{i:03d}.txt").write_text(captions[0])
    return folder


def tokenizer_of(train):
    """A tokenizer of the training captions."""
    return Tokenizer.train([c for captions in train.captions for c in captions], vocab_size=300, max_tokens=12)


def real_pictures(dataset):
    """A generator that has learned everything: for a caption, some real picture of it; nothing for other captions."""
    rows = {}
    for row, captions in enumerate(dataset.captions):
        for caption in captions:
            rows.setdefault(caption, []).append(row)
    everyone = list(range(len(dataset)))

    def draw(captions, seeds):
        of = [rows.get(c, everyone) for c in captions]
        return dataset.images[[of_one[s % len(of_one)] for of_one, s in zip(of, seeds, strict=True)]]

    return draw


def any_pictures(dataset):
    """A generator that draws well and does not read."""
    return lambda _, seeds: dataset.images[np.array(seeds) % len(dataset)]


def one_picture(dataset):
    """A generator that has collapsed to one mode."""
    return lambda captions, _: np.repeat(dataset.images[:1], len(captions), axis=0)


def nearly(draw, levels):
    """Pictures of `draw`, every pixel moved by up to so many levels."""

    def moved(captions, seeds):
        images = draw(captions, seeds)
        noise = [np.random.default_rng(s).integers(-levels, levels + 1, images.shape[1:]) for s in seeds]
        return np.clip(images + np.stack(noise), 0, 255).astype(np.uint8)

    return moved


def blocks(draw, side):
    """Pictures of `draw`, averaged over squares of so many pixels: colours and places, but no shapes."""

    def averaged(captions, seeds):
        images = draw(captions, seeds).astype(np.float32)
        n, px = len(images), images.shape[1] // side
        means = images.reshape(n, px, side, px, side, -1).mean((2, 4))
        return means.repeat(side, 1).repeat(side, 2).round().astype(np.uint8)

    return averaged
