"""Vectors of a state as few long ones, for what is computed element by element.

Scales, biases, statistics and what optimizer and averages keep of them are a few numbers each, and a device takes as
long to start an operation on one of them as on all. Of the state within a chunk they are one vector a kind.
"""

import collections
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

Tree = Any


def pack(tree: Tree, groups: Mapping[str, str]) -> Tree:
    """The tree with each family of vectors joined in the place of its first; nothing is left in those of the others.

    Vectors are a family where only the last two keys of their paths differ, a layer's and its own: in params, in
    statistics, in what an optimizer keeps like them. Layers of different `groups` are trained apart: no family.
    """
    leaves = jax.tree.leaves(tree)
    packed: list[Any] = [optax.MaskedNode()] * len(leaves)
    for family in _families(tree, groups):
        packed[family[0]] = jnp.concatenate([leaves[i] for i in family]) if len(family) > 1 else leaves[family[0]]
    return jax.tree.unflatten(jax.tree.structure(tree), packed)


def unpack(packed: Tree, like: Tree, groups: Mapping[str, str]) -> Tree:
    """The tree of the shapes of `like` whose `pack` is `packed`."""
    shapes, leaves = jax.tree.leaves(like), {}
    for family, joined in zip(_families(like, groups), jax.tree.leaves(packed), strict=True):
        ends = np.cumsum([shapes[i].size for i in family])[:-1]
        leaves |= zip(family, jnp.split(joined, ends) if len(family) > 1 else [joined], strict=True)
    return jax.tree.unflatten(jax.tree.structure(like), [leaves[i] for i in range(len(shapes))])


def _families(tree: Tree, groups: Mapping[str, str]) -> list[list[int]]:
    """Positions of the leaves by family, in the order of each one's first; what is no vector is alone."""
    families = collections.defaultdict(list)
    for i, (path, leaf) in enumerate(jax.tree_util.tree_leaves_with_path(tree)):
        layer = jax.tree_util.keystr(path[-2:-1], simple=True)
        families[(path[:-2], groups.get(layer)) if leaf.ndim == 1 else i].append(i)
    return list(families.values())
