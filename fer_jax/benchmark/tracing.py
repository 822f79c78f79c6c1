"""Where the time of a training step goes, by the operations of the compiled program, read from a profile."""

from __future__ import annotations

import collections
import gzip
import json
import pathlib
import re
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from fer_jax.benchmark import scaling
from fer_jax.data.examples import Examples

# Kernels of NVIDIA's libraries, whose symbols have up to thousands of characters; the first that is found counts.
LIBRARIES = {
    "cuDNN convolution, gradient of the input": "dgrad",
    "cuDNN convolution, gradient of the kernel": "wgrad",
    "cuDNN convolution": "fprop|convolve_",
    "cuDNN change of layout": "nchwToNhwc|nhwcToNchw",
    "cuBLAS matrix product": "^nvjet|^(sm\\d+_)?(xmma|cutlass)\\w*gemm",
}
MAX_NAME = 60  # characters
AROUND = re.compile(r"(while|call|conditional|async)\b")  # operations that only hold others


def measure(config: ConfigDict, examples: Examples) -> dict[str, Any]:
    """A profile of one dispatch of `config.parallel.steps_per_dispatch` steps.

    Returns:
      "step_ms", and "shares", {operation: its share of the time of all}, the largest first. Operations of the same name
      are added up; what `fer_jax.ops` isolates has the name of its function.
    """
    chunk = scaling.Chunk(config, examples, jax.local_devices())
    chunk.images_per_second(0)  # the first dispatches are slower
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            seconds = config.parallel.steps_per_dispatch * config.batch_size / chunk.images_per_second(0)
        [path] = pathlib.Path(folder).rglob("*.trace.json.gz")
        with gzip.open(path) as file:
            events = json.load(file)["traceEvents"]
    return {
        "config": config.name,
        "optimizer": config.optim.name,
        "model": config.model.name,
        "batch": config.batch_size,
        "step_ms": 1e3 * seconds / config.parallel.steps_per_dispatch,
        "shares": shares(events),
    }


def shares(events: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Each operation's share of the time of all of them, from the events of a Chrome trace.

    An operation within another, as in a function that is called, counts as the outer one, unless that is a loop.
    """
    timed = [
        event
        for event in events
        if event.get("ph") == "X" and "hlo_op" in event.get("args", {}) and not AROUND.match(event["name"])
    ]
    spent: collections.Counter[str] = collections.Counter()
    ends: dict[tuple[int, int], float] = {}  # by process and thread: of the outermost operation seen last
    for event in sorted(timed, key=lambda event: (event["ts"], -event["dur"])):
        thread, end = (event["pid"], event["tid"]), event["ts"] + event["dur"]
        if end > ends.get(thread, 0.0):
            ends[thread] = end
            spent[_name(event["name"])] += event["dur"]
    total = spent.total()
    return {name: round(time / total, 4) for name, time in spent.most_common()}


def _name(symbol: str) -> str:
    for name, pattern in LIBRARIES.items():
        if re.search(pattern, symbol, re.IGNORECASE):
            return name
    return re.sub(r"^jit_+|[_.\d]*(\.clone)?[.\d]*$", "", symbol)[:MAX_NAME].strip()
