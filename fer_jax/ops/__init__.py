"""Layers rewritten where a platform is slow, and which of them "auto" means on it.

Here is the one place where a device's platform becomes a choice of implementation.
"""

from __future__ import annotations

import jax

IMPLEMENTATIONS = ("plain", "cpu", "gpu", "tpu")
GPUS = ("cuda", "gpu", "rocm")


def platform_of(device: jax.Device) -> str:  # pyright: ignore[reportInvalidTypeForm]
    """ "cpu", "gpu" or "tpu", or the device's own name for anything else."""
    return "gpu" if device.platform in GPUS else device.platform


def implementation(name: str, platform: str | None = None) -> str:
    """One of `IMPLEMENTATIONS` for `name`, which is one of them or "auto".

    Args:
      platform: of the devices that will run the program, as `platform_of` gives it; None is JAX's default backend,
        which is another one where a program is compiled for devices of another machine.

    Raises:
      ValueError: for another name.
    """
    if name == "auto":
        platform = platform or ("gpu" if jax.default_backend() in GPUS else jax.default_backend())
        return platform if platform in IMPLEMENTATIONS else "plain"
    if name not in IMPLEMENTATIONS:
        raise ValueError(f"implementation is {name!r}: expected auto, {', '.join(IMPLEMENTATIONS)}")
    return name
