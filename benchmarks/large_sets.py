"""Sets larger than memory: what preparing and streaming them costs in anonymous memory and in time.

The set is a list that names a few thousand JPEG files again and again. Memory is the `RssAnon` of a process: pages of
mapped files are the system's and are not counted.
"""

from __future__ import annotations

import contextlib
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from ml_collections import ConfigDict

from benchmarks import records
from benchmarks.chunk import Chunk
from benchmarks.waiting import UNTIL_FIRST_STEP
from fer_jax import labels
from fer_jax.data.examples import Examples
from fer_jax.distributed import parallel
from fer_jax.errors import UserError
from fer_jax.preprocess import images as image_files

FILES = 2000  # different images, as many as the small set has that a large one is compared with
BARS = ("sets", "streamed")


def measure(
    config: ConfigDict, examples: int, size: int, seconds: float, runs: int, bars: Collection[str] = BARS
) -> Iterator[dict[str, Any]]:
    """A record for each bar.

    Args:
      config: of what is trained where streaming is compared with a resident set.
      examples: of the large set, in color.
      size: of its images, in pixels.
      seconds, runs: of one measurement of a speed, and how many.
      bars: "sets" are preparing and the start of a run; "streamed" is the speed of streaming.
    """
    if "sets" in bars:
        with tempfile.TemporaryDirectory(prefix="fer_jax-sets-") as folder:
            yield from sets(pathlib.Path(folder), examples, size, runs)
    if "streamed" in bars:
        yield {"bar": "streamed over resident", **streamed_over_resident(config, 28_709, seconds, runs)}


def sets(root: pathlib.Path, examples: int, size: int, runs: int) -> Iterator[dict[str, Any]]:
    """Measure preparing, and what a run takes until its first step over a run on a small set."""
    make_files(root, size)
    flags = ("--config=default", "--config.data.source=list", f"--config.data.cache_dir={root}/cache")
    flags += (f"--config.input.size={size}", "--config.input.channels=3", "--config.data.pipeline=tf")
    flags += ("--config.data.train_split=train", "--config.data.select_split=val", "--config.data.test_split=val")
    seconds, peaks = {}, {}
    for count in (FILES, examples):
        table = f"--config.data.path={make_table(root, count)}"
        prepared = peak_of([sys.executable, "-m", "tools.prepare_data", *flags, table])
        run = [sys.executable, "-c", UNTIL_FIRST_STEP, *flags, table]
        started = [peak_of([*run, f"--workdir={root}/{count}-{i}"]) for i in range(1 + runs)][1:]  # the first compiles
        seconds[count], peaks[count] = (min(column) for column in zip(*started, strict=True))
    about = {"examples": examples, "size": size}
    rate = round(examples / prepared[0], 1)
    yield {"bar": "preparing", **about, "seconds": prepared[0], "images_per_s": rate, "peak_mb": prepared[1]}
    yield {
        "bar": "first step",
        **about,
        "more_anonymous_mb": round(peaks[examples] - peaks[FILES], 1),
        "later_s": round(seconds[examples] - seconds[FILES], 2),
        "small_s": seconds[FILES],
        "small_mb": peaks[FILES],
    }


def make_files(root: pathlib.Path, size: int) -> None:
    """Write `FILES` different color JPEG files of `size` pixels."""
    rng = np.random.default_rng(0)
    for number in range(FILES):
        small = rng.integers(0, 256, (size // 8, size // 8, 3), np.uint8)
        image_files.write(root / f"{number}.jpg", cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC))


def make_table(root: pathlib.Path, count: int) -> pathlib.Path:
    """Write a list of `count` examples, of which as many are held out in any set, and none of these is trained on."""
    path, names, held_out = root / f"{count}.csv", labels.FER2013, FILES // 10
    with path.open("w", encoding="utf-8") as file:
        file.write("file,label,split\n")
        for number in range(count):
            listed = number if number < held_out else held_out + (number - held_out) % (FILES - held_out)
            file.write(f"{listed}.jpg,{names[listed % len(names)]},{'val' if number < held_out else 'train'}\n")
    return path


def peak_of(command: Sequence[str]) -> tuple[float, float]:
    """Run a command; its seconds and the largest anonymous memory of its process in megabytes (Linux only).

    Raises:
      UserError: it fails, with its last line.
    """
    start, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log)
        while child.poll() is None:
            with contextlib.suppress(OSError):  # it has just ended
                for line in pathlib.Path(f"/proc/{child.pid}/status").read_text(encoding="utf-8").splitlines():
                    if line.startswith("RssAnon"):
                        peak = max(peak, int(line.split()[1]) * 1024)
            time.sleep(0.01)
        seconds = time.perf_counter() - start
        if child.returncode:
            log.seek(0)
            raise UserError(f"{command[:3]} failed: {(log.readlines() or ['it said nothing'])[-1].strip()}")
    return round(seconds, 2), round(peak / 1e6, 1)


def streamed_over_resident(config: ConfigDict, count: int, seconds: float, runs: int) -> dict[str, Any]:
    """Training speed of a mapped file of `count` images fed by tf.data over that of the resident set, in turns.

    Returns:
      "ratio" (median) and "runs", "by_processor_time" the same of images a second of the processor, which tells what
      streaming takes of it, and "images_per_s" of each.
    """

    rng, size, channels = np.random.default_rng(0), config.input.size, config.input.channels
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "images.npy"
        np.save(path, rng.integers(0, 256, (count, size, size, channels), np.uint8))
        images, numbers = np.asarray(np.load(path, mmap_mode="r")), rng.integers(0, 7, count, np.int32)
        examples = Examples(images, numbers, np.full(count, "Training"), labels.FER2013)
        chunks = [Chunk(config, examples, parallel.devices_for(config.batch_size), name) for name in ("tf", "device")]
        pairs = [[chunk.speed(seconds) for chunk in chunks] for _ in range(runs)]
    ratios = [streamed.images_per_s / resident.images_per_s for streamed, resident in pairs]
    costs = [streamed.images_per_cpu_s / resident.images_per_cpu_s for streamed, resident in pairs]
    rates = {name: max(pair[i].images_per_s for pair in pairs) for i, name in enumerate(("streamed", "resident"))}
    return {
        "config": config.name,
        "batch": config.batch_size,
        **records.spread("ratio", ratios),
        "by_processor_time": records.spread("ratio", costs),
        "images_per_s": rates,
    }
