"""Sets larger than memory: what preparing and streaming them costs in anonymous memory and in time.

Sets are made on the spot: a table that lists a few thousand JPEG files again and again. Each of the measurements of
memory is a process of its own, of which `RssAnon` is read; pages of mapped files are the system's and are not counted.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from concurrent import futures
from typing import Any

import cv2
import numpy as np

from fer_jax import labels
from fer_jax.benchmark import records
from fer_jax.preprocess import images as image_files

FILES = 2000  # different images
SMALL = 2000  # examples of the set that a large one is compared with
POSITIONS = 1_000_000  # of the epoch whose order is made
CHUNKS = 4  # of the training whose memory is measured
BATCH, STEPS = 128, 8
BUFFERS = (2048, 8192, 32768, 131072)


BARS = ("decoding", "sets", "streamed", "overlap", "turnover", "buffer")


def measure(
    examples: int, size: int, seconds: float, runs: int, bars: Collection[str] = BARS
) -> Iterator[dict[str, Any]]:
    """A record for each bar.

    Args:
      examples: of the large set, in colour.
      size: of its images, in pixels.
      seconds, runs: of one measurement of a speed, and how many.
      bars: which of `BARS`; "sets" are preparing, training and the second start.
    """
    with tempfile.TemporaryDirectory(prefix="fer_jax-sets-") as folder:
        root = pathlib.Path(folder)
        if {"decoding", "sets"} & {*bars}:
            _make_files(root, size)
        if "decoding" in bars:
            yield {"bar": "decoding", "size": size, **_decoding(root, size, runs)}
        if "sets" in bars:
            yield from _sets(root, examples, size, runs)
    if "streamed" in bars:
        yield {"bar": "streamed over resident", "examples": 28709, "size": 48, **_streamed_over_resident(seconds, runs)}
    if "overlap" in bars:
        yield {"bar": "overlap", "size": size, **_overlap(size, seconds, runs)}
    if "turnover" in bars:
        yield {"bar": "epoch turnover", "examples": POSITIONS, **_turnover(runs)}
    if "buffer" in bars:
        yield {"bar": "shuffle buffer", "examples": POSITIONS, "size": size, "batch": BATCH, **_buffer(size)}


def _sets(root: pathlib.Path, examples: int, size: int, runs: int) -> Iterator[dict[str, Any]]:
    """What preparing, training on and starting again with a large set take over a small one."""
    about = {"examples": examples, "size": size}
    tables = {count: _make_table(root, count) for count in (SMALL, examples)}
    prepared = {count: _child("prepare", table, size) for count, table in tables.items()}
    yield {"bar": "preparing", **about, **prepared[examples]}
    trained = {count: _child("train", table, size) for count, table in tables.items()}
    small, large = trained[SMALL], trained[examples]
    more = round(large["peak_anonymous_mb"] - small["peak_anonymous_mb"], 1)
    yield {"bar": "training", **about, "more_anonymous_mb": more, "small": small, "large": large}
    begun = {count: [_child("start", table, size) for _ in range(runs)] for count, table in tables.items()}
    fastest = {count: min(found["first_batch_s"] for found in each) for count, each in begun.items()}
    later = round(fastest[examples] - fastest[SMALL], 2)
    yield {"bar": "second start", **about, "later_s": later, "small_s": fastest[SMALL]}


def _make_files(root: pathlib.Path, size: int) -> None:
    rng = np.random.default_rng(0)
    for number in range(FILES):
        small = rng.integers(0, 256, (size // 8, size // 8, 3), np.uint8)
        image = cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC)
        image_files.write(root / f"{number}.jpg", image)


def _make_table(root: pathlib.Path, count: int) -> pathlib.Path:
    path, names = root / f"{count}.csv", labels.FER2013
    with path.open("w", encoding="utf-8") as file:
        file.write("file,label,split\n")
        for number in range(count):
            # as many held out of either set, since these are evaluated with the same program, and none trained on
            held_out = SMALL // 10
            split = "val" if number < held_out else "train"
            listed = number if number < held_out else held_out + (number - held_out) % (FILES - held_out)
            file.write(f"{listed}.jpg,{names[listed % len(names)]},{split}\n")
    return path


def _config(table: pathlib.Path, size: int) -> Any:
    from fer_jax.config import default

    config = default()
    config.data.source, config.data.path = "list", str(table)
    config.data.cache_dir = str(table.parent / "cache")
    config.input.size, config.input.channels = size, 3
    config.batch_size, config.parallel.steps_per_dispatch = BATCH, STEPS
    config.data.pipeline = "tf"
    return config


def _child(what: str, table: pathlib.Path, size: int) -> dict[str, Any]:
    code = "from fer_jax.benchmark import large_sets; large_sets.run_child()"
    command = [sys.executable, "-c", code, what, str(table), str(size), str(time.time())]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, encoding="utf-8")
    return json.loads(done.stdout.splitlines()[-1])


def run_child() -> None:
    """Measure what the command line says and print it as JSON."""
    what, table, size, started = sys.argv[1:]
    with Watch() as watch:
        found = _MEASURED[what](_config(pathlib.Path(table), int(size)), float(started))
    print(json.dumps({"peak_anonymous_mb": round(watch.peak / 1e6, 1), **found}))


class Watch:
    """The largest anonymous memory of this process while it is open.

    Attributes:
      peak: in bytes.
    """

    def __enter__(self) -> Watch:
        self.peak, self._done = anonymous_bytes(), threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.01):
            self.peak = max(self.peak, anonymous_bytes())


def anonymous_bytes() -> int:
    """Resident memory of this process that is no page of a file."""
    lines = pathlib.Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def _prepare(config: Any, started: float) -> dict[str, Any]:
    from fer_jax.data import cache

    begin = time.perf_counter()
    examples = cache.read(config.data, config.input)
    seconds = time.perf_counter() - begin
    return {"seconds": round(seconds, 2), "images_per_s": round(len(examples) / seconds, 1)}


def _start(config: Any, started: float) -> dict[str, Any]:
    """Seconds from the command to the first batch: compiling, which the size of a set does not change, is left out."""
    from fer_jax.data import identity, loading, pipeline

    examples = loading.load(config)
    identity.digests(examples.images)  # a run takes them to know its data again
    train_set = examples.of_split(config.data.train_split)
    next(pipeline.create("tf", train_set, 0, BATCH, slice(0, BATCH)).feeds(0, STEPS, 1))
    return {"first_batch_s": round(time.time() - started, 2)}


def _train(config: Any, started: float) -> dict[str, Any]:
    """What the first chunks of a training take; they compile as a run does."""
    import jax

    from fer_jax.data import loading
    from fer_jax.training import setup
    from fer_jax.training.program import TrainProgram

    examples = loading.load(config)
    train_set = examples.of_split(config.data.train_split)
    made = setup.create(config, len(examples.label_names), 1000, 100)
    program = TrainProgram(made, train_set, (0,), STEPS, "tf")
    program.load([made.fresh_state()])
    for feed in program.feeds(0, CHUNKS):
        jax.block_until_ready(program.run(feed))
    return {"chunks": CHUNKS}


_MEASURED = {"prepare": _prepare, "train": _train, "start": _start}


def _decoding(root: pathlib.Path, size: int, runs: int) -> dict[str, Any]:
    """Images a second by one thread and by one for each core, in turns, as preparing a set decodes them."""
    import os

    from fer_jax.data import lazy

    buffers = threading.local()

    def decode(rows: np.ndarray) -> None:
        if not hasattr(buffers, "images"):
            buffers.images = np.empty((len(rows), *decoded.shape[1:]), np.uint8)
        lazy.gather(decoded, rows, buffers.images[: len(rows)])

    paths = [root / f"{number}.jpg" for number in range(FILES)]
    decoded = lazy.of_files(paths, _config(root / "none.csv", size).input)
    parts = np.array_split(np.arange(FILES), 16)
    threads = len(os.sched_getaffinity(0))
    speeds: dict[int, list[float]] = {1: [], threads: []}
    for _ in range(runs):
        for count, found in speeds.items():
            with futures.ThreadPoolExecutor(count) as pool:
                begin = time.perf_counter()
                list(pool.map(decode, parts))
                found.append(FILES / (time.perf_counter() - begin))
    one, several = (records.spread("images_per_s", found) for found in speeds.values())
    return {"threads": threads, **several, "one_thread": one, "gain": several["images_per_s"] / one["images_per_s"]}


def _streamed_over_resident(seconds: float, runs: int) -> dict[str, Any]:
    """The throughput of steps of mini-Xception fed by tf.data over that of steps that gather, in turns.

    By the processor's time too, which tells what streaming takes of it where other programs run.
    """
    import jax

    from fer_jax.config import default
    from fer_jax.data.examples import Examples
    from fer_jax.training import setup
    from fer_jax.training.program import TrainProgram

    config = default()
    config.batch_size, rng, count = BATCH, np.random.default_rng(0), 28709
    numbers = rng.integers(0, 7, count, np.int32)
    images = rng.integers(0, 256, (count, 48, 48, 1), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        np.save(pathlib.Path(folder) / "images.npy", images)
        images = np.asarray(np.load(pathlib.Path(folder) / "images.npy", mmap_mode="r"))
        examples = Examples(images, numbers, np.full(count, "Training"), labels.FER2013)
        made = setup.create(config, 7, 10**6, 225)
        feeds, programs = {}, {}
        for name in ("tf", "device"):
            programs[name] = TrainProgram(made, examples, (0,), STEPS, name)
            programs[name].load([made.fresh_state()])
            feeds[name] = programs[name].feeds(0, 10**5)
            jax.block_until_ready(programs[name].run(next(feeds[name])))
        speeds: dict[str, list[float]] = {"tf": [], "device": []}
        spent: dict[str, list[float]] = {"tf": [], "device": []}  # seconds of the processor for each image
        for _ in range(runs):
            for name, found in speeds.items():
                begin, begin_processor, chunks = time.perf_counter(), time.process_time(), 0
                while time.perf_counter() - begin < seconds or not chunks:
                    jax.block_until_ready(programs[name].run(next(feeds[name])))
                    chunks += 1
                found.append(chunks * STEPS * BATCH / (time.perf_counter() - begin))
                spent[name].append((time.process_time() - begin_processor) / (chunks * STEPS * BATCH))
    ratios = [streamed / resident for streamed, resident in zip(speeds["tf"], speeds["device"], strict=True)]
    costs = [resident / streamed for streamed, resident in zip(spent["tf"], spent["device"], strict=True)]
    return {
        **records.spread("ratio", ratios),
        "by_processor_time": records.spread("ratio", costs),
        "images_per_s": {name: max(found) for name, found in speeds.items()},
    }


def _overlap(size: int, seconds: float, runs: int) -> dict[str, Any]:
    """Whether the input of a chunk comes while the chunk before is computed, as the loop runs them.

    "there_in_time" is the share of chunks whose input had been read and copied to the device when the chunk before was
    done: those for which the device did not wait. Milliseconds of a chunk: "input" alone, until it is on the device;
    "asked", what the host spends for the next chunk's while one is computed; "whole", with the steps.
    """
    import jax

    from fer_jax.config import default
    from fer_jax.data.examples import Examples
    from fer_jax.training import setup
    from fer_jax.training.program import TrainProgram

    config, rng, count = default(), np.random.default_rng(0), 8 * BATCH * STEPS
    config.batch_size, config.input.size, config.input.channels = BATCH, size, 3
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "images.npy"
        images = np.lib.format.open_memmap(path, "w+", np.uint8, (count, size, size, 3))
        for start in range(0, count, BATCH):
            images[start : start + BATCH] = rng.integers(0, 256, (BATCH, size, size, 3), np.uint8)
        mapped = np.asarray(np.load(path, mmap_mode="r"))
        numbers = rng.integers(0, 7, count, np.int32)
        examples = Examples(mapped, numbers, np.full(count, "Training"), labels.FER2013)
        made = setup.create(config, 7, 10**6, count // BATCH)
        program = TrainProgram(made, examples, (0,), STEPS, "tf")
        program.load([made.fresh_state()])
        feeds = program.feeds(0, 10**6)
        kept = next(feeds)
        jax.block_until_ready(program.run(kept))

        taken: dict[str, list[float]] = {"input": [], "asked": [], "whole": []}
        in_time, feed = [], kept
        for _ in range(runs):
            begin = time.perf_counter()
            for _ in range(CHUNKS):
                jax.block_until_ready(next(feeds))
            taken["input"].append((time.perf_counter() - begin) / CHUNKS)
            asked, chunks, begin = 0.0, 0, time.perf_counter()
            while time.perf_counter() - begin < seconds or not chunks:
                metrics, before = program.run(feed), time.perf_counter()
                feed = next(feeds)
                asked += time.perf_counter() - before
                jax.block_until_ready(metrics)
                in_time.append(all(array.is_ready() for array in jax.tree.leaves(feed)))
                chunks += 1
            taken["asked"].append(asked / chunks)
            taken["whole"].append((time.perf_counter() - begin) / chunks)
    return {
        "device": jax.devices()[0].device_kind,
        "there_in_time": float(np.mean(in_time)),
        "chunks": len(in_time),
        "milliseconds_a_chunk": {name: [round(1e3 * one, 1) for one in each] for name, each in taken.items()},
    }


def _buffer(size: int) -> dict[str, Any]:
    """What shuffle buffers cost in randomness on a set that lies sorted by class, and what they save in places read.

    Of each buffer the standard deviation of a class's share in a batch, in points, over one epoch; classes are of equal
    size. "places" is how many places of the disk an epoch goes to for each image.
    """
    from fer_jax.data import pipeline, sampler

    block, classes = pipeline.block_of((POSITIONS, size, size, 3)), np.arange(POSITIONS) * 7 // POSITIONS
    found: dict[str, Any] = {}
    for buffer in (0, *BUFFERS):
        order = sampler.Order(0, classes, buffer=buffer, block=block).epoch(0)
        batches = classes[order[: POSITIONS // BATCH * BATCH]].reshape(-1, BATCH)
        shares = np.stack([(batches == label).mean(axis=1) for label in range(7)])
        places = round(1 / block, 4) if buffer else 1.0
        found[str(buffer)] = {"share_points": round(100 * float(shares.std(axis=1).mean()), 2), "places": places}
    return found


def _turnover(runs: int) -> dict[str, Any]:
    """Seconds until the first batch of an epoch is known, by the way of sampling."""
    from fer_jax.data import sampler

    numbers = np.random.default_rng(0).choice(8, POSITIONS, p=np.array([40, 30, 10, 8, 5, 4, 2, 1]) / 100)
    found: dict[str, Any] = {}
    for sampling in sampler.SAMPLINGS:
        order, times = sampler.Order(0, numbers, sampling), []
        for epoch in range(1, runs + 1):
            begin = time.perf_counter()
            order.epoch(epoch)
            times.append(time.perf_counter() - begin)
        found[sampling] = records.spread("seconds", times)
    return found
