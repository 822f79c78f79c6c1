"""Losses on float32 logits."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def cross_entropy(logits: jax.Array, targets: jax.Array, label_smoothing: float = 0.0) -> jax.Array:
    """(N,): cross-entropy in nats of each example.

    Args:
      logits: float (N, classes).
      targets: float (N, classes), rows that sum to 1: one-hot labels, mixed ones, or a distribution of votes.
      label_smoothing: in 0..1, the share of the target that is spread evenly over all classes (Szegedy et al. 2016).
    """
    if label_smoothing:
        targets = targets * (1 - label_smoothing) + label_smoothing / targets.shape[-1]
    return -jnp.sum(targets * jax.nn.log_softmax(logits), axis=-1)
