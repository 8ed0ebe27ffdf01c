"""Pictures from captions with a StableHLO export of t2igan: jax, tokenizers and NumPy, nothing else of it.

    pip install jax flatbuffers tokenizers
    python sample.py --prompt="a pixel person with a red cap, light skin" --num=4 --out=pictures.npy

It lies in the exported folder, beside model.stablehlo, model.json and tokenizer.json.
"""

import argparse
import json
from pathlib import Path

import jax
import jax.export
import numpy as np
import tokenizers

HERE = Path(__file__).parent


class Model:
    """The exported model: `model(captions, seeds)` -> uint8 [N, H, W, C]; any number of pictures at once."""

    def __init__(self, folder=HERE):
        folder = Path(folder)
        self.about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self.tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.encode_special_tokens = True  # a caption that spells "<end>" is text; the file cannot say so
        weights = folder / "weights.npz"  # there where they were left out of the programs
        self.weights = (dict(np.load(weights)),) if weights.is_file() else ()
        self.programs = {}
        for name in ("model", "model_z"):
            exported = jax.export.deserialize(bytearray((folder / f"{name}.stablehlo").read_bytes()))
            self.programs[name] = jax.jit(exported.call)

    def tokens(self, captions):
        """Captions as int32 [N, T]; longer ones are cut."""
        return np.array([encoding.ids for encoding in self.tokenizer.encode_batch(list(captions))], np.int32)

    def __call__(self, captions, seeds, truncation=1.0, guidance=1.0):
        """Draws the picture of each pair of caption and seed, as t2igan does."""
        return np.asarray(self.run("model", captions, np.asarray(seeds, np.uint32), guidance, np.float32(truncation)))

    def from_noise(self, captions, z, guidance=1.0):
        """Draws from noise of your own, float32 [N, Z]: float32 [N, H, W, C] in [-1, 1] or a little beyond."""
        return np.asarray(self.run("model_z", captions, np.asarray(z, np.float32), guidance))

    def run(self, name, captions, noise, guidance, *numbers):
        """Calls one of the two programs."""
        if self.about["guidance"]:
            numbers += (np.float32(guidance),)
        elif guidance != 1:
            raise ValueError(f"guidance={guidance}: this model was not trained for it; leave it at 1")
        return self.programs[name](*self.weights, self.tokens(captions), noise, *numbers)


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description="Draws pictures from a caption.")
    parser.add_argument("--model", default=HERE, help="the exported folder")
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--num", type=int, default=1, help="how many pictures")
    parser.add_argument("--seed", type=int, default=0, help="of the first")
    parser.add_argument("--truncation", type=float, default=1.0)
    parser.add_argument("--guidance", type=float, default=1.0)
    parser.add_argument("--out", default="pictures.npy", help="uint8 [N, H, W, C]")
    given = parser.parse_args()
    seeds = range(given.seed, given.seed + given.num)
    images = Model(given.model)([given.prompt] * given.num, list(seeds), given.truncation, given.guidance)
    np.save(given.out, images)
    print(f"{images.dtype} {images.shape} in {given.out}")


if __name__ == "__main__":
    main()
