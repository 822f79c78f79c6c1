"""Numbers that say how good predictions are, from logits and labels, in float64."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import log_softmax


def scores(logits: np.ndarray, labels: np.ndarray, label_names: Sequence[str]) -> dict[str, Any]:
    """The scores of one split, ready for JSON.

    Args:
      logits: float (N, classes), N at least 1, finite; the largest of a row is the prediction, the first among equals.
      labels: int (N,), indices into `label_names`.
      label_names: the classes in the order of the columns.

    Returns:
      A dict of
        examples: N.
        accuracy: share of correct predictions.
        standard_error: of the accuracy, that of a binomial, sqrt(a (1 - a) / N).
        loss: mean negative log-likelihood of the labels, in nats.
        top2_accuracy: share of examples whose label has one of the two largest logits (all of them for two classes).
        balanced_accuracy, macro_f1: unweighted means of recall and of F1 over the classes that occur in `labels`: a
          class without examples has no recall to speak of.
        per_class: {name: {examples, precision, recall, f1}}; a ratio without a denominator (precision of a class never
          predicted, recall of a class that does not occur) is 0.
        confusion: (classes, classes) list of lists of counts, rows the true class, columns the predicted.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    counts = confusion(logits.argmax(axis=1), labels, len(label_names))
    true, predicted, hits = counts.sum(axis=1), counts.sum(axis=0), np.diag(counts)
    precision, recall, f1 = (
        np.divide(a, b, out=np.zeros(len(a)), where=b > 0)
        for a, b in ((hits, predicted), (hits, true), (2 * hits, true + predicted))
    )
    accuracy = hits.sum() / len(labels)
    of_label = logits[np.arange(len(labels)), labels]
    above = (logits > of_label[:, None]).sum(axis=1)
    occurs = true > 0
    return {
        "examples": len(labels),
        "accuracy": float(accuracy),
        "standard_error": float(np.sqrt(accuracy * (1 - accuracy) / len(labels))),
        "loss": float(-log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean()),
        "top2_accuracy": float(np.mean(above < 2)),
        "balanced_accuracy": float(recall[occurs].mean()),
        "macro_f1": float(f1[occurs].mean()),
        "per_class": {
            name: {
                "examples": int(true[i]),
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
            }
            for i, name in enumerate(label_names)
        },
        "confusion": counts.tolist(),
    }


def confusion(predicted: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """int64 (classes, classes): how often the true class (row) was predicted as the column's, from int (N,) each."""
    return np.bincount(labels.astype(np.int64) * classes + predicted, minlength=classes**2).reshape(classes, classes)


@dataclasses.dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy in bins of equal width over [0, 1].

    Attributes:
      edges: (bins + 1,) limits of the bins; a confidence on a limit belongs to the bin below it.
      examples: int64 (bins,).
      confidence: (bins,) mean probability of the predicted class, nan in an empty bin.
      accuracy: (bins,) share of correct predictions, nan in an empty bin.
    """

    edges: np.ndarray
    examples: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> Reliability:
    """The reliability diagram of probabilities float (N, classes), rows summing to 1, and labels int (N,)."""
    probabilities = np.asarray(probabilities, np.float64)
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, bins + 1)
    which = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    examples = np.bincount(which, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(which, weights=values, minlength=bins) / examples for values in (confidence, correct)]
    return Reliability(edges, examples, *means)


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Mean distance of confidence and accuracy over the bins of `reliability`, weighted by their examples, in 0..1.

    Guo et al., "On Calibration of Modern Neural Networks" (2017).
    """
    diagram = reliability(probabilities, labels, bins)
    gaps = np.nan_to_num(np.abs(diagram.confidence - diagram.accuracy))
    return float(np.average(gaps, weights=diagram.examples))
