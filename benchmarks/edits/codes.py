"""Inversion, completion and outpainting, descriptions: what is known of them is the picture itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.edits.judge import Judged
from benchmarks.edits.wording import TONED
from t2igan.evaluation.metrics.edits import psnr_db
from t2igan.inference.editing import complete, complete_each, describe, diversity_levels, has_captioner, invert
from t2igan.inference.editing.describing import Description
from t2igan.inference.editing.inversion import Effort

NOISE_ALONE = Effort(48, 100, 0)
ONE_PASS = Effort(0, 0, 0)  # of the inverter
VERSIONS = 4
SHOWN, GREY = 8, 160  # pictures a row of a sheet, and what is hidden of them

Figures = dict[str, float]


def measured(work):
    """Returns what a call returns, and the CPU seconds that it took."""
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def spread(name: str, values_db: np.ndarray) -> Figures:
    """Returns mean, its standard error, tenth percentile and least of figures in dB."""
    return {
        f"{name}_db": float(np.mean(values_db)),
        f"{name}_error_db": error_of_mean(values_db),
        f"{name}_p10_db": float(np.percentile(values_db, 10)),
        f"{name}_least_db": float(np.min(values_db)),
    }


def error_of_mean(values: np.ndarray) -> float:
    """Returns the standard error of a mean; 0 for one value."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def inversion(judged: Judged, num: int, qualities: tuple[str, ...]) -> Figures:
    """How near pictures are reproduced, half of them of pairs that were never seen together, where there are such.

    The time is that of the only call, with its compilation, a picture of the batch.
    """
    second = num // 2 if judged.unseen is judged.test else 0  # without a split of unseen pairs, others of the same
    rows = [(judged.test, i) for i in range(num // 2)] + [(judged.unseen, second + i) for i in range(num // 2)]
    some = [(data.images[i], data.captions[i][0]) for data, i in rows]
    images, captions = np.stack([image for image, _ in some]), [caption for _, caption in some]
    found: Figures = {}
    efforts = {quality: {"quality": quality} for quality in qualities} | {"noise_alone": {"effort": NOISE_ALONE}}
    if "inverter" in judged.model.params:
        efforts["one_pass"] = {"effort": ONE_PASS}
    for name, how in efforts.items():
        codes, first_s = measured(lambda how=how: invert(judged.model, images, captions, **how))
        found |= spread(name, codes.psnr_db)
        found[f"{name}_unseen_db"] = float(codes.psnr_db[num // 2 :].mean())
        found[f"{name}_cpu_s_with_compilation"] = first_s / num
    return found


def hidden_parts(px: int) -> dict[str, np.ndarray]:
    """Returns what is hidden, float32 [S, S, 1] by name."""
    y, x = np.mgrid[:px, :px]
    quarter = px // 4
    inside = (y >= quarter) & (y < px - quarter) & (x >= quarter) & (x < px - quarter)
    parts = {
        "lower_half": y >= px // 2,
        "top": y < 7 * px // 16,  # of a pixel avatar, hat and hair
        "right_half": x >= px // 2,
        "around": ~inside,
    }
    return {name: hidden[..., None].astype(np.float32) for name, hidden in parts.items()}


def completion(judged: Judged, num: int, qualities: tuple[str, ...]) -> Figures:
    """How near what is drawn comes to what was hidden, beside pasting a picture drawn at random; and all else."""
    images, captions = judged.test.images[:num], [of[0] for of in judged.test.captions[:num]]
    attributes = judged.test.attributes[:num]
    seeds = list(range(num))
    pasted = judged.model.sample(captions, seeds)
    found: Figures = {}
    if judged.judges:
        found["judge_on_real"] = float(judged.right(images, attributes).all(1).mean())
    for name, hidden in hidden_parts(images.shape[1]).items():
        of_all = np.repeat(hidden[None], num, axis=0)
        counts = of_all[..., 0] == 1
        pasted_db = psnr_db(pasted, images, counts)
        found[f"{name}_pasted_db"] = float(pasted_db.mean())
        rows = [np.where(hidden == 1, GREY, images[:SHOWN]).astype(np.uint8), pasted[:SHOWN]]
        for quality in qualities:
            made = complete_each(judged.model, images, of_all, captions, seeds, quality).images
            kept = np.broadcast_to(of_all == 0, images.shape)
            assert (made[kept] == images[kept]).all(), "a visible pixel is not what it was"
            key = f"{name}_{quality}"
            made_db = psnr_db(made, images, counts)
            found[f"{key}_db"], found[f"{key}_error_db"] = float(made_db.mean()), error_of_mean(made_db)
            found[f"{key}_above_pasted_error_db"] = error_of_mean(made_db - pasted_db)
            found[f"{key}_found"] = judged.found(made, captions)
            rows.append(made[:SHOWN])
            if judged.judges:
                found[f"{key}_right"] = float(judged.right(made, attributes).all(1).mean())
        lines = ["; ".join(captions[:SHOWN]), "drawn of the caption alone", *qualities, "the truth"]
        judged.show(f"completion_{name}", [*rows, images[:SHOWN]], lines)
        few = [complete(judged.model, images[i], hidden, captions[i], num=VERSIONS) for i in range(min(num, 4))]
        found[f"{name}_versions_differ_levels"] = float(
            np.mean([diversity_levels(x, hidden[..., 0] == 1) for x in few])
        )
    for quality in qualities:
        once = lambda quality=quality: complete(judged.model, images[0], hidden, captions[0], quality=quality)
        once()
        times = [measured(once)[1] for _ in range(20)]  # the least counts: other programs disturb the rest
        found[f"warm_{quality}_cpu_ms"] = 1000 * float(np.min(times))
    return found


def _agree(said: Sequence[Description], allowed: Sequence[Sequence[str]], read: Callable[[str], str]) -> float:
    """Returns how many descriptions are among those that are allowed, all as they are read."""
    return float(np.mean([read(of.caption) in map(read, some) for of, some in zip(said, allowed, strict=True)]))


def descriptions(judged: Judged, num: int) -> Figures:
    """Of how many pictures every attribute is said, and nothing else: the caption is one of those it may have.

    "..._but_for_tones" leaves out which skin tone, or that there is one, as only captions of emoji have them.
    """
    if not has_captioner(judged.model):
        return {}
    found: Figures = {}
    for name, data in (("test", judged.test), ("unseen", judged.unseen)):
        said = describe(judged.model, data.images[:num])
        allowed = [
            [text.lower() for text in (*captions, *(judged.wording.captions(attributes) if judged.wording else ()))]
            for captions, attributes in zip(data.captions[:num], data.attributes[:num], strict=True)
        ]  # captioners do not know of capitals
        found |= {f"{name}_pictures": len(said), f"{name}_all_right": _agree(said, allowed, str)}
        if judged.wording is None:
            found[f"{name}_right_but_for_tones"] = _agree(said, allowed, lambda text: TONED.sub("", text).strip(" :,"))
        found[f"{name}_strangeness_most"] = float(max(of.strangeness for of in said))
    return found
