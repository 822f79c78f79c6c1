"""The archive of a bundle: every array of the network by name, in safetensors, which any language can read."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy
from flax import traverse_util

from fer_jax.bundle.manifest import Bundle


def save(path: str | os.PathLike, variables: Mapping[str, Any]) -> None:
    """Write {"params", "batch_stats"?} under flat names such as "params/stem1_conv/kernel"."""
    flat = traverse_util.flatten_dict(variables, sep="/")
    # not save_file, which lets nobody but its maker read the file
    pathlib.Path(path).write_bytes(
        safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in flat.items()})
    )


def load(bundle: Bundle) -> dict[str, Any]:
    """The variables for `model.apply`, a tree of numpy arrays.

    Raises:
      UserError: the bundle holds no weights.
    """
    return traverse_util.unflatten_dict(safetensors.numpy.load_file(bundle.file("weights")), sep="/")
