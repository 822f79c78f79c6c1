"""The archive of a bundle: every array of the network by name, in safetensors, which any language can read."""

import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import safetensors.numpy

from fer_jax.bundle.manifest import Bundle
from fer_jax.errors import UserError


def save(path: str | os.PathLike, variables: Mapping[str, Any], half: bool = False) -> None:
    """Write {"params", "batch_stats"?} under flat names such as "params/stem1_conv/kernel".

    With `half` arrays are rounded to float16, but for those with numbers beyond it.
    """
    flat = {name: np.ascontiguousarray(array) for name, array in _flat(variables)}
    if half:
        limit = np.finfo(np.float16).max
        flat = {
            name: array if np.abs(array).max() > limit else array.astype(np.float16) for name, array in flat.items()
        }
    # not save_file, whose file its maker alone may read
    pathlib.Path(path).write_bytes(safetensors.numpy.save(flat))


def load(bundle: Bundle) -> dict[str, Any]:
    """The variables for `model.apply`, a tree of numpy arrays.

    Raises:
      UserError: the bundle holds no weights.
    """
    tree: dict[str, Any] = {}
    for name, array in read_safetensors(bundle.file("weights")).items():
        *groups, last = name.split("/")
        branch = tree
        for group in groups:
            branch = branch.setdefault(group, {})
            if not isinstance(branch, dict):
                raise UserError(f"{bundle.path}: its weights have an array at a part of {name!r}: export it again")
        branch[last] = array
    return tree


def read_safetensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The float32 arrays of a file of safetensors.

    Raises:
      UserError: a damaged file, arrays that are not of real numbers, or with a NaN or an infinity.
    """
    try:
        found = safetensors.numpy.load_file(path)
    except Exception as error:  # its parser has an error of its own, NumPy others for types and shapes
        raise UserError(f"{path}: damaged safetensors ({' '.join(str(error).split())}): copy it again") from error
    for name, array in found.items():
        require_numbers(f"{path}: {name!r}", array)
    return {name: array.astype(np.float32, copy=False) for name, array in found.items()}


def require_numbers(what: str, array: np.ndarray) -> None:
    """UserError unless `array`, which `what` names, holds floating-point numbers that are finite as float32."""
    if not array.dtype.name.startswith(("float", "bfloat")):  # bfloat16's kind is not NumPy's "f"
        raise UserError(f"{what} is of {array.dtype}, expected floating-point numbers: give other weights")
    with np.errstate(over="ignore"):
        finite = np.isfinite(array.astype(np.float32, copy=False)).all()
    if not finite:
        raise UserError(f"{what} has numbers that are infinite or NaN: give weights of a training that converged")


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value
