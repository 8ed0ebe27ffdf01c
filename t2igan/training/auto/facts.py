"""What choices are made by: facts of the data, and facts of the machine. Plain values, so that tests can make them."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from t2igan.data import Dataset, different
from t2igan.data.dataset import as_compared, pictures_a_caption
from t2igan.data.peek import Peek
from t2igan.data.summary import different_pictures
from t2igan.data.tokenizer import Tokenizer
from t2igan.inference.pretrained.text_model import PACKAGES

PIXEL_ART_PX = 32  # pictures up to this side are pixel art, or so small that every pixel counts
DRAWN_FLAT_SHARE = 0.33  # toon avatars have .62, Noto emoji .48; two photographs of scikit-learn .05 and .18
COUNTED_CAPTIONS = 20_000  # whose words and tokens are counted, evenly over all
WORD = re.compile(r"[^\W\d_]+")
SIDES = {"left", "right", "links", "rechts", "gauche", "droite", "izquierda", "derecha"}
# Function words: which language a caption is in, roughly. Words that English has too are left out.
OTHERS_WORDS = set(
    "der das und ein eine einer einem einen mit von auf im dem den le les un une et avec dans sur du des est el los "
    "las una con en por y il lo gli di che het een met van op och ett med på og i av".split()
) - {"i", "den", "met", "van", "lo", "sur", "y", "en", "con"}


@dataclasses.dataclass(frozen=True)
class DataFacts:
    """What the pictures and captions are like.

    Attributes:
      pictures: of the training split; `distinct` of them differ.
      held_out: (pictures to validate on, pictures to test on).
      width_px, height_px, short_side_px: medians, before decoding.
      style: "pixel art", "drawings" or "photographs".
      flat_share: median share of pixels that equal their neighbours.
      cut_share: share of the pictures that a square crop takes more than a fifth of.
      alpha_share, visible_level, grey_share: as in `t2igan.data.peek.Peek`.
      captions: different ones, of the training pictures.
      pictures_a_caption: on average, by first captions.
      caption_words: the median; `longest_tokens` of the longest caption, marks of begin and end included.
      vocabulary: different words.
      unseen_share: share of the held-out captions with a word that no training caption has.
      english: whether they seem to be in English.
      sides_share: share of captions that tell left from right.
    """

    pictures: int
    distinct: int
    held_out: tuple[int, int]
    width_px: int
    height_px: int
    short_side_px: int
    style: str
    flat_share: float
    cut_share: float
    alpha_share: float
    visible_level: float
    grey_share: float
    captions: int
    pictures_a_caption: float
    caption_words: int
    longest_tokens: int
    vocabulary: int
    unseen_share: float
    english: bool
    sides_share: float


@dataclasses.dataclass(frozen=True)
class MachineFacts:
    """What the machine can do.

    Attributes:
      platform, kind: of the devices, as JAX names them: "cpu", "gpu".
      devices: how many are used.
      cores: of the processor.
      memory_bytes: of a device; of the machine, where that is a CPU; 0 = not known.
      float32_flop_s, bfloat16_flop_s: of 3x3 convolutions, forward and backward, on one device.
      text_models: pretrained text encoders that are installed.
      load: processes that wanted a core, before anything was measured; 0 = not known.
    """

    platform: str
    kind: str
    devices: int
    cores: int
    memory_bytes: int
    float32_flop_s: float
    bfloat16_flop_s: float
    text_models: tuple[str, ...] = ()
    load: float = 0.0


@dataclasses.dataclass(frozen=True)
class Rates:
    """How fast a phase was when some of its steps were run: pictures a second, and the seconds that it compiled."""

    images_s: float
    compile_s: float


def style_of(seen: Peek) -> str:
    """Returns "pixel art", "drawings" or "photographs"."""
    if seen.long_side_px <= PIXEL_ART_PX:
        return "pixel art"
    return "drawings" if seen.flat_share >= DRAWN_FLAT_SHARE else "photographs"


def data_facts(seen: Peek, datasets: Sequence[Dataset], tokenizer_config: Any) -> DataFacts:
    """Returns the facts of train, val and test, opened, of which `seen` was a look."""
    train = datasets[0]
    words = _words(train.captions)
    captions = [caption for of_one in train.captions for caption in of_one]
    counted = captions[:: len(captions) // COUNTED_CAPTIONS + 1]
    t = tokenizer_config
    tokens = Tokenizer.train(counted, t.vocab_size, 1 << 14, t.lowercase).lengths(counted)
    held = [one for one in different(datasets) if one.split != train.split]
    known = {word for of_one in words for word in of_one}
    unknown = [not of_one <= known for one in held for of_one in _words(one.captions)]
    return DataFacts(
        pictures=len(train),
        distinct=different_pictures(train),
        held_out=(len(datasets[1]), len(datasets[2])),
        width_px=seen.width_px,
        height_px=seen.height_px,
        short_side_px=seen.short_side_px,
        style=style_of(seen),
        flat_share=seen.flat_share,
        cut_share=seen.cut_share,
        alpha_share=seen.alpha_share,
        visible_level=seen.visible_level,
        grey_share=seen.grey_share,
        captions=len({as_compared(caption) for caption in captions}),
        pictures_a_caption=pictures_a_caption(train.captions),
        caption_words=int(np.median([len(caption.split()) for caption in counted])),
        longest_tokens=int(tokens.max()),
        vocabulary=len(known),
        unseen_share=float(np.mean(unknown)) if unknown else 0.0,
        english=_is_english(counted),
        sides_share=float(np.mean([bool(of_one & SIDES) for of_one in words])),
    )


def installed_text_models(packages: Mapping[str, Any] = PACKAGES) -> tuple[str, ...]:
    """Returns the names of pretrained text encoders whose package is installed."""
    return tuple(name for name, package in packages.items() if importlib.util.find_spec(package.module) is not None)


def _words(captions: Sequence[Sequence[str]]) -> list[set[str]]:
    return [{word for caption in of_one for word in WORD.findall(caption.lower())} for of_one in captions]


def _is_english(captions: Sequence[str]) -> bool:
    """Whether few letters are beyond ASCII, and few captions have function words of other languages."""
    letters = "".join(captions[:2000])
    letters = [c for c in letters if c.isalpha()]
    ascii_share = sum(c.isascii() for c in letters) / max(len(letters), 1)
    others = [bool(set(WORD.findall(caption.lower())) & OTHERS_WORDS) for caption in captions]
    return ascii_share > 0.97 and float(np.mean(others)) < 0.2
