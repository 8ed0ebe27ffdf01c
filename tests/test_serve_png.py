"""PNGs of repeated pixels: what Pillow reads of them is what went in."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from t2igan.inference.provenance import EDITED, GENERATED, png_texts, read_claims
from t2igan.inference.serving.answers import pictures_response
from t2igan.inference.serving.encoding import Encoder
from t2igan.inference.serving.png import repeated_png

FACTS = {"prompt": "红帽, ünï", "seed": 1, "t2igan": "1"}


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("px", "factor"), [(16, 8), (5, 1), (1, 3), (7, 5), (2, 129), (40, 3)])
def test_pixels_and_texts_are_read_back(channels, px, factor):
    image = np.random.default_rng(0).integers(0, 256, (px, px, channels), np.uint8)
    raw = repeated_png(image, factor, png_texts(FACTS))
    with Image.open(io.BytesIO(raw)) as picture:
        found = np.asarray(picture).reshape(px * factor, px * factor, channels)
    np.testing.assert_array_equal(found, image.repeat(factor, 0).repeat(factor, 1))
    claims = read_claims(io.BytesIO(raw))
    assert (claims.facts, claims.source_type, claims.tool) == (FACTS, GENERATED, "t2igan 1")


@pytest.mark.parametrize(("facts", "source_type"), [({"seed": 1}, GENERATED), ({"verb": "complete"}, EDITED)])
@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_files_say_whether_a_picture_was_drawn_or_edited(form, facts, source_type):
    raw = Encoder().file(np.full((16, 16, 3), 9, np.uint8), 32, form, 90, facts)
    claims = read_claims(io.BytesIO(raw))
    assert claims.source_type == source_type and claims.facts.items() >= facts.items() and claims.size_px == (32, 32)


def test_an_answer_with_files_is_json():
    said, data = {"size": "8x8", "created": 3}, [{"seed": 1, "url": "ü"}, {"share": 0.5}]
    answer = json.loads(pictures_response(said, data, [b"\0\xff?", b""]).body)
    assert answer == said | {"data": [data[0] | {"b64_json": "AP8/"}, data[1] | {"b64_json": ""}]}
