"""How often a watermark is found again in drawings that were saved, resized, cut or mirrored, and found wrongly.

    python -m benchmarks.watermark --workdir=models/toon_avatars --num=200 --seed=0

Each drawing, of a caption that was not trained on, is marked with a secret of its own. It is then changed and saved,
and looked at as `t2igan verify` does. The same drawings without a mark tell the false alarms.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

import t2igan
from t2igan.data import open_dataset
from t2igan.data.alpha import composited, has_alpha
from t2igan.evaluation.metrics import interval_of_share
from t2igan.evaluation.runs import configuration
from t2igan.inference.watermark import Secret, find, mark

BICUBIC, NEAREST = Image.Resampling.BICUBIC, Image.Resampling.NEAREST


def saved(picture: Image.Image, form: str, quality: int) -> Image.Image:
    """Returns a picture as it comes out of a lossy file."""
    file = io.BytesIO()
    picture.save(file, format=form, quality=quality)
    return Image.open(file).convert("RGB")


def resized(picture: Image.Image, factor: float, how: Image.Resampling = BICUBIC) -> Image.Image:
    """Returns a picture at a size of so many times its own."""
    return picture.resize((round(picture.width * factor), round(picture.height * factor)), how)


def cut(picture: Image.Image, share: float, random: np.random.Generator) -> Image.Image:
    """Returns a part with that share of each side, at a random place."""
    width, height = round(picture.width * share), round(picture.height * share)
    left, top = (int(random.integers(most + 1)) for most in (picture.width - width, picture.height - height))
    return picture.crop((left, top, left + width, top + height))


CHANGES: dict[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "plain": lambda x, _: x,
    "JPEG 90": lambda x, _: saved(x, "JPEG", 90),
    "JPEG 75": lambda x, _: saved(x, "JPEG", 75),
    "JPEG 50": lambda x, _: saved(x, "JPEG", 50),
    "WebP 75": lambda x, _: saved(x, "WEBP", 75),
    "twice as large, then JPEG 75": lambda x, _: saved(resized(x, 2, NEAREST), "JPEG", 75),
    "resized to 3/4": lambda x, _: resized(x, 0.75),
    "resized to 1/2": lambda x, _: resized(x, 0.5),
    "mirrored": lambda x, _: x.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "cut to 0.9 of its sides": lambda x, random: cut(x, 0.9, random),
    "cut to 0.8 of its sides": lambda x, random: cut(x, 0.8, random),
    "cut to 0.9, JPEG 75": lambda x, random: saved(cut(x, 0.9, random), "JPEG", 75),
    "cut to 0.9, resized back": lambda x, random: resized(cut(x, 0.9, random), 1 / 0.9),
    "turned by 5 degrees": lambda x, _: x.rotate(5, BICUBIC, fillcolor=(255, 255, 255)),
}

WITHOUT = ("plain",)  # after which it is looked for in drawings that have none


def drawings(workdir: Path, num: int, seed: int) -> np.ndarray:
    """Returns drawings of captions that the model was not trained on, on white where they are transparent."""
    model = t2igan.load(workdir)
    data = configuration(workdir, model).data
    captions = [captions[0] for captions in open_dataset(data, data.test_split).captions]
    chosen = np.random.default_rng(seed).integers(len(captions), size=num)
    images = model.sample([captions[i] for i in chosen], list(range(num)), cut_long=True)
    return composited(images, (255, 255, 255)) if has_alpha(images) else images


def main() -> None:
    """Prints a table."""
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--workdir", type=Path, required=True)
    flags.add_argument("--num", type=int, default=200)
    flags.add_argument("--cut", type=int, default=60, help="drawings of those that are cut or turned, which takes long")
    flags.add_argument("--seed", type=int, default=0)
    given = flags.parse_args()
    images = drawings(given.workdir, given.num, given.seed)
    random = np.random.default_rng([given.seed, 1])
    secrets = [Secret(random.bytes(32)) for _ in images]
    start = time.process_time()
    marked = np.concatenate([mark(image[None], secret) for image, secret in zip(images, secrets, strict=True)])
    each_ms = 1e3 * (time.process_time() - start) / len(images)
    errors = ((marked.astype(float) - images) ** 2).mean((1, 2, 3))
    levels = 10 * np.log10(255**2 / errors)
    print(f"{given.workdir}: {len(images)} drawings of {images.shape[1]} px, marked in {each_ms:.1f} ms each (CPU)")
    print(f"PSNR: {np.median(levels):.1f} dB (median), {levels.min():.1f} to {levels.max():.1f}")
    print(f"{'':<30} {'found, 95 %, drawings':>28} {'false alarms, 95 %, drawings':>32} {'s':>6}")
    for name, change in CHANGES.items():
        start = time.process_time()
        cells = []
        num = given.cut if name.startswith(("cut", "turned")) else given.num
        for pictures in (marked[:num], images[: given.num if name in WITHOUT else 0]):
            changed = [np.asarray(change(Image.fromarray(picture), random)) for picture in pictures]
            found = [find(one, secret).there for one, secret in zip(changed, secrets, strict=False)]
            low, high = bounds(found) if found else (0.0, 0.0)
            cells.append(f"{np.mean(found):>6.3f} [{low:.3f}, {high:.3f}] {len(found):>4}" if found else "")
        print(f"{name:<30} {cells[0]:>28} {cells[1]:>32} {time.process_time() - start:>6.1f}", flush=True)


def bounds(found: list[bool]) -> tuple[float, float]:
    """Returns the 95 % interval of a share."""
    return tuple(interval_of_share(np.array(found), np.arange(len(found))))


if __name__ == "__main__":
    main()
