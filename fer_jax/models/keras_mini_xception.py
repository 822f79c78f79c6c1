"""mini-Xception as Keras saved it: github.com/oarriaga/face_classification publishes such files."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np

from fer_jax.errors import UserError
from fer_jax.models import keras_hdf5
from fer_jax.models.network import Arrays, is_head


class Weights(NamedTuple):
    """A Keras mini-Xception as this package builds it.

    Attributes:
      arrays: by their place in the variables.
      args: `config.model.args`.
      num_classes: of the logits.
      input_size: pixels, height and width.
      channels: of the input.
    """

    arrays: Arrays
    args: dict[str, Any]
    num_classes: int
    input_size: int
    channels: int


def read(path: str | os.PathLike) -> Weights:
    """Match the layers of a saved Keras mini-Xception with ours by their place in its graph.

    Keras numbers layers in the order of creation, in which the branches of a block mix; their kinds, and in each kind
    the distance from the input, say without doubt which is which.

    Raises:
      UserError: for a file without architecture, or with another than mini-Xception.
    """
    file = keras_hdf5.read(path)
    convolutions = _of_class(file, "Conv2D")
    spatial = [name for name in convolutions if file.layers[name]["config"]["kernel_size"] != [1, 1]]
    residual = [name for name in convolutions if name not in spatial]
    separable = _of_class(file, "SeparableConv2D")
    blocks = len(residual)
    if len(spatial) != 3 or not blocks or len(separable) != 2 * blocks:
        raise UserError(
            f"{file.path}: not a mini-Xception: found {len(spatial)} convolutions, {blocks} 1x1 convolutions and "
            f"{len(separable)} separable ones; expected 3, one a block and two a block"
        )
    # our layer: (Keras' layer, padding, strides)
    matched = {
        "stem1_conv": (spatial[0], "valid", 1),
        "stem2_conv": (spatial[1], "valid", 1),
        "classes_conv": (spatial[2], "same", 1),
    }
    for i in range(blocks):
        matched[f"block{i + 1}_residual_conv"] = (residual[i], "same", 2)
        matched[f"block{i + 1}_conv1"] = (separable[2 * i], "same", 1)
        matched[f"block{i + 1}_conv2"] = (separable[2 * i + 1], "same", 1)
    norms = {file.inputs(name)[0]: name for name in _of_class(file, "BatchNormalization")}
    arrays: Arrays = {}
    for layer, (name, padding, strides) in matched.items():
        config = file.layers[name]["config"]
        if (found := (config["padding"], list(config["strides"]))) != (expected := (padding, [strides] * 2)):
            raise UserError(
                f"{file.path}: not a mini-Xception: {name} has padding and strides {found}, {layer} has {expected}"
            )
        arrays |= {("params", layer, key): value for key, value in _convolution(file, name, layer).items()}
        if is_head(layer):
            continue
        if name not in norms:
            raise UserError(f"{file.path}: not a mini-Xception: no BatchNormalization after {name}")
        arrays |= _batch_norm(file, norms[name], layer.replace("conv", "norm"))
    layer = next(layer for layer in file.layers.values() if layer["class_name"] == "InputLayer")
    _, height, width, channels = layer["config"].get("batch_shape") or layer["config"]["batch_input_shape"]
    if height is None or height != width:
        raise UserError(f"{file.path}: takes images of {height} x {width}: expected a fixed square")
    args = {
        "stem_features": arrays["params", "stem1_conv", "kernel"].shape[-1],
        "block_features": tuple(
            arrays["params", f"block{i + 1}_residual_conv", "kernel"].shape[-1] for i in range(blocks)
        ),
    }
    return Weights(arrays, args, len(arrays["params", "classes_conv", "bias"]), height, channels)


def _of_class(file: keras_hdf5.KerasFile, class_name: str) -> list[str]:
    """Names of the layers of one class, those nearest to the input first."""
    return sorted(
        (name for name, layer in file.layers.items() if layer["class_name"] == class_name), key=file.depths.__getitem__
    )


def _convolution(file: keras_hdf5.KerasFile, name: str, layer: str) -> dict[str, np.ndarray]:
    found = dict(file.weights.get(name, {}))
    if "depthwise_kernel" in found:  # (h, w, in, 1): here the channels come last
        found["depthwise_kernel"] = np.swapaxes(found["depthwise_kernel"], 2, 3)
    expected = (
        {"kernel", "bias"}
        if is_head(layer)
        else {"kernel"}
        if layer.endswith("_residual_conv") or layer.startswith("stem")
        else {"depthwise_kernel", "pointwise_kernel"}
    )
    if set(found) != expected:
        raise UserError(
            f"{file.path}: not a mini-Xception: {name} holds {', '.join(sorted(found)) or 'nothing'}, "
            f"{layer} has {', '.join(sorted(expected))}"
        )
    return found


def _batch_norm(file: keras_hdf5.KerasFile, name: str, layer: str) -> Arrays:
    epsilon = file.layers[name]["config"]["epsilon"]
    if not np.isclose(epsilon, 1e-3):
        raise UserError(f"{file.path}: {name} has epsilon {epsilon}, mini-Xception has 0.001")
    places = {
        "gamma": ("params", "scale"),
        "beta": ("params", "bias"),
        "moving_mean": ("batch_stats", "mean"),
        "moving_variance": ("batch_stats", "var"),
    }
    return {(collection, layer, parameter): file.weights[name][key] for key, (collection, parameter) in places.items()}
