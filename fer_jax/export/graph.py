"""The one function that every exported format holds: raw pixels in, logits and class activation maps out."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from fer_jax.bundle.manifest import Input
from fer_jax.models import layers
from fer_jax.preprocess import scaling

# of the layers that can take a scale: what their output is linear in
_LINEAR = ("kernel", "pointwise_kernel", "bias")

Interceptor = Callable[[Callable, tuple, dict, Any], Any]

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
    (batch,) = jax.export.symbolic_shape("batch")
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
