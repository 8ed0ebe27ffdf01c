"""Editing pictures with a trained model: to codes and back, completed, edited, varied, mixed.

codes = invert(model, images, captions)  # -> Codes: noise, styles, offsets, captions
images = complete(model, image, hidden, "a caption", num=4)
edited = edit(model, image, "the new caption", caption="what it shows")
described = describe(model, images)  # captions, how sure they are, and how unlike the training pictures are
images = vary(model, codes, strength=0.5, num=8)
frames = mix(model, codes[:1], codes[1:], num=16)
"""

from __future__ import annotations

from t2igan.inference.editing.changing import Edited, edit, vary
from t2igan.inference.editing.codes import Codes
from t2igan.inference.editing.completing import Completed, complete, complete_each, completed, has_completer
from t2igan.inference.editing.composing import compose, diversity_levels
from t2igan.inference.editing.describing import Description, describe, has_captioner
from t2igan.inference.editing.given import decoding_of, padded, read_mask, read_picture
from t2igan.inference.editing.inverting import UNLIKE_DB, drawn_codes, invert
from t2igan.inference.editing.mixing import mix, mix_styles

__all__ = [
    "UNLIKE_DB",
    "Codes",
    "Completed",
    "Description",
    "Edited",
    "complete",
    "complete_each",
    "completed",
    "compose",
    "decoding_of",
    "describe",
    "diversity_levels",
    "drawn_codes",
    "edit",
    "has_captioner",
    "has_completer",
    "invert",
    "mix",
    "mix_styles",
    "padded",
    "read_mask",
    "read_picture",
    "vary",
]
