"""Weights from elsewhere put into a network of this package: Keras, torchvision, and its own bundles.

Nothing is downloaded: a path is given, and the error for a missing file names the official one.
"""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from flax import traverse_util
from ml_collections import ConfigDict

from fer_jax import files, labels, zoo
from fer_jax.bundle import manifest, weights
from fer_jax.errors import UserError
from fer_jax.models import keras_files, registry, vgg
from fer_jax.models.mini_xception import MiniXception
from fer_jax.models.network import Arrays, is_head

OFFICIAL = {
    "vgg16": "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5 of Keras (md5 6d6bbae143d832006294945121d1f1fc) or "
    "vgg16-397923af.pth of torchvision (its sha256 begins with 397923af)",
    "mini_xception": "fer2013_mini_XCEPTION.107-0.66.hdf5 of github.com/oarriaga/face_classification (sha256 "
    "e3699ec0bc5d531e135571fe2f7c31fd8711c0d4858c0969dc052603810053b5)",
}


def load(
    path: str | os.PathLike, model_name: str, variables: Mapping[str, Any], label_names: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """Put the weights of a file into a network's variables, those of the head by the classes' names.

    Args:
      path: a Keras HDF5 file (vgg16, mini_xception), torchvision's vgg16 state dict (.safetensors, or .pth,
        which needs torch), a bundle of this project (any network), or the name of one that comes with it.
      model_name: key of `fer_jax.models.registry`.
      variables: freshly initialized, {"params", "batch_stats"?}.
      label_names: of the network, in the order of its logits. A bundle names its own; a Keras mini-Xception does not,
        and is taken for one of FER2013 where it has as many classes.

    Returns:
      New variables, and what keeps its fresh values: the head where the file has none or one of another shape, as
      "classes", and else those of its classes that the file does not know, as "classes of contempt".

    Raises:
      UserError: no such file (naming the official one), a format not read for this network, or weights for another
        network: every missing layer and wrong shape is named.
    """
    path = zoo.find(path)
    arrays, known = _read(path, model_name)
    columns = np.array(labels.columns(label_names, known), int)
    filled, fresh = _fill(variables, arrays, path, model_name, columns)
    unknown = [name for name, column in zip(label_names, columns, strict=True) if column < 0]
    if unknown and len(unknown) < len(columns):
        heads = sorted({layer for _, layer, _ in traverse_util.flatten_dict(variables) if is_head(layer)} - set(fresh))
        fresh = [*fresh, *(f"{layer} of {', '.join(unknown)}" for layer in heads)]
    return filled, fresh


def adopt(config: ConfigDict) -> None:
    """Set network, arguments and input of a config to those of the bundle `config.model.pretrained`, if it is one."""
    if (bundle := _bundle(config)) is None:
        return
    config.model.name = bundle.model["name"]
    args = {key: tuple(value) if isinstance(value, list) else value for key, value in bundle.model["args"].items()}
    config.model.args = ConfigDict(args).unlock()
    for key, value in _input(bundle).items():
        config.input[key] = value
    config.input.resize = bundle.input.resize


def refuse_other_input(config: ConfigDict) -> None:
    """UserError where the bundle `config.model.pretrained` has no weights, or another input or network than the config.

    Its weights would fit, and mean something else. Files of others do not say how they were trained.
    """
    if (bundle := _bundle(config)) is None:
        return
    bundle.file("weights")
    theirs = {f"input.{key}": value for key, value in _input(bundle).items()}
    ours = {key: config.input[key.partition(".")[2]] for key in theirs}
    for found, model in ((theirs, bundle.model), (ours, config.model)):
        found["model.name"] = model["name"]
        network = registry.create(model["name"], 2, model["args"])
        found |= {f"model.args.{key}": getattr(network, key) for key in registry.arguments(model["name"])}
    if differ := [key for key in theirs if ours.get(key) != theirs[key]]:
        raise UserError(
            f"config.model.pretrained: {config.model.pretrained} was trained with "
            + ", ".join(f"{key} {theirs[key]!r}, here {ours.get(key)!r}" for key in differ)
            + f": leave {' and '.join(f'config.{key}' for key in differ)} out, a bundle brings its own"
        )


def _bundle(config: ConfigDict) -> manifest.Bundle | None:
    path = zoo.find(config.model.pretrained)
    return manifest.read(path) if config.model.pretrained and manifest.is_bundle(path) else None


def _input(bundle: manifest.Bundle) -> dict[str, Any]:
    """Properties of the input that a network's weights depend on, by their keys in `config.input`."""
    spec = bundle.input
    return {"size": spec.size, "channels": spec.channels, "scaling": spec.scaling, "crop": spec.seen or 0}


def import_mini_xception(path: str | os.PathLike) -> tuple[keras_files.Weights, dict[str, Any]]:
    """A Keras mini-Xception: what it is, and {"params", "batch_stats"} of numpy arrays for a network of its arguments.

    Raises:
      UserError: as of `load`, and for a file that holds another network.
    """
    path = files.expand(path)
    if not path.exists():
        raise UserError(f"no weights at {path}: expected {OFFICIAL['mini_xception']}; download it yourself")
    found = keras_files.read_mini_xception(path)
    model = MiniXception(num_classes=found.num_classes, **found.args)
    images = jnp.zeros((1, found.input_size, found.input_size, found.channels))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), images, False))
    return found, _fill(shapes, found.arrays, path, "mini_xception", np.arange(found.num_classes))[0]


def _read(path: pathlib.Path, model_name: str) -> tuple[Arrays, Sequence[str]]:
    """The arrays, and the names of the head's classes where the file has a head and says them."""
    refuse_missing(path, model_name)
    if manifest.is_bundle(path):
        found = manifest.read(path)
        if found.model["name"] != model_name:
            raise UserError(f"{path}: a bundle of {found.model['name']}, and config.model.name is {model_name!r}")
        arrays: Any = traverse_util.flatten_dict(weights.load(found))
        return arrays, found.labels
    match path.suffix, model_name:
        case ((".h5" | ".hdf5"), "vgg16"):
            return _vgg16_from_keras(keras_files.read(path)), ()
        case ((".h5" | ".hdf5"), "mini_xception"):
            found = keras_files.read_mini_xception(path)
            if found.num_classes != len(labels.FER2013):
                return found.arrays, ()
            logging.info("%s does not name its classes: taken in FER2013's order, %s", path, ", ".join(labels.FER2013))
            return found.arrays, labels.FER2013
        case ((".safetensors" | ".pth" | ".pt"), "vgg16"):
            return _vgg16_from_torchvision(_read_state_dict(path)), ()
    formats = {
        "vgg16": "Keras' .h5, torchvision's state dict as .safetensors or .pth, or a bundle",
        "mini_xception": "Keras' .hdf5 or a bundle",
    }
    raise UserError(
        f"{path}: not a file of weights that is read for {model_name}: expected {formats.get(model_name, 'a bundle')}"
    )


def refuse_missing(path: str | os.PathLike, model_name: str) -> None:
    """UserError for a file of weights that does not exist, which names the official one of the network."""
    if not zoo.find(path).exists():
        raise UserError(
            f"no weights at {path}: expected one of {', '.join(zoo.names())}, the path of a bundle"
            + (f", or {OFFICIAL[model_name]}; download it yourself and give its path" if model_name in OFFICIAL else "")
        )


def _vgg16_from_keras(file: keras_files.KerasFile) -> Arrays:
    return {
        ("params", layer, parameter): array
        for block, (convolutions, _) in enumerate(vgg.VGG16_BLOCKS, 1)
        for layer in (f"block{block}_conv{i}" for i in range(1, convolutions + 1))
        for parameter, array in file.weights.get(layer, {}).items()
    }


def _vgg16_from_torchvision(state: Mapping[str, np.ndarray]) -> Arrays:
    """torchvision numbers convolutions, ReLUs and pools of `features` together, and its kernels are (out, in, h, w)."""
    arrays, number = {}, 0
    for block, (convolutions, _) in enumerate(vgg.VGG16_BLOCKS, 1):
        for i in range(1, convolutions + 1):
            layer = f"block{block}_conv{i}"
            if (kernel := state.get(f"features.{number}.weight")) is not None:
                arrays["params", layer, "kernel"] = np.transpose(kernel, (2, 3, 1, 0)) if kernel.ndim == 4 else kernel
            if (bias := state.get(f"features.{number}.bias")) is not None:
                arrays["params", layer, "bias"] = bias
            number += 2
        number += 1
    return arrays


def _read_state_dict(path: pathlib.Path) -> dict[str, np.ndarray]:
    if path.suffix == ".safetensors":
        return weights.read_safetensors(path)
    try:
        import torch  # pyright: ignore[reportMissingImports]: none of the extras has it
    except ImportError:
        raise UserError(
            f"{path}: a pickle of PyTorch, which is not installed here: install torch, or save the state "
            "dict where it is: safetensors.torch.save_file(state, 'vgg16.safetensors')"
        ) from None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {name: tensor.numpy() for name, tensor in state.items()}
    except Exception as error:  # of the unpickler, or an object that is no state dict
        raise UserError(
            f"{path}: no state dict that torch.load reads with weights_only ({' '.join(str(error).split())[:200]}): "
            "save it again, torch.save(model.state_dict(), 'vgg16.pth')"
        ) from error


def _fill(
    variables: Mapping[str, Any], arrays: Arrays, path: pathlib.Path, model_name: str, columns: np.ndarray
) -> tuple[dict[str, Any], list[str]]:
    """`variables` with the arrays; column i of a head is `columns[i]` of the file's, fresh where that is -1."""
    fresh, missing, wrong, filled = [], [], [], {}
    flat: Any = traverse_util.flatten_dict(variables)
    for key, value in flat.items():
        _, layer, parameter = key
        array = arrays.get(key)
        if array is not None:
            weights.require_numbers(f"{path}: {layer}/{parameter}", array)
        filled[key] = value
        if is_head(layer):
            if array is None or array.shape[:-1] != value.shape[:-1] or (columns < 0).all():
                fresh.append(layer)
            else:
                taken = np.asarray(array, value.dtype)[..., columns]
                filled[key] = taken if (columns >= 0).all() else np.where(columns < 0, np.asarray(value), taken)
        elif array is None:
            missing.append(f"{layer}/{parameter}")
        elif array.shape != value.shape:
            wrong.append(f"{layer}/{parameter} is {array.shape} instead of {value.shape}")
        else:
            filled[key] = np.asarray(array, value.dtype)
    if missing or wrong:
        problems = ([f"missing {', '.join(missing)}"] if missing else []) + wrong
        raise UserError(
            f"{path}: not the weights of this {model_name}: {'; '.join(problems)}; expected "
            f"{OFFICIAL.get(model_name, 'a bundle of the same network and arguments')}"
        )
    return traverse_util.unflatten_dict(filled), sorted(set(fresh))
