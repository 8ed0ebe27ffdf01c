"""Pictures of a file of prompts by Ray Data, into Parquet files, for those who run a Ray cluster already.

    pip install t2igan 'ray[data]'
    python deploy/ray_data.py --workdir=runs/base --prompts=captions.txt --out=pictures

`t2igan sample --shard=I/N` does the same without Ray, and begins anew only with what is missing.
"""

import argparse
import io
from pathlib import Path


class Draw:
    """Draws a batch of prompts; one a worker, so that a model is loaded and compiled once."""

    def __init__(self, workdir):
        """Loads the model."""
        import t2igan
        from t2igan.training.distributed import parallel

        parallel.start()  # keeps compiled programs for the next worker of this machine
        self.model = t2igan.load(workdir)

    def __call__(self, batch):
        """Adds "png" to a batch that has "text" and "seed"."""
        from PIL import Image

        images = self.model.sample([str(text) for text in batch["text"]], seed=[int(seed) for seed in batch["seed"]])
        files = []
        for image in images:
            file = io.BytesIO()
            Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "PNG")
            files.append(file.getvalue())
        return batch | {"png": files}


def main(arguments=None):
    """Draws all prompts."""
    import ray

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--prompts", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args(arguments)
    rows = ray.data.read_text(str(given.prompts.absolute())).map(lambda row: row | {"seed": given.seed})
    drawn = rows.map_batches(Draw, fn_constructor_args=[given.workdir], concurrency=given.workers, batch_size=64)
    drawn.write_parquet(str(given.out.absolute()))


if __name__ == "__main__":
    main()
