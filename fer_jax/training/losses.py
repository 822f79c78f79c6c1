"""Losses on float32 logits."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np


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


def logit_adjustment(class_counts: np.ndarray, strength: float) -> np.ndarray:
    """float32 (classes,): what is added to the logits in training so that rare classes are not drowned by common ones.

    `strength` times the log of each class's share; at 1 the network learns the classes as if all were as frequent, and
    is right about the balanced error (Menon et al., "Long-tail learning via logit adjustment", 2021). A class without
    examples counts as having one.
    """
    shares = np.maximum(class_counts, 1) / max(np.sum(class_counts), 1)
    return (strength * np.log(shares)).astype(np.float32)
