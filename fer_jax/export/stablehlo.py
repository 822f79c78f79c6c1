"""The graph for accelerators: StableHLO as `jax.export` serialises it, one file for CPU, CUDA and TPU.

JAX promises to read such a file for six months, which is why a bundle also carries ONNX and the plain weights.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable

import jax
import numpy as np
from jax import export

from fer_jax.bundle.manifest import Input
from fer_jax.errors import UserError
from fer_jax.export import graph

PLATFORMS = ("cpu", "cuda", "tpu")


def save(path: str | os.PathLike, infer: Callable[[jax.Array], dict], spec: Input) -> None:
    """Write `infer`, made by `graph.inference`, for any batch and all of `PLATFORMS`."""
    exported = export.export(jax.jit(infer), platforms=PLATFORMS)(graph.symbolic_images(spec))
    pathlib.Path(path).write_bytes(exported.serialize())


def load(path: str | os.PathLike) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """The function in the file, run on JAX' default device.

    Takes uint8 (batch, size, size, channels) of any batch, gives what `graph.inference` does. It is compiled once
    for each power of two that a batch is padded to, not for every number of faces a frame may hold.

    Raises:
      UserError: the file is beyond what this JAX reads.
    """
    try:
        exported = export.deserialize(bytearray(pathlib.Path(path).read_bytes()))
    except Exception as error:  # a parser of bytes that may be anything raises anything
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path}: JAX {jax.__version__} cannot read it ({reason}): use the bundle's ONNX graph, or export it again"
        ) from error
    call = jax.jit(exported.call)

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        n = len(images)
        padded = np.zeros((1 << max(n - 1, 0).bit_length(), *images.shape[1:]), np.uint8)
        padded[:n] = images
        return {name: values[:n] for name, values in jax.device_get(call(padded)).items()}

    return run
