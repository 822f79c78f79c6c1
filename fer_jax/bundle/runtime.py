"""An exported graph as its users run it: pixels in, logits out."""

import concurrent.futures
import os
from collections.abc import Callable, Sequence

import numpy as np

from fer_jax.bundle import formats
from fer_jax.bundle.manifest import Bundle
from fer_jax.errors import UserError

BATCH = 64  # images that go through at a time
# Of ONNX Runtime. Each runs whole images: the layers of small networks take less time than handing them to another
# thread, unless that thread spins, which takes the processor from the search for faces.
THREADS = 2
MIN_IMAGES_PER_THREAD = 4  # fewer are done before another has begun
_LARGEST = 1e9  # no network of ours gives such a logit; divided by a temperature it stays a number
_AGAIN = "copy the bundle again or export it again"

Graph = Callable[[np.ndarray], dict[str, np.ndarray]]


def open_graph(path: str | os.PathLike, role: str, threads: int = THREADS, device: str = "cpu") -> Graph:
    """The function in an exported file: StableHLO on JAX's default device, the others in ONNX Runtime.

    It takes uint8 (batch, size, size, channels) of any batch from 1 on and gives "logits" float32 (batch, classes)
    and, where the network has them, "class_maps" float32 (batch, h, w, classes).

    Args:
      path: the file.
      role: a key of `formats.GRAPHS`.
      threads: maximum number of ONNX Runtime threads among which a batch is divided on the CPU.
      device: where ONNX Runtime runs it, one of `formats.DEVICES`; "auto" is what an ONNX Runtime was installed for.

    Raises:
      UserError: the file cannot be loaded, or needs JAX, which is not installed; fewer threads than one; a device that
        this ONNX Runtime has no provider for, or that does not start.
    """
    if threads < 1:
        raise UserError(f"threads is {threads}: expected 1 or more")
    if device not in formats.DEVICES:
        raise UserError(f"unknown device {device!r}: expected one of {', '.join(formats.DEVICES)}")
    if role == "stablehlo" and device not in ("auto", "cpu"):
        raise UserError(f"device {device} is for ONNX graphs: JAX chooses its own, by JAX_PLATFORMS")
    try:
        opener = formats.function(formats.GRAPHS[role].opener)
    except ImportError as error:
        raise UserError(
            f"{path}: {role} cannot be run without {error.name}: pip install 'fer_jax[train]', or use onnx"
        ) from error
    return opener(path, threads, device)


def open_bundle(bundle: Bundle, role: str, threads: int = THREADS, device: str = "cpu") -> Graph:
    """A graph of a bundle, run once to see that it does what bundle.json says.

    Raises:
      UserError: as of `open_graph`; other inputs or outputs than bundle.json says, at once or in a later call; a result
        that is not a number.
    """
    path, spec = bundle.file(role), bundle.input
    graph = open_graph(path, role, threads, device)

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        outputs = graph(images)
        _check(path, outputs, len(images), len(bundle.labels))
        return outputs

    for batch in (1, 2):  # the second finds graphs that take one face alone
        images = np.zeros((batch, spec.size, spec.size, spec.channels), np.uint8)
        try:
            run(images)
        except UserError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions share no base class but this one
            reason = " ".join(str(error).split())
            shape = images.shape[1:]
            raise UserError(
                f"{path}: does not take images of {shape}, as bundle.json says ({reason}): {_AGAIN}"
            ) from error
    return run


def _check(path: os.PathLike, outputs: dict[str, np.ndarray], batch: int, classes: int) -> None:
    """UserError unless these are the outputs for `batch` images: see `open_graph`."""
    if "logits" not in outputs:
        raise UserError(f"{path}: gives {', '.join(outputs)} and no logits: {_AGAIN}")
    for name, found in outputs.items():
        expected = (batch, classes) if name == "logits" else (batch, *found.shape[1:3], classes)
        if name in ("logits", "class_maps"):
            if found.shape != expected or found.dtype != np.float32:
                raise UserError(
                    f"{path}: gives {name} of {found.dtype} {found.shape}, expected float32 {expected}: {_AGAIN}"
                )
            if not (np.abs(found) < _LARGEST).all():  # false of NaN
                raise UserError(f"{path}: gives {name} that are infinite or not a number: {_AGAIN}")


def logits(graph: Graph, images: np.ndarray) -> np.ndarray:
    """float32 (N, classes) for uint8 images (N, size, size, channels), N at least 1, in their order."""
    from tqdm import tqdm

    starts = tqdm(range(0, len(images), BATCH), unit="batch", leave=False, disable=None)
    return np.concatenate([graph(images[start : start + BATCH])["logits"] for start in starts])


def open_onnx(path: str | os.PathLike, threads: int, device: str = "cpu") -> Graph:
    """An ONNX file in ONNX Runtime, see `open_graph`."""
    import onnxruntime

    chosen = chosen_device(device, onnxruntime.get_available_providers())
    run = _session(path, chosen)
    if threads == 1 or chosen != "cpu":
        return run
    pools: dict[int, concurrent.futures.Executor] = {}  # one a process: a fork has none of its parent's threads

    def divided(images: np.ndarray) -> dict[str, np.ndarray]:
        parts = np.array_split(images, min(threads, max(len(images) // MIN_IMAGES_PER_THREAD, 1)))
        if (process := os.getpid()) not in pools:
            pools[process] = concurrent.futures.ThreadPoolExecutor(threads - 1, thread_name_prefix="graph")
        elsewhere = [pools[process].submit(run, part) for part in parts[1:]]
        outputs = [run(parts[0]), *(future.result() for future in elsewhere)]
        return {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}

    return divided


def chosen_device(device: str, available: Sequence[str]) -> str:
    """The key of `formats.PROVIDERS` for one of `formats.DEVICES`; UserError where its provider is not `available`."""
    if device == "auto":
        return next(name for name in formats.AUTOMATIC if formats.PROVIDERS[name][0] in available)
    provider, package = formats.PROVIDERS[device]
    if provider not in available:
        raise UserError(
            f"device {device}: this ONNX Runtime has no {provider}, only {', '.join(available)}: install {package} in "
            "place of onnxruntime, or leave the device out"
        )
    return device


def _session(path: str | os.PathLike, device: str) -> Graph:
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)  # its warnings are for the author of the graph
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        # the CPU for what a device lacks
        wanted = list(dict.fromkeys(formats.PROVIDERS[name][0] for name in (device, "cpu")))
        session = onnxruntime.InferenceSession(path, options, providers=wanted)
    except Exception as error:  # its exceptions share no base class but this one
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path}: ONNX Runtime {onnxruntime.__version__} cannot load it ({reason}): "
            "install a newer onnxruntime or export the bundle again"
        ) from error
    if wanted[0] not in session.get_providers():  # ONNX Runtime goes on with the CPU
        raise UserError(f"device {device}: {wanted[0]} does not start here: mend its driver, or choose the device cpu")
    names = [output.name for output in session.get_outputs()]

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        outputs = session.run(names, {"images": images})
        return {name: np.asarray(output) for name, output in zip(names, outputs, strict=True)}

    return run
