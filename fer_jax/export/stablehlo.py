"""The graph for accelerators: StableHLO as `jax.export` serializes it, one file for CPU, CUDA and TPU.

JAX promises to read such a file for six months, which is why a bundle also carries ONNX and the plain weights.
"""

import os
import pathlib
import re
from collections.abc import Callable

import jax
import numpy as np
from jax import export

from fer_jax.errors import UserError
from fer_jax.export import graph
from fer_jax.export.trained import Source

PLATFORMS = ("cpu", "cuda", "tpu")


def save(path: str | os.PathLike, source: Source) -> None:
    """Write the graph of `source` for any batch and all of `PLATFORMS`."""
    exported = export.export(jax.jit(source.infer), platforms=PLATFORMS)(graph.symbolic_images(source.input))
    pathlib.Path(path).write_bytes(exported.serialize())


def load(
    path: str | os.PathLike, threads: int = 1, device: str = "auto"
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """The function in the file, run on JAX's default device, whatever `threads` and `device`.

    Takes uint8 (batch, size, size, channels) of any batch, gives what `graph.inference` does. It is compiled once
    for each power of two that a batch is padded to, not for every number of faces a frame may hold.

    Raises:
      UserError: this JAX cannot read the file, or it calls code outside of the graph.
    """
    try:
        exported = export.deserialize(bytearray(pathlib.Path(path).read_bytes()))
        calls = re.findall(r"custom_call(?! @shape_assertion\()[ @\w.]*", exported.mlir_module())
    except Exception as error:  # a parser of bytes that may be anything raises anything
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path}: JAX {jax.__version__} cannot read it ({reason}): use the bundle's ONNX graph, or export it again"
        ) from error
    if calls:  # of any function in this process, with arguments of the file's choice
        raise UserError(f"{path}: has a {calls[0]}, which no exported network has: use the bundle's ONNX graph")
    call = jax.jit(exported.call)

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        n = len(images)
        padded = np.zeros((1 << max(n - 1, 0).bit_length(), *images.shape[1:]), np.uint8)
        padded[:n] = images
        return {name: values[:n] for name, values in jax.device_get(call(padded)).items()}

    return run
