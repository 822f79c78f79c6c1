"""Keras' HDF5 files of weights, of Keras 1 to 3, read without Keras; and the mini-Xception in such a file.

github.com/oarriaga/face_classification publishes files of mini-Xception.
"""

import dataclasses
import functools
import json
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from fer_jax.errors import UserError
from fer_jax.models.network import Arrays, is_head

MAX_BYTES = 1 << 30  # of one array
MAX_LAYERS = 1_000
# Keras' name of a BatchNormalization's array: its place here
NORM = {
    "gamma": ("params", "scale"),
    "beta": ("params", "bias"),
    "moving_mean": ("batch_stats", "mean"),
    "moving_variance": ("batch_stats", "var"),
}


@dataclasses.dataclass(frozen=True)
class KerasFile:
    """Content of a file.

    Attributes:
      path: the file.
      weights: {layer: {weight: float32 array}}, such as {"conv2d_1": {"kernel": (3, 3, 1, 8)}}, in Keras' layouts.
      config: the architecture of a whole saved model, or None where only weights were saved.
    """

    path: pathlib.Path
    weights: dict[str, dict[str, np.ndarray]]
    config: dict[str, Any] | None

    @functools.cached_property
    def layers(self) -> dict[str, dict[str, Any]]:
        """{name: {"class_name", "config", ...}} of the architecture; UserError when the file has none."""
        if self.config is None:
            raise UserError(
                f"{self.path}: holds weights without the architecture (model_config): "
                "save the whole model in Keras, model.save('model.h5')"
            )
        try:
            inside = self.config["config"]
            layers = inside if isinstance(inside, list) else inside["layers"]  # a list: a Sequential before Keras 2.2.3
            return {
                layer["config"]["name"]: layer
                | {"class_name": str(layer["class_name"]), "config": dict(layer["config"])}
                for layer in layers
            }
        except (KeyError, TypeError, IndexError, ValueError):
            raise UserError(
                f"{self.path}: its architecture (model_config) names no layers: save the whole model again in Keras, "
                "model.save('model.h5')"
            ) from None

    def inputs(self, layer: str) -> list[str]:
        """The layers that feed `layer`."""
        try:
            return list(_inbound(self.layers[layer].get("inbound_nodes", [])))
        except RecursionError:
            raise UserError(f"{self.path}: the inputs of {layer} are too deep: save the model again in Keras") from None


def read(path: str | os.PathLike) -> KerasFile:
    """Read a file written by `save_weights` or `model.save` of Keras 1 to 3.

    The four layouts: `layer/layer_W_1:0`, `layer/layer/kernel:0`, `model_weights/` above the latter, and Keras 3's
    `layers/conv2d/vars/0`, where the layer's own name is an attribute.

    Raises:
      UserError: no HDF5 file, a truncated one, or one without Keras' weights.
    """
    import h5py  # of the extra "export"

    path = pathlib.Path(path)
    if not h5py.is_hdf5(path):
        raise UserError(f"{path}: not HDF5, as Keras writes weights: copy it again, or save a .keras model as .h5")
    weights: dict[str, dict[str, np.ndarray]] = {}
    try:
        with h5py.File(path, "r") as file:
            _refuse_outside(file, path)
            config = file.attrs.get("model_config")
            root: Any = file.get("model_weights", file)
            for name, group in root.items():
                if "weight_names" in group.attrs and (names := [_text(n) for n in group.attrs["weight_names"]]):
                    weights[name] = {_role(n): np.asarray(group[n], np.float32) for n in names}

            def visit(name: str, group: Any) -> None:
                if name.endswith("/vars") and len(group) and "name" in group.attrs:
                    layer = _text(group.attrs["name"])
                    roles = ("kernel", "bias") if len(group) <= 2 else sorted(group, key=int)
                    weights[layer] = {
                        role: np.asarray(group[str(i)], np.float32)
                        for i, role in zip(range(len(group)), roles, strict=False)
                    }

            root.visititems(visit)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{path}: not a readable HDF5 file ({' '.join(str(error).split())}): copy it again") from error
    if not weights:
        raise UserError(f"{path}: an HDF5 file without Keras' weights: expected what save_weights or model.save writes")
    try:
        return KerasFile(path, weights, None if config is None else json.loads(_text(config)))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: its architecture (model_config) is not JSON ({error}): copy it again") from error


def _refuse_outside(file: Any, path: pathlib.Path) -> None:
    """UserError for data that lies in other files or is larger than weights are: Keras writes neither."""
    import h5py

    # The first text that they return ends a visit; an exception from inside it would be lost.
    def link(name: str, found: Any) -> str | None:
        return None if isinstance(found, h5py.HardLink) else f"{name} is a link to {found.path}, which is not followed"

    def item(name: str, found: Any) -> str | None:
        if not isinstance(found, h5py.Dataset):
            return None
        if found.external or found.is_virtual:
            return f"{name} keeps its data in another file, which is not read"
        large = found.nbytes > MAX_BYTES
        return f"{name} has {found.nbytes:,} bytes, expected at most {MAX_BYTES:,}" if large else None

    if problem := file.visititems_links(link) or file.visititems(item):
        raise UserError(f"{path}: {problem}: give a file as Keras writes it")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _role(name: str) -> str:
    """The last part of a weight's name, in today's words: block1_conv1_W_1:0 is a kernel."""
    last = name.split("/")[-1].split(":")[0]
    old = re.search(r"_([Wb])(_\d+)?$", last)
    return {"W": "kernel", "b": "bias"}[old[1]] if old else last


def _inbound(node: Any) -> Iterator[str]:
    """Names of layers in an `inbound_nodes` of Keras 2, [[[name, 0, 0, {}], ...]], or 3, with "keras_history"."""
    match node:
        case {"keras_history": [name, *_]} | [str(name), *_]:
            yield name
        case dict() | list():
            for value in node.values() if isinstance(node, dict) else node:
                yield from _inbound(value)


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


def read_mini_xception(path: str | os.PathLike) -> Weights:
    """Match the layers of a saved Keras mini-Xception with ours, from its output back to its input.

    Every layer's kind, activation, scale, padding and epsilon is compared with the network that is built. Dropout,
    which does nothing in inference, and a last softmax may be there or not.

    Raises:
      UserError: for a file without architecture, or with another than mini-Xception: the layer that differs is named.
    """
    walk = _Walk(read(path))
    at = walk.output()
    if walk.kind(at) in ("Activation", "Softmax"):
        at = walk.through(at, walk.kind(at), activation="softmax")
    at = walk.through(at, "GlobalAveragePooling2D", keepdims=False)
    at, blocks = walk.convolution(at, "classes_conv", "same"), 0
    # From the last block to the first, whose number is known at the end: the last is block0, the one before block-1.
    while walk.kind(at) == "Add":
        at = walk.block(at, f"block{-blocks}")
        blocks += 1
    for layer in ("stem2_conv", "stem1_conv"):
        at = walk.convolution(walk.norm(walk.relu(at), layer), layer, "valid")
    if walk.kind(at) == "Rescaling":  # what the network built here does itself
        at = walk.through(at, "Rescaling", scale=1 / 127.5, offset=-1.0)
    walk.refuse_unless(blocks > 0 and walk.kind(at) == "InputLayer", f"{at} is a {walk.kind(at)}, expected the input")
    config = walk.file.layers[at]["config"]
    shape = config.get("batch_shape") or config.get("batch_input_shape")
    square = isinstance(shape, list) and len(shape) == 4 and isinstance(shape[1], int) and shape[1] == shape[2]
    walk.refuse_unless(square, f"it takes images of {shape}, expected a fixed square")
    numbers = {f"block{-i}": f"block{blocks - i}" for i in range(blocks)}
    arrays = {}
    for (collection, layer, parameter), array in walk.arrays.items():
        stage, _, rest = layer.partition("_")
        arrays[collection, f"{numbers.get(stage, stage)}_{rest}", parameter] = array
    args = {
        "stem_features": arrays["params", "stem1_conv", "kernel"].shape[-1],
        "block_features": tuple(
            arrays["params", f"block{i + 1}_residual_conv", "kernel"].shape[-1] for i in range(blocks)
        ),
    }
    return Weights(arrays, args, len(arrays["params", "classes_conv", "bias"]), *shape[2:])


class _Walk:
    """Goes from a layer of a file to the one that feeds it, after it was compared with mini-Xception's at that place.

    Attributes:
      file: the file.
      arrays: of the layers passed, by their place in the variables.
    """

    def __init__(self, file: KerasFile):
        self.file, self.arrays = file, Arrays()
        self._left = MAX_LAYERS

    def refuse_unless(self, met: bool, what: str) -> None:
        """UserError that says what differs."""
        if not met:
            raise UserError(f"{self.file.path}: not a mini-Xception: {what}")

    def kind(self, name: str) -> str:
        """The class of a layer."""
        return self.file.layers[name]["class_name"]

    def output(self) -> str:
        """The layer that feeds no other."""
        fed = {name for layer in self.file.layers for name in self.file.inputs(layer)}
        last = [name for name in self.file.layers if name not in fed]
        self.refuse_unless(len(last) == 1, f"it has the outputs {', '.join(last) or 'none'}, expected one")
        return self._source(last[0])

    def through(self, name: str, kind: str, inputs: int = 1, **expected: Any) -> str:
        """The layer that feeds `name`, a `kind` with the `expected` values in its config; the first of several."""
        self.refuse_unless(self.kind(name) == kind, f"{name} is a {self.kind(name)}, expected a {kind}")
        config = self.file.layers[name]["config"]
        for key, value in ({"data_format": "channels_last"} | expected).items():
            found = config.get(key, value)
            same = (
                np.isclose(found, value)
                if isinstance(value, float) and isinstance(found, int | float)
                else found == value
            )
            self.refuse_unless(bool(same), f"{name} has {key} {found!r}, expected {value!r}")
        feeding = self.file.inputs(name)
        self.refuse_unless(len(feeding) == inputs, f"{name} has {len(feeding)} inputs, expected {inputs}")
        return self._source(feeding[0])

    def relu(self, name: str) -> str:
        """The layer before a rectifier."""
        if self.kind(name) == "ReLU":
            return self.through(name, "ReLU", max_value=None, negative_slope=0.0, threshold=0.0)
        return self.through(name, "Activation", activation="relu")

    def norm(self, name: str, layer: str) -> str:
        """The layer before the BatchNormalization that follows our convolution `layer`."""
        before = self.through(name, "BatchNormalization", epsilon=1e-3)
        stored = self.file.weights.get(name, {})
        self.refuse_unless({"moving_mean", "moving_variance"} <= set(stored), f"{name} holds no statistics")
        neutral = {"gamma": np.ones_like, "beta": np.zeros_like}  # of scale=False and center=False
        for key, (collection, parameter) in NORM.items():
            found = stored[key] if key in stored else neutral[key](stored["moving_mean"])
            self.arrays[collection, layer.replace("conv", "norm"), parameter] = found
        return before

    def convolution(self, name: str, layer: str, padding: str, strides: int = 1) -> str:
        """The layer before the one that is our `layer`."""
        separable = layer.startswith("block") and not layer.endswith("_residual_conv")
        side = 1 if layer.endswith("_residual_conv") else 3
        shape = {"kernel_size": [side] * 2, "strides": [strides] * 2, "padding": padding, "dilation_rate": [1, 1]}
        expected = shape | {"activation": "linear", "depth_multiplier" if separable else "groups": 1}
        before = self.through(name, "SeparableConv2D" if separable else "Conv2D", **expected)
        found = dict(self.file.weights.get(name, {}))
        keys = ["depthwise_kernel", "pointwise_kernel"] if separable else ["kernel"]
        keys = ["bias", *keys] if is_head(layer) else keys
        holds = f"{name} holds {', '.join(sorted(found)) or 'nothing'}, expected {', '.join(keys)}"
        self.refuse_unless(sorted(found) == keys, holds)
        if separable:  # (h, w, in, 1): here the channels come last
            found["depthwise_kernel"] = np.swapaxes(found["depthwise_kernel"], 2, 3)
        self.arrays |= {("params", layer, key): value for key, value in found.items()}
        return before

    def block(self, name: str, block: str) -> str:
        """The layer before a residual block, whose last is the addition `name`."""
        self.through(name, "Add", inputs=2)
        branches = list(map(self._source, self.file.inputs(name)))
        branches.sort(key=lambda branch: self.kind(branch) == "MaxPooling2D")
        residual = self.norm(branches[0], f"{block}_residual_conv")
        residual = self.convolution(residual, f"{block}_residual_conv", "same", 2)
        at = self.through(branches[1], "MaxPooling2D", pool_size=[3, 3], strides=[2, 2], padding="same")
        at = self.convolution(self.norm(at, f"{block}_conv2"), f"{block}_conv2", "same")
        at = self.convolution(self.norm(self.relu(at), f"{block}_conv1"), f"{block}_conv1", "same")
        self.refuse_unless(at == residual, f"the branches of {name} begin at {at} and {residual}")
        return at

    def _source(self, name: str) -> str:
        """`name`, or what feeds it where it is a dropout."""
        self._left -= 1
        self.refuse_unless(self._left > 0, f"its layers go around in a circle, or are more than {MAX_LAYERS}")
        self.refuse_unless(name in self.file.layers, f"it has no layer {name}, which feeds another")
        if self.kind(name) in ("Dropout", "SpatialDropout2D"):
            return self.through(name, self.kind(name))
        return name
