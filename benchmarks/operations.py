"""Where the time of a step goes: each rewritten operation beside plain `lax`, and a profile of the whole."""

from __future__ import annotations

import collections
import functools
import gzip
import json
import pathlib
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from ml_collections import ConfigDict

from benchmarks.chunk import Chunk
from benchmarks.steps import named
from fer_jax.data import augmentation
from fer_jax.data.examples import Examples
from fer_jax.models import layers
from fer_jax.ops import platforms

TURNS = 2  # of the loop an operation is measured in, as training steps are in one: XLA compiles loops differently


class Case(NamedTuple):
    """A layer, `make(implementation)(images)`, at a size (H, W, C) that a network has it."""

    name: str
    make: Callable[[str], Callable]
    size: tuple[int, int, int]


def _layer(kind: Callable, *args: Any, **options: Any) -> Callable[[str], Callable]:
    return lambda implementation: kind(*args, implementation=implementation, **options)


def _warp(implementation: str, images: jax.Array) -> jax.Array:
    """All images turned, shifted and enlarged alike."""
    resample = augmentation.warp if implementation == "plain" else augmentation.warp_of(dtype=_dtype())
    matrix = jnp.asarray([[0.95, -0.1, 3.5], [0.1, 0.95, -2.25]], jnp.float32)
    return resample(images, jnp.broadcast_to(matrix, (len(images), 2, 3)))


def _dtype() -> Any:
    """Of a network's computation by `config.dtype=auto`."""
    return jnp.float32 if platforms.implementation("auto") == "cpu" else jnp.bfloat16


# Of mini-Xception's first two blocks, where it spends most, and of JAFFE's nets.
CASES = (
    Case("3x3 depthwise and 1x1, 8 to 16", _layer(layers.SeparableConv, 16), (44, 44, 8)),
    Case("3x3 depthwise and 1x1, 32 to 32", _layer(layers.SeparableConv, 32), (22, 22, 32)),
    Case("1x1, stride 2, 8 to 16", _layer(layers.Conv, 16, (1, 1), 2, use_bias=False), (44, 44, 8)),
    Case("3x3, 1 to 8", _layer(layers.Conv, 8, (3, 3), 1, "VALID", use_bias=False), (48, 48, 1)),
    Case("3x3, 8 to 8", _layer(layers.Conv, 8, (3, 3), 1, "VALID", use_bias=False), (46, 46, 8)),
    Case("5x5, 16 to 120", _layer(layers.Conv, 120, (5, 5), 1, "VALID"), (32, 32, 16)),
    Case("batch normalization", _layer(layers.BatchNorm), (44, 44, 16)),
    Case("batch normalization and 3x3 max-pool", _layer(layers.BatchNorm, pool=(3, 2, "SAME")), (44, 44, 16)),
    Case("bilinear warp", lambda implementation: functools.partial(_warp, implementation), (48, 48, 1)),
    Case(
        "3x3 max-pool, stride 2",
        _layer(functools.partial, layers.max_pool, window=3, strides=2, padding="SAME"),
        (44, 44, 16),
    ),
)


def measure(batch: int, runs: int, cases: tuple[Case, ...] = CASES) -> Iterator[dict[str, Any]]:
    """Time each of `cases` on `batch` images, on the default device in the dtype that networks have there.

    Yields:
      "op", "size" (of an image), "batch", "dtype", milliseconds (medians of `runs`) "auto_ms" and "plain_ms" of the
      layer alone and "auto_gradient_ms" and "plain_gradient_ms" with its gradients; "gain" and "gradient_gain", how
      many times faster "auto" is, what training uses, than plain `lax`.
    """
    for case in cases:
        record: dict[str, Any] = {"op": case.name, "size": "x".join(map(str, case.size)), "batch": batch}
        record["dtype"] = jnp.dtype(_dtype()).name
        for implementation in ("auto", "plain"):
            forward, gradient = _milliseconds(case, implementation, batch, runs)
            record |= {f"{implementation}_ms": forward, f"{implementation}_gradient_ms": gradient}
        yield record | {
            "gain": record["plain_ms"] / record["auto_ms"],
            "gradient_gain": record["plain_gradient_ms"] / record["auto_gradient_ms"],
        }


def _milliseconds(case: Case, implementation: str, batch: int, runs: int) -> tuple[float, float]:
    layer, key = case.make(implementation), jax.random.key(0)
    xs = jax.random.normal(key, (TURNS, batch, *case.size)).astype(_dtype())
    train = (True,) if isinstance(layer, layers.BatchNorm) else ()
    params: Any = {}
    rest: Any = {}
    if isinstance(layer, nn.Module):
        layer = layer.clone(dtype=_dtype())
        rest = dict(layer.init(key, xs[0], *train))
        params = rest.pop("params")

    def apply(params: Any, x: jax.Array) -> jax.Array:
        if isinstance(layer, nn.Module):
            return layer.apply({"params": params, **rest}, x, *train, mutable=list(rest))[0]
        return layer(x)

    result = jax.eval_shape(apply, params, xs[0])
    dys = jax.random.normal(key, (TURNS, *result.shape)).astype(result.dtype)

    def gradients(params: Any, x: jax.Array, dy: jax.Array) -> Any:
        y, transposed = jax.vjp(apply, params, x)
        return y, transposed(dy)

    forward = jax.jit(lambda params, xs: lax.scan(lambda _, x: (None, apply(params, x)), None, xs))
    both = jax.jit(lambda params, xs, dys: lax.scan(lambda _, two: (None, gradients(params, *two)), None, (xs, dys)))
    return _median_ms(forward, runs, params, xs), _median_ms(both, runs, params, xs, dys)


def _median_ms(function: Callable, runs: int, *arguments: Any) -> float:
    """Of one turn of the loop."""
    jax.block_until_ready(function(*arguments))
    spent = []
    for _ in range(runs):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        spent.append(time.perf_counter() - start)
    return 1e3 * statistics.median(spent) / TURNS


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
    chunk = Chunk(config, examples, jax.local_devices())
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
