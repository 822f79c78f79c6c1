"""The archive of a bundle: every array of the network by name, in safetensors, which any language can read."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import safetensors.numpy

from fer_jax.bundle.manifest import Bundle


def save(path: str | os.PathLike, variables: Mapping[str, Any]) -> None:
    """Write {"params", "batch_stats"?} under flat names such as "params/stem1_conv/kernel"."""
    flat = dict(_flat(variables))
    # not save_file, which lets nobody but its maker read the file
    pathlib.Path(path).write_bytes(
        safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in flat.items()})
    )


def load(bundle: Bundle) -> dict[str, Any]:
    """The variables for `model.apply`, a tree of numpy arrays.

    Raises:
      UserError: the bundle holds no weights.
    """
    tree: dict[str, Any] = {}
    for name, array in safetensors.numpy.load_file(bundle.file("weights")).items():
        *groups, last = name.split("/")
        branch = tree
        for group in groups:
            branch = branch.setdefault(group, {})
        branch[last] = array
    return tree


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value
