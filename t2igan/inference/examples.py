"""Captions that show what a model draws: those that its configuration publishes, or its card."""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Sequence

from t2igan.inference.snapshot import Snapshot

STAND_IN = "a caption in the style of the training captions"  # where a card may tell none of them
_CODE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def drawing_code(captions: Sequence[str]) -> str:
    """Returns the line of Python by which a card draws captions, or lines; `captions_of` finds them there again."""
    named = [caption.replace("`", "'") for caption in captions] or [STAND_IN]
    listed = f"[{named[0]!r}]" if len(named) == 1 else "".join(["[\n", *(f"    {one!r},\n" for one in named), "]"])
    return f"images = model.sample({listed}, seed=0)  # uint8 [N, H, W, C]"


def captions_of(snapshot: Snapshot) -> list[str]:
    """Returns the captions that a snapshot's configuration publishes, or else its card; [] where none does."""
    chosen = snapshot.config.get("model_card", {}).get("examples", ())
    return [str(caption) for caption in chosen or _drawn_by(snapshot.model_card) if caption != STAND_IN]


def _drawn_by(card: str) -> list[str]:
    """The captions that the Python of a card draws."""
    for code in _CODE.findall(card):
        # A card may be of anybody's hand.
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            for call in ast.walk(ast.parse(code)):
                if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "sample" and call.args:
                    named = ast.literal_eval(call.args[0])
                    return named if isinstance(named, list) else [named]
    return []
