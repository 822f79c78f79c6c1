"""What a device can do at most: by its data sheet, or measured with the simplest programs that reach it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

NVIDIA = "https://www.nvidia.com/en-us/data-center/"
TPU = "https://cloud.google.com/tpu/docs/"


@dataclasses.dataclass(frozen=True)
class Peak:
    """Of one device.

    Attributes:
      flops: floating-point operations a second in matrix products, bfloat16 and dense on accelerators.
      bytes: read from and written to its memory a second.
      source: the data sheet, or "measured".
    """

    flops: float
    bytes: float
    source: str


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


def known(device: jax.Device) -> Peak | None:
    """What the data sheet says of a device, None where there is none."""
    return DATA_SHEETS.get(device.device_kind)


def measure(device: jax.Device, seconds: float = 1.0, side: int | None = None) -> Peak:
    """The rates that the device reaches: products of square matrices, and a copy far larger than its caches.

    Args:
      seconds: at least so long each is repeated.
      side: of the matrices. They are bfloat16 of 8,192 on accelerators, float32 of 2,048 on CPUs; the array that is
        copied has 32 times their elements, in float32.
    """
    accelerator = device.platform != "cpu"
    side = side or (8192 if accelerator else 2048)
    dtype = jnp.bfloat16 if accelerator else jnp.float32
    with jax.default_device(device):
        matrix = jax.random.normal(jax.random.key(0), (side, side), dtype) / side**0.5
        array = jnp.zeros((32, side, side), jnp.float32)
        # Each product needs the one before; several in a dispatch, whose cost is not to be measured.
        multiply = jax.jit(lambda x: lax.fori_loop(0, 8, lambda _, y: y @ x, x))
        # In place: memory that is new to the process would be measured with the making of its pages.
        increment = jax.jit(lambda x: x + 1, donate_argnums=0)

        def product() -> None:
            jax.block_until_ready(multiply(matrix))

        def copy() -> None:
            nonlocal array
            array = jax.block_until_ready(increment(array))

        return Peak(
            flops=8 * 2 * side**3 / _seconds_of(product, seconds),
            bytes=2 * array.nbytes / _seconds_of(copy, seconds),
            source="measured",
        )


def _seconds_of(call: Callable[[], None], seconds: float) -> float:
    """The shortest of the calls that fill `seconds`: what is asked for is the most the device can do."""
    call()
    shortest, start = float("inf"), time.perf_counter()
    while shortest == float("inf") or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        call()
        shortest = min(shortest, time.perf_counter() - before)
    return shortest
