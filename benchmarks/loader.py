"""How fast pictures come: batches from the cache, decoding once, decoding at every visit.

    python -m benchmarks.loader --config=configs/base.py

All on one machine in one run, in turns, medians; the figures that matter are the ratios. Pictures are made: noise that
was smoothed, so that JPEG and PNG have about the size of photographs.
"""

from __future__ import annotations

import argparse
import functools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.scale import load

ROUNDS = 5


def seconds(work: Callable[[], object]) -> float:
    """Returns how long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turns(**works: Callable[[], object]) -> dict[str, float]:
    """Returns the median time of each, in seconds; they take turns, so that a busy machine hits all alike."""
    times = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            times[name].append(seconds(work))
    return {name: float(np.median(of_one)) for name, of_one in times.items()}


def photographs(folder: Path, num: int, side_px: int) -> tuple[list[Path], list[Path]]:
    """Writes JPEG and PNG files of smooth noise; returns their names."""
    from PIL import Image

    rng = np.random.default_rng(0)
    jpegs, pngs = [], []
    for i in range(num):
        coarse = Image.fromarray(rng.integers(0, 256, (side_px // 8, side_px // 8, 3), np.uint8))
        picture = coarse.resize((side_px, side_px), Image.Resampling.BICUBIC)
        jpegs.append(folder / f"{i:05d}.jpg")
        pngs.append(folder / f"{i:05d}.png")
        picture.save(jpegs[-1], quality=90)
        picture.save(pngs[-1])
    return jpegs, pngs


def batches_from_the_cache(folder: Path, num: int, size_px: int, batch_images: int, steps: int) -> None:
    """Compares batches of a mapped array with plain indexing and with grain's pipeline of single examples."""
    import grain

    from t2igan.data import Batches, Dataset
    from t2igan.data.tokenizer import Tokenizer

    path = folder / "images.npy"
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(num, size_px, size_px, 3))
    images[:] = np.random.default_rng(0).integers(0, 256, images.shape, np.uint8)
    images.flush()
    images = np.load(path, mmap_mode="r")
    captions = tuple((f"picture number {i}",) for i in range(num))
    tokenizer = Tokenizer.train([caption for (caption,) in captions], 512, 32)
    batches = Batches(Dataset("made", "train", images, captions), tokenizer, seed=0, batch_images=batch_images)
    tokens = tokenizer.encode([caption for (caption,) in captions])
    rows = np.random.default_rng(1).integers(0, num, (steps, batch_images))

    class Examples:
        def __len__(self):
            return num

        def __getitem__(self, index):
            return {"images": images[index], "tokens": tokens[index]}

    def by_example():
        pipeline = grain.MapDataset.source(Examples()).seed(0).shuffle().repeat().to_iter_dataset().batch(batch_images)
        iterator = iter(pipeline)
        for _ in range(steps):
            next(iterator)

    times = in_turns(
        plain=lambda: [(images[of_one], tokens[of_one]) for of_one in rows],
        ours=lambda: [batches[step] for step in range(steps)],
        grain=by_example,
    )
    rate = {name: steps * batch_images / s for name, s in times.items()}
    share, gain = rate["ours"] / rate["plain"], rate["ours"] / rate["grain"]
    print(f"batches of {batch_images} pictures of {size_px} px from a mapped array of {num:,}, one process")
    print(f"  plain NumPy indexing                {rate['plain']:12,.0f} images/s")
    print(f"  t2igan.data.Batches                 {rate['ours']:12,.0f} images/s, {share:.2f} of it")
    print(f"  grain, example by example           {rate['grain']:12,.0f} images/s, ours is {gain:.1f} x")


def behind_a_step(config_file: str, steps: int) -> None:
    """Compares a batch with the training step that it hides behind, and the loop with the bare step."""
    import jax

    from t2igan import nets
    from t2igan.data import Batches, open_dataset, prefetched
    from t2igan.data.tokenizer import Tokenizer
    from t2igan.step import Method, init_state, train_step
    from t2igan.training.distributed import parallel

    config = load(config_file)
    parallel.start(1)
    mesh = parallel.make_mesh(1)
    data = open_dataset(config.data, config.data.train_split)
    t = config.tokenizer
    tokenizer = Tokenizer.train([c for captions in data.captions for c in captions], t.vocab_size, t.max_tokens)
    batches = Batches(data, tokenizer, seed=0, batch_images=config.train.batch_images)
    method = Method.create(config, nets.build(config, tokenizer.vocab_size), total_steps=10_000)
    state = parallel.init_on(mesh, functools.partial(init_state, method, batches[0]))
    step = parallel.compile_step(functools.partial(train_step, method), mesh)
    fixed = parallel.to_devices(batches[0], mesh)
    holder = {"state": state}

    def bare():
        for _ in range(steps):
            holder["state"], _ = step(holder["state"], fixed)
        jax.block_until_ready(holder["state"])

    def loop(next_batches):
        for batch in next_batches:
            holder["state"], _ = step(holder["state"], parallel.to_devices(batch, mesh))
        jax.block_until_ready(holder["state"])

    bare()
    times = in_turns(
        batch=lambda: [batches[i] for i in range(steps)],
        bare=bare,
        plain=lambda: loop(batches[i] for i in range(steps)),
        ahead=lambda: loop(prefetched(batches.__getitem__, 0, steps)),
    )
    ms = {name: 1000 * s / steps for name, s in times.items()}
    print(f"{config_file}, batch of {config.train.batch_images}, {steps} steps")
    print(f"  one batch                           {ms['batch']:12.2f} ms, {ms['batch'] / ms['bare']:.4f} of a step")
    print(f"  one step, the same batch each time  {ms['bare']:12.2f} ms")
    print(f"  loop, batches made in turn          {ms['plain']:12.2f} ms, {ms['plain'] / ms['bare'] - 1:+.1%}")
    print(f"  loop, batches made ahead            {ms['ahead']:12.2f} ms, {ms['ahead'] / ms['bare'] - 1:+.1%}")


def decoding(folder: Path, num: int, side_px: int, size_px: int) -> None:
    """Compares decoding into the cache, and at every visit, with bare Pillow."""
    from PIL import Image

    from configs.base import get_config
    from t2igan.data.cache import decoded
    from t2igan.data.decode import Decoding
    from t2igan.data.rows import Streamed
    from t2igan.data.stored import InFile

    config = get_config().data
    config.cache_dir = str(folder / "cache")
    for kind, files in zip(("JPEG", "PNG"), photographs(folder, num, side_px), strict=True):
        places, how, cores = [InFile.of(file) for file in files], Decoding(size_px), os.cpu_count() or 1
        streamed = Streamed(places, how)
        streamed[:]  # starts the processes

        def bare(files=files):
            for file in files:
                with Image.open(file) as picture:
                    picture.draft("RGB", (3 * size_px, 3 * size_px))
                    np.asarray(picture.convert("RGB").resize((size_px, size_px), Image.Resampling.LANCZOS))

        def into_cache(places=places, how=how):
            found = decoded(places, [place.path for place in places], how, config)
            for file in (*found.folder.iterdir(), found.folder):
                file.rmdir() if file.is_dir() else file.unlink()

        times = in_turns(bare=bare, cache=into_cache, streamed=lambda streamed=streamed: streamed[:])
        rate = {name: num / s for name, s in times.items()}
        print(f"{kind} of {side_px} px -> {size_px} px, {num:,} files, {cores} cores")
        print(f"  bare Pillow, one core               {rate['bare']:12,.0f} images/s")
        for name, label in (("cache", "into the cache, threads  "), ("streamed", "at every visit, processes")):
            share = rate[name] / rate["bare"] / cores
            print(f"  {label}           {rate[name]:12,.0f} images/s, {share:.2f} of bare Pillow a core")


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/base.py")
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--files", type=int, default=1_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        batches_from_the_cache(Path(folder), given.pictures, size_px=64, batch_images=64, steps=200)
        decoding(Path(folder), given.files, side_px=256, size_px=64)
        behind_a_step(given.config, steps=30)


if __name__ == "__main__":
    main()
