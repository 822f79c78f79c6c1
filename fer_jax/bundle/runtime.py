"""An exported file as its users run it: pixels in, logits out."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Callable

import numpy as np

from fer_jax.errors import UserError

GRAPHS = ("onnx", "float16", "int8", "stablehlo")  # the roles of a bundle's files that can be run
BATCH = 64  # images that go through at a time
# Of ONNX Runtime. Each runs whole images: the layers of small networks take less time than handing them to another
# thread, unless that thread spins, which takes the processor from the search for faces.
THREADS = 2
MIN_IMAGES_PER_THREAD = 4  # fewer are done before another has begun

# Entry points, named by role, of functions from a file's path to a `Graph`: fer_jax.export brings "stablehlo" and JAX.
PLUGINS = "fer_jax.runtimes"

Graph = Callable[[np.ndarray], dict[str, np.ndarray]]


def open_graph(path: str | os.PathLike, role: str, threads: int = THREADS) -> Graph:
    """The function in an exported file: StableHLO on JAX's default device, the others in ONNX Runtime on the CPU.

    It takes uint8 (batch, size, size, channels) of any batch from 1 on and gives "logits" float32 (batch, classes)
    and, where the network has them, "class_maps" float32 (batch, h, w, classes).

    Args:
      path: the file.
      role: one of `GRAPHS`.
      threads: maximum number of ONNX Runtime threads among which a batch is divided.

    Raises:
      UserError: the file cannot be loaded, or needs JAX and there is none; fewer threads than one.
    """
    if role == "stablehlo":
        return _plugin(role, path)(path)
    if threads < 1:
        raise UserError(f"threads is {threads}: expected 1 or more")
    run = _onnx(path)
    if threads == 1:
        return run
    others = concurrent.futures.ThreadPoolExecutor(threads - 1, thread_name_prefix="graph")

    def divided(images: np.ndarray) -> dict[str, np.ndarray]:
        parts = np.array_split(images, min(threads, max(len(images) // MIN_IMAGES_PER_THREAD, 1)))
        elsewhere = [others.submit(run, part) for part in parts[1:]]
        outputs = [run(parts[0]), *(future.result() for future in elsewhere)]
        return {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}

    return divided


def logits(graph: Graph, images: np.ndarray) -> np.ndarray:
    """float32 (N, classes) for uint8 images (N, size, size, channels), N at least 1, in their order."""
    from tqdm import tqdm

    starts = tqdm(range(0, len(images), BATCH), unit="batch", leave=False, disable=None)
    return np.concatenate([graph(images[start : start + BATCH])["logits"] for start in starts])


def _plugin(role: str, path: str | os.PathLike) -> Callable[[str | os.PathLike], Graph]:
    """What loads a format that this room does not know: an entry point of the group `PLUGINS`."""
    import importlib.metadata

    for plugin in importlib.metadata.entry_points(group=PLUGINS, name=role):
        try:
            return plugin.load()
        except ImportError as error:
            raise UserError(f"{path}: {role} cannot be run without {error.name}: install it, or use onnx") from error
    raise UserError(f"{path}: no installed package runs {role}: pip install 'fer_jax[train]', or use onnx")


def _onnx(path: str | os.PathLike) -> Graph:
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)  # its warnings are for the author of the graph
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class but this one
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path}: ONNX Runtime {onnxruntime.__version__} cannot load it ({reason}): "
            "install a newer onnxruntime or export the bundle again"
        ) from error
    names = [output.name for output in session.get_outputs()]

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        outputs = session.run(names, {"images": images})
        return {name: np.asarray(output) for name, output in zip(names, outputs, strict=True)}

    return run
