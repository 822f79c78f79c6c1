"""Scores against scikit-learn and by hand."""

import json

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from fer_jax import labels
from fer_jax.evaluation import metrics

NAMES = labels.FER2013


def predictions(seed=0, n=400, classes=7, skill=2.0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, n)
    return rng.normal(size=(n, classes)).astype(np.float32) + skill * np.eye(classes, dtype=np.float32)[truth], truth


@pytest.mark.parametrize(("skill", "missing"), [(2.0, ()), (0.0, (1,)), (1.0, (0, 6))])
def test_agrees_with_scikit_learn(skill, missing):
    logits, truth = predictions(skill=skill)
    keep = ~np.isin(truth, missing)
    logits, truth = logits[keep], truth[keep]
    guess = logits.argmax(1)
    ours = metrics.scores(logits, truth, NAMES)
    occurring = np.unique(truth)
    names = {"labels": range(7)}
    by_class = sklearn.metrics.precision_recall_fscore_support(truth, guess, **names, zero_division=0)
    precision, recall, f1, support = by_class
    assert ours["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(truth, guess))
    loss = sklearn.metrics.log_loss(truth, softmax(logits.astype(np.float64), axis=1), **names)
    assert ours["loss"] == pytest.approx(loss)
    top2 = sklearn.metrics.top_k_accuracy_score(truth, logits, k=2, **names)
    assert ours["top2_accuracy"] == pytest.approx(top2)
    assert ours["balanced_accuracy"] == pytest.approx(recall[occurring].mean())
    assert ours["macro_f1"] == pytest.approx(f1[occurring].mean())
    assert ours["confusion"] == sklearn.metrics.confusion_matrix(truth, guess, labels=range(7)).tolist()
    for i, name in enumerate(NAMES):
        assert ours["per_class"][name] == {
            "examples": support[i],
            "precision": pytest.approx(precision[i]),
            "recall": pytest.approx(recall[i]),
            "f1": pytest.approx(f1[i]),
        }
    assert ours["examples"] == len(truth)
    assert json.loads(json.dumps(ours)) == ours


def test_by_hand():
    logits = np.log([[0.5, 0.4, 0.1], [0.2, 0.5, 0.3], [0.6, 0.1, 0.3], [0.1, 0.2, 0.7]])
    ours = metrics.scores(logits, np.array([0, 1, 1, 0]), ("a", "b", "c"))
    assert ours["accuracy"] == 0.5
    assert ours["standard_error"] == 0.25
    assert ours["loss"] == pytest.approx(-np.log([0.5, 0.5, 0.1, 0.1]).mean())
    assert ours["top2_accuracy"] == 0.5
    assert ours["confusion"] == [[1, 0, 1], [1, 1, 0], [0, 0, 0]]
    assert ours["balanced_accuracy"] == 0.5  # of a and b: c does not occur
    assert ours["macro_f1"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert ours["per_class"]["c"] == {"examples": 0, "precision": 0.0, "recall": 0.0, "f1": 0.0}
    huge = metrics.scores(np.array([[3e4, -3e4], [0, 1e4]], np.float32), np.array([1, 1]), ("a", "b"))
    assert huge["loss"] == 3e4


def test_order_of_the_examples_does_not_matter():
    logits, truth = predictions(1)
    order = np.random.default_rng(2).permutation(len(truth))
    one, other = metrics.scores(logits, truth, NAMES), metrics.scores(logits[order], truth[order], NAMES)
    assert one.pop("loss") == pytest.approx(other.pop("loss"))
    assert one == other


class TestCalibration:
    def test_bins_by_hand(self):
        confidence = np.array([0.55, 0.6, 0.7, 0.95, 1.0])
        probabilities = np.stack([confidence, 1 - confidence], axis=1)
        diagram = metrics.reliability(probabilities, np.array([0, 1, 0, 0, 1]), bins=5)
        np.testing.assert_allclose(diagram.edges, [0, 0.2, 0.4, 0.6, 0.8, 1])
        np.testing.assert_array_equal(diagram.examples, [0, 0, 2, 1, 2])  # 0.6 lies in the bin that it ends
        np.testing.assert_allclose(diagram.confidence, [np.nan, np.nan, 0.575, 0.7, 0.975])
        np.testing.assert_allclose(diagram.accuracy, [np.nan, np.nan, 0.5, 1, 0.5])
        error = metrics.expected_calibration_error(probabilities, np.array([0, 1, 0, 0, 1]), bins=5)
        assert error == pytest.approx((2 * 0.075 + 0.3 + 2 * 0.475) / 5)

    @settings(deadline=None, max_examples=30)
    @given(st.integers(0, 1000), st.integers(1, 60), st.integers(1, 20))
    def test_every_example_is_in_one_bin_and_the_means_are_kept(self, seed, n, bins):
        logits, truth = predictions(seed, n)
        probabilities = softmax(logits.astype(np.float64), axis=1)
        diagram = metrics.reliability(probabilities, truth, bins)
        assert diagram.examples.sum() == n
        filled = diagram.examples > 0
        assert np.all(diagram.confidence[filled] <= diagram.edges[1:][filled] + 1e-12)
        assert np.all(diagram.confidence[filled] >= diagram.edges[:-1][filled] - 1e-12)
        mean = np.average(diagram.confidence[filled], weights=diagram.examples[filled])
        assert mean == pytest.approx(probabilities.max(1).mean())
        assert 0 <= metrics.expected_calibration_error(probabilities, truth, bins) <= 1

    def test_labels_sampled_from_the_probabilities_are_calibrated_and_sharpened_ones_are_not(self):
        rng = np.random.default_rng(3)
        logits = 2 * rng.normal(size=(20000, 5))
        probabilities = softmax(logits, axis=1)
        truth = (probabilities.cumsum(axis=1) < rng.random((20000, 1))).sum(axis=1)
        assert metrics.expected_calibration_error(probabilities, truth) < 0.015
        assert metrics.expected_calibration_error(softmax(3 * logits, axis=1), truth) > 0.15
