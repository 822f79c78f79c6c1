"""Keras' HDF5 files of weights, of Keras 1 to 3, read without Keras."""

import dataclasses
import functools
import json
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from fer_jax.errors import UserError

MAX_BYTES = 1 << 30  # of one array


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
    if isinstance(node, dict):
        if "keras_history" in node:
            yield node["keras_history"][0]
        else:
            for value in node.values():
                yield from _inbound(value)
    elif isinstance(node, list):
        if node and isinstance(node[0], str):
            yield node[0]
        else:
            for value in node:
                yield from _inbound(value)
