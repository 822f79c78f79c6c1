"""Probabilities that mean what they say: one temperature, fitted where the epoch was chosen (Guo et al. 2017).

A network trained to fit labels is more sure, or less, than it is right. Dividing its logits by one number changes no
prediction and mends most of that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import log_softmax, softmax

from fer_jax.evaluation import metrics

COVERAGE = 0.9  # share of faces that are answered without the flag "uncertain"
FOLDS = 5
LOG_TEMPERATURES = (-3.0, 3.0)


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature T with the least mean negative log-likelihood of softmax(logits / T).

    Args:
      logits: float (N, classes).
      labels: int (N,).
    """
    logits = np.asarray(logits, np.float64)

    def loss(log_temperature: float) -> float:
        return -log_softmax(logits / np.exp(log_temperature), axis=1)[np.arange(len(labels)), labels].mean()

    from scipy.optimize import minimize_scalar  # 0.3 s to import, of no use before a run's end

    return float(np.exp(minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded").x))


def cross_fitted(logits: np.ndarray, labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """float64 (N, classes): probabilities of each face with the temperature fitted on the other folds."""
    fold = np.random.default_rng(seed).permutation(len(labels)) % FOLDS
    probabilities = np.empty(logits.shape)
    for number in range(FOLDS):
        rest, here = fold != number, fold == number
        probabilities[here] = softmax(logits[here] / temperature(logits[rest], labels[rest]), axis=1)
    return probabilities


def unavoidable_error(probabilities: np.ndarray, draws: int = 100, seed: int = 0) -> float:
    """The expected calibration error that probabilities without fault would show on so few faces, in 0..1.

    Each bin's accuracy is that of a sample, and the error adds up its distances whatever their sign. Measured on labels
    drawn from the probabilities (N, classes) themselves, the mean over `draws` of them.
    """
    random, below = np.random.default_rng(seed), probabilities.cumsum(axis=1)
    labels = ((below < random.random((draws, len(below), 1))).sum(axis=2)).clip(max=below.shape[1] - 1)
    return float(np.mean([metrics.expected_calibration_error(probabilities, drawn) for drawn in labels]))


def fit(logits: np.ndarray, labels: np.ndarray, split: str) -> dict[str, Any]:
    """What a bundle needs to know, and how well it does on faces that were not fitted; ready for JSON.

    Returns:
      {"fitted_on": split, "temperature", "uncertain_below": the probability that `COVERAGE` of the faces reach,
      "coverage", "accuracy_when_certain", "expected_calibration_error": {"before", "after", "unavoidable"}}. What
      comes after the threshold was measured by cross-fitting over `FOLDS` folds; see `unavoidable_error`.
    """
    probabilities = cross_fitted(logits, labels)
    confidence = probabilities.max(axis=1)
    certain = confidence >= (threshold := float(np.quantile(confidence, 1 - COVERAGE)))
    return {
        "fitted_on": split,
        "temperature": temperature(logits, labels),
        "uncertain_below": threshold,
        "coverage": float(certain.mean()),
        "accuracy_when_certain": float((probabilities.argmax(axis=1) == labels)[certain].mean()),
        "expected_calibration_error": {
            "before": metrics.expected_calibration_error(softmax(logits, axis=1), labels),
            "after": metrics.expected_calibration_error(probabilities, labels),
            "unavoidable": unavoidable_error(probabilities),
        },
    }
