"""An exported file as its users run it: pixels in, logits out."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
from tqdm import tqdm

GRAPHS = ("onnx", "float16", "int8", "stablehlo")  # the roles of a bundle's files that can be run
BATCH = 64

Graph = Callable[[np.ndarray], dict[str, np.ndarray]]


def open_graph(path: str | os.PathLike, role: str, threads: int = 0) -> Graph:
    """The function in an exported file: StableHLO on JAX' default device, the others in ONNX Runtime on the CPU.

    `threads` is how many of them ONNX Runtime uses, 0 for one a core.

    It takes uint8 (batch, size, size, channels) of any batch from 1 on and gives "logits" float32 (batch, classes)
    and, where the network has them, "class_maps" float32 (batch, h, w, classes).
    """
    if role == "stablehlo":
        from fer_jax.export import stablehlo

        return stablehlo.load(path)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, {"images": images}), strict=True))


def logits(graph: Graph, images: np.ndarray) -> np.ndarray:
    """float32 (N, classes) for uint8 images (N, size, size, channels), N at least 1, in their order."""
    starts = tqdm(range(0, len(images), BATCH), unit="batch", leave=False, disable=None)
    return np.concatenate([graph(images[start:start + BATCH])["logits"] for start in starts])
