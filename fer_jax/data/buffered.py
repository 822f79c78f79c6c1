"""Batches out of shuffle buffers that are filled by sorted reads: for disks that are slow at reading here and there.

The examples of one buffer, see `sampler.Order.windows`, are read in the order in which they lie, all threads at one
front, and only those of this host. While its batches are used, the next buffer is filled.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures

import numpy as np

from fer_jax.data import lazy, sampler


def feeds(
    images: np.ndarray,
    targets: np.ndarray,
    order: sampler.Order,
    batch_size: int,
    shard: slice,
    step: int,
    steps: int,
    chunks: int,
) -> Iterator[dict[str, np.ndarray]]:
    """What `TfPipeline.feeds` gives, bit for bit, for an order with a buffer.

    Args:
      images: uint8 (N, H, W, C), an array or `lazy.Images`.
      targets: float32 (N, classes).
      order: of the examples.
      batch_size, shard: the global batch, and this host's part of it.
      step, steps, chunks: see there.
    """
    with futures.ThreadPoolExecutor(lazy.reading_threads(), "gather") as pool, _one_thread() as filling:
        left_images, left_rows = [], []  # of buffers that were read and not used up, in order
        size = steps * len(range(*shard.indices(batch_size)))
        for filled in _ahead(filling, images, order.windows(step, steps * chunks, batch_size), batch_size, shard, pool):
            left_images.append(filled[0])
            left_rows.append(filled[1])
            while sum(map(len, left_rows)) >= size:
                rows = np.concatenate(left_rows)
                pixels = left_images[0] if len(left_images) == 1 else np.concatenate(left_images)
                feed = {"images": pixels[:size], "targets": targets[rows[:size]]}
                left_images, left_rows = [pixels[size:]], [rows[size:]]
                yield {name: value.reshape(steps, size // steps, *value.shape[1:]) for name, value in feed.items()}


def read_sorted(images: np.ndarray, rows: np.ndarray, pool: futures.Executor) -> np.ndarray:
    """uint8 (n, H, W, C): the images at `rows` (int (n,)), in that order, read in the order in which they lie."""
    found = np.empty((len(rows), *images.shape[1:]), np.uint8)
    by_place = np.argsort(rows, kind="stable")

    def read(part: np.ndarray) -> None:
        here = np.empty((len(part), *images.shape[1:]), np.uint8)
        lazy.gather(images, rows[part], here)
        found[part] = here

    for _ in pool.map(read, (by_place[start:stop] for start, stop in lazy.blocks(found.shape))):
        pass
    return found


def _ahead(
    filling: futures.Executor,
    images: np.ndarray,
    windows: Iterator[tuple[np.ndarray, np.ndarray]],
    batch_size: int,
    shard: slice,
    pool: futures.Executor,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The images and the rows of each window that are this host's; the next one is read while one is used."""

    def fill(window: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        positions, rows = window
        first, last, _ = shard.indices(batch_size)
        places = positions % batch_size
        rows = rows[(places >= first) & (places < last)]
        return read_sorted(images, rows, pool), rows

    following = None
    for window in windows:
        current, following = following, filling.submit(fill, window)
        if current is not None:
            yield current.result()
    if following is not None:
        yield following.result()


def _one_thread() -> futures.ThreadPoolExecutor:
    return futures.ThreadPoolExecutor(1, "buffer")
