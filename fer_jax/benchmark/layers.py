"""Each operation of `fer_jax.ops` beside the plain one of `lax` that it replaces, forward and backward."""

from __future__ import annotations

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from fer_jax.data import augmentation
from fer_jax.models import layers
from fer_jax.ops import platforms

TURNS = 2  # of the loop an operation is measured in, as training steps are in one: XLA compiles loops differently


@dataclasses.dataclass(frozen=True)
class Case:
    """A layer at a size that a network has it.

    Attributes:
      name: for people.
      make: the layer as `make(implementation)(images)`, a Flax module or a function.
      size: (H, W, C) of its input.
    """

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
    Case("batch normalisation", _layer(layers.BatchNorm), (44, 44, 16)),
    Case("batch normalisation and 3x3 max-pool", _layer(layers.BatchNorm, pool=(3, 2, "SAME")), (44, 44, 16)),
    Case("bilinear warp", lambda implementation: functools.partial(_warp, implementation), (48, 48, 1)),
    Case(
        "3x3 max-pool, stride 2",
        _layer(functools.partial, layers.max_pool, window=3, strides=2, padding="SAME"),
        (44, 44, 16),
    ),
)


def measure(batch: int, runs: int, cases: tuple[Case, ...] = CASES) -> Iterator[dict[str, Any]]:
    """A record for each of `cases`, on `batch` images, on the default device in the dtype that networks have there.

    Yields:
      "op", "size" (of an image), "batch", "dtype", milliseconds (medians of `runs`) "auto_ms" and "plain_ms" of the
      layer alone and "auto_gradient_ms" and "plain_gradient_ms" of the layer with its gradients; "gain" and
      "gradient_gain", how many times faster "auto" is, what training uses, than plain `lax`.
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
    if isinstance(layer, nn.Module):
        layer = layer.clone(dtype=_dtype())
        variables = layer.init(key, xs[0], *train)
        params, rest = variables["params"], {name: v for name, v in variables.items() if name != "params"}

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
