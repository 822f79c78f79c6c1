"""Muon with its iterations over matrices of one shape as one batched iteration, for GPUs and TPUs.

`optax.contrib.muon` orthogonalizes one matrix after the other, with five times three small products each: half the
kernels of a step of mini-Xception. A device works in tiles of 128x128: matrices that fill equally many, padded with
zeros to one shape, cost nothing more as one batch, and zeros stay zeros. The state is optax's, and so are the results
but for rounding.
"""

import collections
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

TILE = 128
BETA, STEPS, COEFFICIENTS, EPSILON = 0.95, 5, (3.4445, -4.7750, 2.0315), 1e-8  # optax' defaults


def scale_by_muon() -> optax.GradientTransformation:
    """`optax.contrib.scale_by_muon` with its defaults, for kernels whose last axis is the output."""
    init = optax.contrib.scale_by_muon(COEFFICIENTS, STEPS, BETA, EPSILON).init

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        count = optax.safe_increment(state.count)
        mu = optax.tree.update_moment(updates, state.mu, BETA, 1)
        corrected = optax.tree.bias_correction(mu, BETA, optax.safe_increment(count))
        current = optax.tree.bias_correction(updates, BETA, count)
        nesterov = jax.tree.map(lambda m, g: BETA * m + (1 - BETA) * g, corrected, current)
        kernels, tree = jax.tree.flatten(nesterov)
        matrices = orthogonalized([k.reshape(-1, k.shape[-1]) for k in kernels], state.ns_coeffs)
        changes = [m.reshape(k.shape) for m, k in zip(matrices, kernels, strict=True)]
        return jax.tree.unflatten(tree, changes), state._replace(count=count, mu=mu)

    return optax.GradientTransformation(init, update)


def orthogonalized(matrices: Sequence[jax.Array], coefficients: jax.Array) -> list[jax.Array]:
    """The nearest orthogonal matrices, about, by five Newton-Schulz iterations (Jordan et al., "Muon", 2024).

    Args:
      matrices: (rows, columns) each.
      coefficients: (3,), of x, (x x^T) x and (x x^T)^2 x.
    """
    wide = [m.T if m.shape[0] > m.shape[1] else m for m in matrices]
    groups = collections.defaultdict(list)
    for i, m in enumerate(wide):
        groups[tuple(-(-side // TILE) for side in m.shape)].append(i)
    result: list[Any] = [None] * len(matrices)
    for members in groups.values():
        rows, columns = (max(wide[i].shape[axis] for i in members) for axis in (0, 1))
        # A sum of padded matrices is one operation; a stack of them is one for each.
        batch: Any = sum(
            jnp.pad(m[None], ((place, len(members) - 1 - place), (0, rows - m.shape[0]), (0, columns - m.shape[1])))
            for place, m in enumerate(wide[i] for i in members)
        )
        batch = _newton_schulz(batch, coefficients)
        for i, m in zip(members, batch, strict=True):
            m = m[: wide[i].shape[0], : wide[i].shape[1]]
            result[i] = m.T if matrices[i].shape[0] > matrices[i].shape[1] else m
    return result


def _newton_schulz(x: jax.Array, coefficients: jax.Array) -> jax.Array:
    """Orthogonalize a batch (n, rows, columns)."""
    a, b, c = coefficients.astype(x.dtype)
    x = x / (jnp.sqrt(jnp.sum(x * x, axis=(1, 2), keepdims=True)) + EPSILON)
    for _ in range(STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def muon(
    learning_rate: Callable[[Any], Any],
    weight_decay: float,
    consistent_rms: float,
    dimension_numbers: Callable[[Any], Any],
) -> optax.GradientTransformation:
    """`optax.contrib.muon` with these arguments and `adam_weight_decay=0`; the state is the same tree.

    Args:
      dimension_numbers: tree of `MuonDimensionNumbers`, the last axis the output and the others reduced, None for Adam.
    """

    def is_leaf(x: Any) -> bool:
        return x is None or isinstance(x, optax.contrib.MuonDimensionNumbers)

    def labels(params: Any) -> Any:
        return jax.tree.map(lambda n: "adam" if n is None else "muon", dimension_numbers(params), is_leaf=is_leaf)

    def scaled(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        sides = jax.tree.map(lambda u: max(u.size // u.shape[-1], u.shape[-1]), updates)
        return jax.tree.map(lambda u, side: consistent_rms * side**0.5 * u, updates, sides), state

    return optax.partition(
        {
            "muon": optax.chain(
                scale_by_muon(),
                optax.GradientTransformation(lambda params: optax.EmptyState(), scaled),
                optax.add_decayed_weights(weight_decay),
                optax.scale_by_learning_rate(learning_rate),
            ),
            "adam": optax.adamw(learning_rate, eps=EPSILON, weight_decay=0.0, nesterov=True),
        },
        labels,
    )
