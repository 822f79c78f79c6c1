"""Examples written to disk once: decoded by all cores in bounded memory, resumed where it stopped, by one process.

Images are written in blocks of about 4 MB, each decoded by one thread; a journal holds the checksum of each block that
is done. What is being prepared lies in a hidden folder beside the place where it will appear, and is renamed when it is
whole. Of several processes that share the folder the first prepares, the others wait for it and then open what it made.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import shutil
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import Any, cast

import numpy as np
from absl import logging
from tqdm import tqdm

from fer_jax.data import identity, lazy, mapped
from fer_jax.data.examples import Examples
from fer_jax.data.lazy import Images

JOURNAL, LOCK = "blocks.txt", "lock"
SPARE_BYTES = 64 << 20  # that stay free on the disk
FORGOTTEN_AFTER = 14 * 24 * 3600  # seconds after which what was begun and never finished is deleted


@contextlib.contextmanager
def turn(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """The folder in which what will be `path` is prepared, held by this process alone; waits for another's turn.

    It may hold what another process began. OSError where nothing can be written.
    """
    folder = path.with_name(f".{path.name}.partial")
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = (folder / LOCK).open("a+", encoding="utf-8")
        except FileNotFoundError:  # the process that was preparing has just renamed it
            continue
        with lock:
            _wait(lock.fileno(), path)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock.fileno()), (folder / LOCK).stat()):
                    try:
                        yield folder
                    finally:
                        _remove_unused(folder)
                    return


def write(folder: pathlib.Path, path: pathlib.Path, examples: Examples) -> None:
    """Write `examples` whole as `path`, by way of `folder`, which `turn` gave.

    Raises:
      UnreadableError: images cannot be decoded; nothing is kept of what was prepared.
      OSError: with ENOSPC where there is no room. What was prepared is kept, and a later call goes on from there.
    """
    _forget_others(folder)
    try:
        checksums = _write_images(folder, examples.images)
    except lazy.UnreadableError:
        shutil.rmtree(folder)
        raise
    # While the pages are in memory, so that later runs need not read every image to know them.
    mapped.write_rest(folder, examples, checksums, identity.digests(mapped.map_images(folder)))
    for name in (JOURNAL, LOCK):
        (folder / name).unlink()
    old = folder.with_suffix(".old")
    if path.exists():
        path.replace(old)
    folder.replace(path)
    shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)


def _remove_unused(folder: pathlib.Path) -> None:
    """Delete the folder of a turn in which there was nothing to do."""
    with contextlib.suppress(OSError):
        if [path.name for path in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()
            folder.rmdir()


def discard(path: pathlib.Path) -> None:
    """Delete what was begun for `path`, where that is possible."""
    shutil.rmtree(path.with_name(f".{path.name}.partial"), ignore_errors=True)


def _wait(lock: int, path: pathlib.Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        logging.info("another process prepares %s: waiting for it", path)
        fcntl.flock(lock, fcntl.LOCK_EX)


def _write_images(folder: pathlib.Path, images: np.ndarray | Images) -> list[int]:
    """Write images.npy; the CRC-32 of each of its blocks."""
    shape, bounds = images.shape, list(lazy.blocks(images.shape))
    done, offset = _resume(folder, shape)
    missing = [block for block in range(len(bounds)) if block not in done]
    row = int(np.prod(shape[1:], dtype=np.int64))
    _require_room(folder, row * sum(bounds[block][1] - bounds[block][0] for block in missing))
    problems: list[str] = []

    buffers = threading.local()

    def write_block(block: int, read: Callable[[np.ndarray], None]) -> tuple[int, int]:
        if not hasattr(buffers, "block"):
            buffers.block = np.empty((lazy.rows_of_block(shape), *shape[1:]), np.uint8)
        filled = buffers.block[: bounds[block][1] - bounds[block][0]]
        read(filled)
        pixels = filled.data.cast("B")
        _write_at(file.fileno(), pixels, offset + bounds[block][0] * row)
        return block, zlib.crc32(pixels)

    with (
        (folder / mapped.IMAGES).open("r+b") as file,
        (folder / JOURNAL).open("a", encoding="utf-8") as journal,
        _bar(shape[0], sum(bounds[block][1] - bounds[block][0] for block in done)) as bar,
        _pool(threads := len(os.sched_getaffinity(0))) as pool,
    ):
        blocks = ((block, _reader(images, *bounds[block])) for block in missing)
        for future in _in_turn(pool, write_block, blocks, 2 * threads):
            try:
                block, checksum = future.result()
            except lazy.UnreadableError as error:
                problems += error.problems
                continue
            journal.write(f"{block} {checksum}\n")
            journal.flush()
            done[block] = checksum
            bar.update(bounds[block][1] - bounds[block][0])
        os.fsync(file.fileno())  # before the manifest claims that it is there
    if problems:
        raise lazy.UnreadableError(sorted(problems))
    return [done[block] for block in range(len(bounds))]


def _reader(images: np.ndarray | Images, start: int, stop: int) -> Callable[[np.ndarray], None]:
    """What writes the images from `start` to `stop` into an array, elsewhere: a stream is read here, decoded there."""
    rows = np.arange(start, stop)
    if not isinstance(images, lazy.Streamed):
        return lambda out: lazy.gather(cast(np.ndarray, images), rows, out)
    stored = images.stored(rows)
    return lambda out: images.fit_into(stored, out)


def _in_turn(
    pool: futures.ThreadPoolExecutor, work: Callable[..., Any], calls: Iterable[tuple[Any, ...]], most: int
) -> Iterator[futures.Future]:
    """The futures of `work` with each of `calls`, as they are done; at most `most` are taken from `calls` ahead."""
    running: set[futures.Future] = set()
    for call in calls:
        running.add(pool.submit(work, *call))
        if len(running) >= most:
            done, running = futures.wait(running, return_when=futures.FIRST_COMPLETED)
            yield from done
    yield from futures.as_completed(running)


def _resume(folder: pathlib.Path, shape: tuple[int, ...]) -> tuple[dict[int, int], int]:
    """The checksums of the blocks that are there and whole, and where in images.npy the images begin."""
    head = json.dumps(shape)
    journal = folder / JOURNAL
    try:
        first, *lines = journal.read_text(encoding="utf-8").splitlines()
        if first != head:
            raise ValueError("images of another shape")
        offset = mapped.offset_of_images(folder)
        said = {int(block): int(checksum) for block, checksum in (line.split() for line in lines if " " in line)}
        with (folder / mapped.IMAGES).open("rb") as file:
            done = {
                block: checksum
                for block, checksum in said.items()
                if mapped.checksum_of_block(file, offset, shape, block) == checksum
            }
        logging.info("going on with %s: %d blocks are there", folder, len(done))
    except (OSError, ValueError):
        done, offset = {}, mapped.create_images(folder, shape)
    journal.write_text(
        "".join([f"{head}\n", *(f"{block} {checksum}\n" for block, checksum in done.items())]), encoding="utf-8"
    )
    return done, offset


def _require_room(folder: pathlib.Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        reason = f"{needed / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free on its disk"
        raise OSError(errno.ENOSPC, reason, str(folder))


def _write_at(file: int, content: memoryview, place: int) -> None:
    while len(content):
        written = os.pwrite(file, content, place)
        content, place = content[written:], place + written


def _pool(threads: int) -> contextlib.AbstractContextManager[futures.ThreadPoolExecutor]:
    """Threads; after an error or an interrupt what has not begun is not done."""
    pool = futures.ThreadPoolExecutor(threads, "prepare")

    @contextlib.contextmanager
    def ending() -> Iterator[futures.ThreadPoolExecutor]:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)

    return ending()


def _bar(images: int, done: int) -> tqdm:
    """A bar that appears where it takes longer than a second, on a terminal."""
    return tqdm(
        total=images,
        initial=done,
        desc="preparing",
        unit="img",
        unit_scale=True,
        delay=1,
        disable=None,
        file=sys.stderr,
    )


def _forget_others(folder: pathlib.Path) -> None:
    """Delete what was begun beside `folder` a fortnight ago and more, by nobody who still holds it."""
    for other in folder.parent.glob(".*.partial"):
        with contextlib.suppress(OSError):
            if other != folder and time.time() - (other / JOURNAL).stat().st_mtime > FORGOTTEN_AFTER:
                with (other / LOCK).open("a+", encoding="utf-8") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(other)
