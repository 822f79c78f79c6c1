"""The most that a device can do: by its data sheet, or measured with the simplest programs that reach it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax


class Peak(NamedTuple):
    """Of one device: operations a second in matrix products (bfloat16, dense on accelerators), bytes a second of its
    memory, read and written, and the data sheet's address or "measured".
    """

    flops: float
    bytes: float
    source: str


NVIDIA, TPU = "https://www.nvidia.com/en-us/data-center/", "https://cloud.google.com/tpu/docs/"
# By `jax.Device.device_kind`.
DATA_SHEETS = {
    "NVIDIA A100-SXM4-40GB": Peak(312e12, 1555e9, f"{NVIDIA}a100/"),
    "NVIDIA A100-SXM4-80GB": Peak(312e12, 2039e9, f"{NVIDIA}a100/"),
    "NVIDIA H100 80GB HBM3": Peak(989e12, 3350e9, f"{NVIDIA}h100/"),
    "NVIDIA H200": Peak(989e12, 4800e9, f"{NVIDIA}h200/"),
    "TPU v4": Peak(275e12, 1228e9, f"{TPU}v4"),
    "TPU v5 lite": Peak(197e12, 819e9, f"{TPU}v5e"),
    "TPU v5p": Peak(459e12, 2765e9, f"{TPU}v5p"),
    "TPU v6 lite": Peak(918e12, 1640e9, f"{TPU}v6e"),
}


def measure(device: jax.Device, seconds: float = 1.0, side: int | None = None) -> Peak:  # pyright: ignore[reportInvalidTypeForm]
    """The rates that the device reaches: products of square matrices, and a copy far larger than its caches.

    Args:
      seconds: at least so long each is repeated.
      side: of the matrices: bfloat16 of 8,192 on accelerators, float32 of 2,048 on CPUs unless given. The array that
        is copied has 32 times their elements, in float32.
    """
    accelerator = device.platform != "cpu"
    side = side or (8192 if accelerator else 2048)
    with jax.default_device(device):
        dtype = jnp.bfloat16 if accelerator else jnp.float32
        matrix = jax.random.normal(jax.random.key(0), (side, side), dtype) / side**0.5
        arrays = [jnp.zeros((32, side, side), jnp.float32)]
        bytes_moved = 2 * arrays[0].nbytes
        # Each product needs the one before; several in a dispatch, whose cost is not to be measured.
        multiply = jax.jit(lambda x: lax.fori_loop(0, 8, lambda _, y: y @ x, x))
        # In place: memory that is new to the process would be measured with the making of its pages.
        increment = jax.jit(lambda x: x + 1, donate_argnums=0)
        product = _seconds_of(lambda: jax.block_until_ready(multiply(matrix)), seconds)
        copy = _seconds_of(lambda: arrays.append(jax.block_until_ready(increment(arrays.pop()))), seconds)
    return Peak(8 * 2 * side**3 / product, bytes_moved / copy, "measured")


def _seconds_of(call: Callable[[], object], seconds: float) -> float:
    """The shortest of the calls that fill `seconds`."""
    call()
    spent, start = [], time.perf_counter()
    while not spent or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        call()
        spent.append(time.perf_counter() - before)
    return min(spent)
