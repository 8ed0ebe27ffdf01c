"""How captions of a data set say attributes, to the letter: what a prompt with a weight or an AND is made from."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

Attributes = dict[str, str]
TONES = ("light", "medium-light", "medium", "medium-dark", "dark")  # of an emoji's skin
TONED = re.compile(rf"({'|'.join(sorted(TONES, key=len, reverse=True))}) skin tone")


@dataclasses.dataclass(frozen=True)
class Part:
    """What a caption says in one phrase, and can do without: the names of its attributes, and the phrase."""

    names: tuple[str, ...]
    said: Callable[[Attributes], str]

    def of(self, attributes: Attributes) -> Attributes:
        """Returns the attributes of this part alone."""
        return {name: value for name, value in attributes.items() if name in self.names}


@dataclasses.dataclass(frozen=True)
class Wording:
    """The captions of a data set.

    Attributes:
      caption: (attributes, number of a phrasing) -> caption.
      phrasings: how many there are.
      needed: attributes of the pictures of whose captions prompts are made.
      weighed: the part that is weighed, and left out.
      joined: two parts that are joined by AND.
      base: what the joined captions have in common, of a picture's attributes.
      second: attributes of the second part, where they are the same for all pictures; {} = those of the picture.
      negative: a shorter word for the weighed part, and of which pictures it is one.
    """

    caption: Callable[[Attributes, int], str]
    phrasings: int
    needed: frozenset[str]
    weighed: Part
    joined: tuple[Part, Part]
    base: Callable[[Attributes], Attributes]
    second: Attributes
    negative: tuple[str, Callable[[Attributes], bool]]

    def captions(self, attributes: Attributes) -> tuple[str, ...]:
        """Returns all captions of a picture's attributes."""
        return tuple(self.caption(attributes, i) for i in range(self.phrasings))


def without(attributes: Attributes, *names: str) -> Attributes:
    """Returns attributes that lack some."""
    return {name: value for name, value in attributes.items() if name not in names}


def a(words: str) -> str:
    """Returns words with their indefinite article."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def pixel_avatar(of: Attributes, phrasing: int = 0) -> str:
    """Returns the caption of a pixel avatar, in either of the two phrasings of docs/make_pixel_avatars.mjs."""
    hair = f"{of['hair']} {of['hairColor']} hair" if "hair" in of else ""
    hat = _HAT.said(of) if "hat" in of else ""
    parts = [part for part in (hair, "a beard" if "beard" in of else "", of.get("glasses", ""), hat) if part]
    if phrasing:
        shown = f" with {' and '.join(parts)}" if parts else ""
        return f"pixel art of a person in {of['clothingColor']}{shown}, {of['skinColor']} skin"
    top = f"a {of['clothingColor']} top"
    return f"a pixel person with {', '.join(parts)} and {top}, {of['skinColor']} skin".replace("with  and ", "with ")


def toon_avatar(of: Attributes, phrasing: int = 0) -> str:
    """Returns the caption of a toon avatar, in one of the three phrasings of docs/make_toon_avatar_pairs.mjs."""
    rear = f"{of['rearHair']} " if "rearHair" in of else ""
    bun = of["hair"] == "bun"
    hair = rear + (f"{of['hairColor']} hair in a bun" if bun else f"{of['hairColor']} {of['hair']} hair")
    garment = f"{of['clothesColor']} {of['clothes']}"
    if phrasing == 2:
        beard = f", {of['beard']}" if "beard" in of else ""
        return f"{of['mouth']} face, {hair}{beard}, {garment}, {of['skinColor']}"
    beard = f" and {a(of['beard'])}" if "beard" in of else ""
    if phrasing:
        return f"a person in {a(garment)} with {hair}{beard}, {of['mouth']}, {of['skinColor']}"
    return f"{a(of['mouth'])} person with {hair}{beard} wearing {a(garment)}, {of['skinColor']}"


_HAT = Part(("hat", "hatColor"), lambda of: f"a {of['hatColor']} {of['hat']}")
_BEARD = Part(("beard",), lambda of: a(of["beard"]))
_REAR_HAIR = Part(("rearHair",), lambda of: f"{of['rearHair']} hair")

# By the name of the data (`config.data.source`). Captions of other data sets are names that cannot be taken apart.
WORDINGS = {
    "pixel_avatars": Wording(
        caption=pixel_avatar,
        phrasings=2,
        needed=frozenset({"hat", "hair"}),
        weighed=_HAT,
        joined=(_HAT, Part(("beard",), lambda of: "a beard")),  # noqa: ARG005
        base=lambda of: without(of, "hat", "hatColor", "beard", "glasses") | {"hair": "long"},
        second={"beard": "beard"},
        negative=("a hat", lambda of: of["hat"] == "hat"),
    ),
    "toon_avatars": Wording(
        caption=toon_avatar,
        phrasings=3,
        needed=frozenset({"beard", "rearHair"}),
        weighed=_BEARD,
        joined=(_REAR_HAIR, _BEARD),
        base=lambda of: without(of, "beard", "rearHair"),
        second={},
        negative=("a beard", lambda of: of["beard"].endswith("beard")),
    ),
}
