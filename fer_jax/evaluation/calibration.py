"""Probabilities that mean what they say: one temperature, fitted where the epoch was chosen (Guo et al. 2017).

A network trained to fit labels is over- or under-confident. Dividing its logits by one number changes no prediction and
mends most of that.
"""

from typing import Any

import numpy as np
from scipy.special import log_softmax, softmax

from fer_jax.evaluation import metrics

COVERAGE = 0.9  # share of faces that are answered without the flag "uncertain"
SURE = 0.95  # a name that is more probable is never flagged, however sure the network is of all faces
FOLDS = 5
DRAWS = 100  # of labels, for `unavoidable_error`
# With fewer faces a fit is worse than none too often. Measured on made logits of 7 classes whose true temperature is
# 1.3: the fit is worse than a temperature of 1 in 25 to 38 % of draws of 20 faces, in 6 to 14 % of draws of 50.
MIN_FACES = 50
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

    found: Any = minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded")
    return float(np.exp(found.x))


def cross_fitted(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """float64 (N, classes): probabilities of each face with the temperature fitted on the other folds."""
    fold = np.random.default_rng(0).permutation(len(labels)) % FOLDS
    probabilities = np.empty(logits.shape)
    for number in range(FOLDS):
        rest, here = fold != number, fold == number
        probabilities[here] = softmax(logits[here] / temperature(logits[rest], labels[rest]), axis=1)
    return probabilities


def unavoidable_error(probabilities: np.ndarray) -> float:
    """The expected calibration error of a perfectly calibrated model at this number of faces, in 0..1.

    Each bin's accuracy is that of a sample, and the error adds up its distances whatever their sign. Measured on labels
    drawn from the probabilities (N, classes) themselves, the mean over `DRAWS` of them.
    """
    random, below = np.random.default_rng(0), probabilities.cumsum(axis=1)
    labels = ((below < random.random((DRAWS, len(below), 1))).sum(axis=2)).clip(max=below.shape[1] - 1)
    return float(np.mean([metrics.expected_calibration_error(probabilities, drawn) for drawn in labels]))


def fit(logits: np.ndarray, labels: np.ndarray, split: str, coverage: float = COVERAGE) -> dict[str, Any]:
    """Choose what a bundle needs to know, and measure how well it does on faces that were not fitted; ready for JSON.

    Returns:
      {"fitted_on": split, "temperature", "uncertain_below": the probability that `coverage` of the faces reach, `SURE`
      at most, "coverage", "accuracy_when_certain", "expected_calibration_error": {"before", "after", "unavoidable"}}.
      What comes after the threshold was measured by cross-fitting over `FOLDS` folds; see `unavoidable_error`. Where
      `why_not_fitted` has a reason, "fitted_on" is None, the temperature 1, and no face is uncertain.
    """
    if fitted := not why_not_fitted(logits, labels, split):
        probabilities = cross_fitted(logits, labels)
        threshold = min(float(np.quantile(probabilities.max(axis=1), 1 - coverage)), SURE)
    else:
        probabilities, threshold = softmax(logits, axis=1), 0.0
    return {
        "fitted_on": split if fitted else None,
        "temperature": temperature(logits, labels) if fitted else 1.0,
        **_at_threshold(probabilities, labels, threshold),
        "expected_calibration_error": {
            "before": metrics.expected_calibration_error(softmax(logits, axis=1), labels),
            "after": metrics.expected_calibration_error(probabilities, labels),
            "unavoidable": unavoidable_error(probabilities),
        },
    }


def errors(logits: np.ndarray, labels: np.ndarray, temperature: float) -> dict[str, float]:
    """Measure how far a model's confidence is from its accuracy on data that its temperature was not fitted on.

    Returns:
      {"temperature", "mean_confidence": mean probability of the predicted class, "expected_calibration_error",
      "unavoidable": see `unavoidable_error`}. Confidence above accuracy is overconfidence.
    """
    probabilities = softmax(np.asarray(logits, np.float64) / temperature, axis=1)
    return {
        "temperature": temperature,
        "mean_confidence": float(probabilities.max(axis=1).mean()),
        "expected_calibration_error": metrics.expected_calibration_error(probabilities, labels),
        "unavoidable": unavoidable_error(probabilities),
    }


def at_coverage(probabilities: np.ndarray, labels: np.ndarray, coverage: float) -> dict[str, float]:
    """The threshold of "uncertain" that answers a stated share of these faces, and how often the answers are right.

    Args:
      probabilities: float (N, classes), rows summing to 1, N at least 1.
      labels: int (N,).
      coverage: above 0 and at most 1, the share of faces to be answered.

    Returns:
      {"uncertain_below", "coverage": the share that is answered, "accuracy_when_certain"}. Of faces that are equally
      probable at the threshold all are answered.
    """
    confidence = probabilities.max(axis=1)
    # the confidence of the last face that has to be answered; 0 flags nothing, whatever is shown later
    kept = max(round(coverage * len(confidence)), 1)
    return _at_threshold(probabilities, labels, float(np.sort(confidence)[-kept]) if coverage < 1 else 0.0)


def _at_threshold(probabilities: np.ndarray, labels: np.ndarray, threshold: float) -> dict[str, float]:
    certain = probabilities.max(axis=1) >= threshold
    return {
        "uncertain_below": threshold,
        "coverage": float(certain.mean()),
        "accuracy_when_certain": float((probabilities.argmax(axis=1) == labels)[certain].mean()),
    }


def why_not_fitted(logits: np.ndarray, labels: np.ndarray, split: str) -> str:
    """Reason why these faces say nothing about the temperature, a sentence for the result; "" where they do."""
    if len(labels) < MIN_FACES:
        return (
            f"the probabilities are not calibrated: {split} has {len(labels)} images and a temperature takes at least "
            f"{MIN_FACES}; it stays 1"
        )
    # Without a mistake, or with nothing but mistakes, the more extreme the better.
    if not 0.99 * LOG_TEMPERATURES[0] < np.log(temperature(logits, labels)) < 0.99 * LOG_TEMPERATURES[1]:
        accuracy = (logits.argmax(axis=1) == labels).mean()
        return (
            f"the probabilities are not calibrated: with {100 * accuracy:.0f} % of {split} right no temperature is the "
            "best; it stays 1"
        )
    return ""
