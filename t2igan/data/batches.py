"""The batch of a step, as a pure function of (seed, step, process): to go on, only the step need be known."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from t2igan.data.dataset import Dataset
from t2igan.data.partial import SHARED, PartialRows
from t2igan.data.tokenizer import Tokenizer
from t2igan.errors import UserError


class Batches:
    """`batches[step]` for any step >= 0, in any order.

    Every epoch is shuffled anew, and batches run across epochs, so that small data makes big batches too. A picture
    with repeats (`Dataset.repeats`) comes that many times in an epoch.
    Several processes get consecutive slices of the batch that one process would get.
    """

    def __init__(
        self,
        dataset: Dataset,
        tokenizer: Tokenizer,
        *,
        seed: int,
        batch_images: int,
        process_index: int = 0,
        process_count: int = 1,
        columns: Mapping[str, np.ndarray] | None = None,
        partial_share: float = 0.0,
        tell_shared: bool = False,
    ):
        """Reads the captions; opens no picture.

        Args:
          dataset: the pictures and their captions.
          tokenizer: of the captions.
          seed: of the order, and of which caption a picture comes with.
          batch_images: over all processes.
          process_index: which of the processes this is, from 0.
          process_count: how many there are.
          columns: what batches have besides, by name: an array [N, ...] with a row for each picture of the dataset.
          partial_share: of the pictures come with a part of their caption (`t2igan.data.partial`), from 0 to 1.
          tell_shared: whether batches have the column `SHARED`.

        Raises:
          UserError: data without pictures, or a batch that the processes cannot share evenly.
          ValueError: a column with another number of rows.
        """
        import grain

        if not len(dataset):
            raise UserError(f"{dataset.name}, split {dataset.split!r}: no picture to make batches of.")
        if batch_images < 1 or batch_images % process_count:
            raise UserError(
                f"a batch of {batch_images} pictures cannot be shared by {process_count} process(es): "
                f"choose a multiple of {process_count}."
            )
        self.dataset = dataset
        self._columns = dict(columns or {})
        for name, values in self._columns.items():
            if len(values) != len(dataset):
                raise ValueError(f"column {name!r} has {len(values)} rows for {len(dataset)} pictures")
        self._seed = seed
        self._batch_images = batch_images
        share = batch_images // process_count
        self._slice = slice(process_index * share, (process_index + 1) * share)
        self._num_captions = np.array([len(captions) for captions in dataset.captions], np.int64)
        self._first_caption = np.cumsum(self._num_captions) - self._num_captions
        captions = [caption for captions in dataset.captions for caption in captions]
        self._partial = PartialRows(captions, partial_share) if partial_share or tell_shared else None
        self._tell_shared = tell_shared
        self._tokens = tokenizer.table([*captions, *(self._partial.captions if self._partial else ())])
        self._one_caption_each = bool((self._num_captions == 1).all())
        repeats = 1 if dataset.repeats is None else dataset.repeats
        self._drawn = np.repeat(np.arange(len(dataset)), repeats)  # each picture as often as an epoch has it
        self._indices = (
            grain.MapDataset.range(len(self._drawn))
            .seed(seed % 2**32)
            .shuffle()
            .repeat()
            .batch(batch_images, drop_remainder=True, batch_fn=np.asarray)
        )

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        """Returns columns, `images` uint8 [B / process_count, H, W, C] and `tokens`, rows of `Tokenizer.table`.

        Where it is to be told also `SHARED`, bool [B / process_count]: which captions are true of other pictures too.
        """
        indices = self._drawn[self._indices[step][self._slice]]
        captions = self._first_caption[indices]
        if not self._one_caption_each:
            # Drawn for the whole batch and then cut: a caption must not depend on the number of processes.
            random = np.random.Generator(np.random.Philox(key=[self._seed % 2**64, step]))
            uniform = random.random(self._batch_images)[self._slice]
            captions = captions + (uniform * self._num_captions[indices]).astype(np.int64)
        columns = {name: values[indices] for name, values in self._columns.items()}
        if self._partial:
            random = np.random.Generator(np.random.Philox(key=[self._seed % 2**64, step], counter=[0, 0, 0, 1]))
            uniform = random.random((2, self._batch_images))[:, self._slice]
            captions, shared = self._partial.replaced(captions, *uniform)
            columns |= {SHARED: shared} if self._tell_shared else {}
        return {"images": self.dataset.images[indices], "tokens": self._tokens[captions]} | columns


def prefetched(
    batch_of: Callable[[int], dict[str, np.ndarray]], start: int, stop: int, depth: int = 4
) -> Iterator[dict[str, np.ndarray]]:
    """Yields the batches of steps `start` to `stop - 1`, at most `depth` of them made ahead while one is in use.

    The order and the batches are those of a plain loop; an error is raised where its batch would be.
    """
    with ThreadPoolExecutor(min(depth, 2), thread_name_prefix="batches") as pool:
        ahead: deque[Future] = deque()
        try:
            for step in range(start, stop):
                while len(ahead) < depth and step + len(ahead) < stop:
                    ahead.append(pool.submit(batch_of, step + len(ahead)))
                yield ahead.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
