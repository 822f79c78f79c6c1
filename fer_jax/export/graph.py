"""The function that every exported format holds: pixels in, logits and class activation maps out; and its StableHLO."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax import export

from fer_jax.bundle import formats
from fer_jax.bundle.manifest import Input
from fer_jax.errors import UserError
from fer_jax.models import layers
from fer_jax.preprocess import scaling

# of the layers that can take a scale: what their output is linear in
_LINEAR = ("kernel", "pointwise_kernel", "bias")

SOURCE_FILES = "jax_hlo_source_file_canonicalization_regex"
Interceptor = Callable[[Callable, tuple, dict, Any], Any]

PLATFORMS = ("cpu", "cuda", "tpu")
OUTPUTS = ("logits", "class_maps")  # in this order; the second where the network has one


def inference(model: nn.Module, variables: Any, spec: Input) -> Callable[[jax.Array], dict[str, jax.Array]]:
    """The trained network as a function of pixels, its weights held as constants, BatchNorm folded into them.

    Args:
      model: made with `implementation="plain"` and in float32: what is exported uses XLA's own operations only.
      variables: {"params", "batch_stats"?} of `model`.
      spec: the images, and the scaling and the central square, which become part of the function.

    Returns:
      uint8 (batch, size, size, channels) to {"logits": float32 (batch, classes)} and, where the network sows it,
      "class_maps": float32 (batch, h, w, classes), whose mean over h and w is the logits.
    """
    side = spec.seen or spec.size
    one_image = jax.ShapeDtypeStruct((1, side, side, spec.channels), jnp.float32)
    folded, scale_and_shift = fold(model, variables, one_image)

    # or GPUs and TPUs would compute with fewer bits, and a bundle give other probabilities on each machine
    @jax.default_matmul_precision("highest")
    def infer(images: jax.Array) -> dict[str, jax.Array]:
        pixels = scaling.network_input(images, spec.scaling, side, constant_rank=4)
        with nn.intercept_methods(scale_and_shift):
            applied: Any = model.apply(folded, pixels, False, mutable=["intermediates"])
        logits, state = applied
        sown = state.get("intermediates", {})
        return {"logits": logits} | {key: sown[key][0] for key in ("class_maps",) if key in sown}

    return infer


def symbolic_images(spec: Input) -> jax.ShapeDtypeStruct:
    """The shape of the argument, its batch a symbol so that one graph takes any number of faces."""
    (batch,) = export.symbolic_shape("batch")
    return jax.ShapeDtypeStruct((batch, spec.size, spec.size, spec.channels), jnp.uint8)


def fold(model: nn.Module, variables: Any, images: jax.ShapeDtypeStruct) -> tuple[Any, Interceptor]:
    """Weights with BatchNorm's scales multiplied in, and what BatchNorm must do instead when they are used.

    At inference BatchNorm is a scale and a shift a channel; done on the weights, every format gains: converters fold it
    only where no transposition stands between.

    A BatchNorm that takes something else than a convolution's output keeps its scale.

    Args:
      model: whose BatchNorm layers are `layers.BatchNorm`.
      variables: of it.
      images: shape and dtype of its input.

    Returns:
      (variables, interceptor): within `nn.intercept_methods(interceptor)`, `model.apply(variables, images, False)`
      gives what the model gave with its own, to rounding.
    """
    flat = {path: np.asarray(value) for path, value in traverse_util.flatten_dict(variables).items()}
    remaining = {}
    for norm, (epsilon, convolution) in _norms(model, variables, images).items():
        gamma, beta = (flat["params", *norm, name].astype(np.float64) for name in ("scale", "bias"))
        mean, var = (flat["batch_stats", *norm, name].astype(np.float64) for name in ("mean", "var"))
        scale = gamma / np.sqrt(var + epsilon)
        remaining[norm] = (1.0 if convolution else scale.astype(np.float32), (beta - mean * scale).astype(np.float32))
        for path in [("params", *convolution, name) for name in _LINEAR] if convolution else ():
            if path in flat:
                flat[path] = (flat[path] * scale).astype(np.float32)

    def scale_and_shift(call: Callable, args: tuple, kwargs: dict, context: Any) -> Any:
        if not isinstance(context.module, layers.BatchNorm):
            return call(*args, **kwargs)
        scale, shift = remaining[context.module.path]
        return args[0] * scale + shift

    return traverse_util.unflatten_dict(flat), scale_and_shift


def _norms(model: nn.Module, variables: Any, images: jax.ShapeDtypeStruct) -> dict[tuple, tuple[float, tuple | None]]:
    """Each BatchNorm's path: its epsilon, and the path of the convolution whose output it takes or None."""
    outputs, norms = [], {}

    def watch(call: Callable, args: tuple, kwargs: dict, context: Any) -> Any:
        result, layer = call(*args, **kwargs), context.module
        if isinstance(layer, layers.BatchNorm):
            norms[layer.path] = layer.epsilon, next((path for output, path in outputs if output is args[0]), None)
        elif isinstance(layer, layers.Conv | layers.SeparableConv):
            outputs.append((result, layer.path))
        return result

    with nn.intercept_methods(watch):
        jax.eval_shape(lambda x: model.apply(variables, x, False), images)
    return norms


@dataclasses.dataclass(frozen=True)
class Source:
    """Source of the files that the writers of `bundle.formats` make.

    Attributes:
      infer: the function, see `inference`.
      input: its images.
      metadata: for the file, where its format takes words.
      folder: of the bundle; what the rows before wrote lies there.
      faces: uint8 (N, size, size, channels), of the training data, for formats that fit something to them: what is
        scored later must not set it. None where no format does.
    """

    infer: Callable[[jax.Array], dict[str, jax.Array]]
    input: Input
    metadata: Mapping[str, str]
    folder: pathlib.Path
    faces: np.ndarray | None = None

    def file(self, role: str) -> pathlib.Path:
        """Path of the graph of another row."""
        return self.folder / formats.FILES[role]


def save_stablehlo(path: str | os.PathLike, source: Source) -> None:
    """Write the graph of `source` for accelerators: StableHLO of any batch, one file for all of `PLATFORMS`.

    JAX promises to read such a file for six months, which is why a bundle also carries ONNX and the plain weights.
    """
    kept = jax.config.values[SOURCE_FILES]
    jax.config.update(SOURCE_FILES, r".*[\\/]")  # a bundle is given away: of source files it holds names, no folders
    try:
        exported = export.export(jax.jit(source.infer), platforms=PLATFORMS)(symbolic_images(source.input))
    finally:
        jax.config.update(SOURCE_FILES, kept)
    pathlib.Path(path).write_bytes(exported.serialize())


def load_stablehlo(
    path: str | os.PathLike, threads: int = 1, device: str = "auto"
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """The function in the file, run on JAX's default device, whatever `threads` and `device`.

    Takes uint8 (batch, size, size, channels) of any batch, gives what `inference` does. It is compiled once for each
    power of two that a batch is padded to, not for every number of faces a frame may hold.

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
