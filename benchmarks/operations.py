"""Where the time of a step goes, from a profile."""

from __future__ import annotations

import collections
import gzip
import json
import pathlib
import re
import tempfile
import time
from collections.abc import Iterable, Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from benchmarks.chunk import Chunk
from benchmarks.steps import named
from fer_jax.data.examples import Examples
from fer_jax.distributed import parallel

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


def profile(config: ConfigDict, examples: Examples) -> dict[str, Any]:
    """Trace one dispatch of `config.parallel.steps_per_dispatch` steps.

    Returns:
      "step_ms" (under the profiler, which switches the command buffers of GPUs off), "busy_share" (of that time, with
      an operation on some thread or stream), and "shares", {operation: its share of the time of all}, the largest
      first. Operations of the same name are added up; what `fer_jax.ops` isolates has the name of its function.
    """
    chunk = Chunk(config, examples, parallel.devices_for(config.batch_size))
    chunk.dispatch()  # the first dispatches are slower
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            start = time.perf_counter()
            chunk.dispatch()
            seconds = time.perf_counter() - start
        [path] = pathlib.Path(folder).rglob("*.trace.json.gz")
        with gzip.open(path) as file:
            events = json.load(file)["traceEvents"]
    return {
        **named(config),
        "step_ms": 1e3 * seconds / config.parallel.steps_per_dispatch,
        "busy_share": round(busy_microseconds(events) / 1e6 / seconds, 4),
        "shares": shares(events),
    }


def _timed(events: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The operations of a Chrome trace, without those that only hold others, by their beginning."""
    found = [
        event
        for event in events
        if event.get("ph") == "X" and "hlo_op" in event.get("args", {}) and not AROUND.match(event["name"])
    ]
    return sorted(found, key=lambda event: (event["ts"], -event["dur"]))


def busy_microseconds(events: Iterable[Mapping[str, Any]]) -> float:
    """How long at least one operation ran."""
    busy = end = 0.0
    for event in _timed(events):
        begin, until = max(event["ts"], end), event["ts"] + event["dur"]
        busy, end = busy + max(until - begin, 0.0), max(end, until)
    return busy


def shares(events: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Each operation's share of the time of all of them; one within another counts as the outer one."""
    spent: collections.Counter[str] = collections.Counter()
    ends: dict[tuple[int, int], float] = {}  # by process and thread: of the outermost operation seen last
    for event in _timed(events):
        thread, end = (event["pid"], event["tid"]), event["ts"] + event["dur"]
        if end > ends.get(thread, 0.0):
            ends[thread] = end
            spent[_name(event["name"])] += event["dur"]
    return {name: round(time / spent.total(), 4) for name, time in spent.most_common()}


def _name(symbol: str) -> str:
    for name, pattern in LIBRARIES.items():
        if re.search(pattern, symbol, re.IGNORECASE):
            return name
    return re.sub(r"^jit_+|[_.\d]*(\.clone)?[.\d]*$", "", symbol)[:MAX_NAME].strip()
