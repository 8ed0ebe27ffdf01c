"""Pictures from captions with an ONNX export of t2igan: onnxruntime, tokenizers and NumPy, nothing else.

    pip install onnxruntime tokenizers numpy
    python sample.py --prompt="a pixel person with a red cap, light skin" --num=4 --out=sheet.png

It lies in the exported folder, beside model.onnx, which has the tokenizer inside.
"""

import argparse
import json
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import onnxruntime
import tokenizers

HERE = Path(__file__).parent
MARKS = 2  # of begin and end, in every row of ids


class Model:
    """The exported model: `model(captions, seeds)` -> uint8 [N, H, W, C]; any number of pictures at once."""

    def __init__(self, path=HERE / "model.onnx", threads=0):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads  # 0 = a thread a core
        self.session = onnxruntime.InferenceSession(str(path), options, providers=onnxruntime.get_available_providers())
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.about = json.loads(metadata["t2igan"])
        self.provenance = json.loads(metadata["provenance"])  # what pictures say of how they were made
        self.tokenizer = tokenizers.Tokenizer.from_str(metadata["tokenizer"])
        self.tokenizer.encode_special_tokens = True  # a caption that spells "<end>" is text; the file cannot say so

    def tokens(self, captions):
        """Captions as int64 [N, T], no longer than they need; what is longer than the model's is cut."""
        ids = np.array([encoding.ids for encoding in self.tokenizer.encode_batch(list(captions))], np.int64)
        lengths = (ids != 0).sum(1)
        if lengths.min() <= MARKS:
            raise ValueError("a caption is empty; say in words what to draw")
        return ids[:, : lengths.max()]

    def __call__(self, captions, seeds, truncation=1.0, guidance=1.0):
        """Draws the picture of each pair of caption and seed, as t2igan does."""
        values = {"seeds": np.asarray(seeds, np.int64), "truncation": np.float32(truncation)}
        return self.run(captions, values, guidance)

    def from_noise(self, captions, z, guidance=1.0):
        """Draws from noise of your own, float32 [N, Z], with model_z.onnx: float32 [N, H, W, C] around [-1, 1]."""
        return self.run(captions, {"z": np.asarray(z, np.float32)}, guidance)

    def texts(self, **settings):
        """The texts of a PNG, by keyword: XMP's digital source type, and the recipe, which `t2igan verify` reads."""
        recipe = self.provenance["recipe"] | {"cut_long": True} | settings  # captions as they stand, long ones cut
        return self.provenance["texts"] | {"t2igan": json.dumps(recipe, ensure_ascii=False)}

    def run(self, captions, values, guidance):
        """Calls the model."""
        if self.about["guidance"]:
            values["guidance"] = np.float32(guidance)
        elif guidance != 1:
            raise ValueError(f"guidance={guidance}: this model was not trained for it; leave it at 1")
        values["tokens"] = self.tokens(captions)
        # onnxruntime takes arrays only, of whatever rank.
        (images,) = self.session.run(None, {name: np.asarray(value) for name, value in values.items()})
        return images


def write_png(path, image, texts):
    """Writes uint8 [H, W, C] as a PNG: grey, RGB, or RGB with transparency; with texts by keyword."""
    height, width, channels = image.shape
    rows = b"".join(b"\0" + row.tobytes() for row in image)
    header = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    said = [(b"iTXt", key.encode() + bytes(5) + text.encode("utf-8", "replace")) for key, text in texts.items()]
    parts = [(b"IHDR", header), *said, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    Path(path).write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description="Draws pictures from a caption, side by side.")
    parser.add_argument("--model", default=HERE / "model.onnx")
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--num", type=int, default=1, help="how many pictures")
    parser.add_argument("--seed", type=int, default=0, help="of the first")
    parser.add_argument("--truncation", type=float, default=1.0, help="less = more typical pictures")
    parser.add_argument("--guidance", type=float, default=1.0, help="above 1 leans towards the caption")
    parser.add_argument("--scale", type=int, default=8, help="enlarges pixels so many times")
    parser.add_argument("--out", default="sheet.png")
    given = parser.parse_args()
    seeds = list(range(given.seed, given.seed + given.num))
    model, how = Model(given.model), {"truncation": given.truncation, "guidance": given.guidance}
    try:
        images = model([given.prompt] * given.num, seeds, **how)
    except ValueError as error:
        sys.exit(f"{error}")
    sheet = np.concatenate(list(images.repeat(given.scale, 1).repeat(given.scale, 2)), axis=1)
    how |= {"prompts": [given.prompt], "seeds": seeds, "scale": given.scale, "layout": "row"}
    write_png(given.out, sheet, model.texts(**how))
    print(f"{given.num} pictures in {given.out}")


if __name__ == "__main__":
    main()
