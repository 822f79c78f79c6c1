"""BatchNorm at inference is a scale and a shift a channel: the scale goes into the weights of the layer before it.

Done on the weights, every format gains: converters fold it only where no transposition stands between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax import traverse_util

from fer_jax.models import layers

# of the layers that can take a scale: what their output is linear in
_LINEAR = ("kernel", "pointwise_kernel", "bias")

Interceptor = Callable[[Callable, tuple, dict, Any], Any]


def fold(model: nn.Module, variables: Any, images: jax.ShapeDtypeStruct) -> tuple[Any, Interceptor]:
    """Weights with BatchNorm's scales multiplied in, and what BatchNorm must do instead when they are used.

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
        for name in _LINEAR if convolution else ():
            if (path := ("params", *convolution, name)) in flat:
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
