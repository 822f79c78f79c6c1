"""Temperature, coverage threshold, and the expected error of perfect calibration."""

import numpy as np
import pytest
from scipy.special import softmax

from fer_jax.evaluation import calibration, metrics


def overconfident(factor, n=4000, seed=0):
    """Logits whose true temperature is `factor`: labels are drawn from softmax(logits / factor)."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(size=(n, 5)) * 1.5
    labels = (honest + rng.gumbel(size=honest.shape)).argmax(axis=1)
    return honest * factor, labels


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found(factor):
    logits, labels = overconfident(factor)
    assert calibration.temperature(logits, labels) == pytest.approx(factor, rel=0.07)


def test_a_fit_improves_the_calibration_and_keeps_the_predictions():
    logits, labels = overconfident(3.0)
    found = calibration.fit(logits, labels, "PublicTest")
    error = found["expected_calibration_error"]
    assert error["before"] > 0.15
    assert error["after"] < 0.03
    assert 0.005 < error["unavoidable"] < 0.02
    np.testing.assert_array_equal(calibration.cross_fitted(logits, labels).argmax(1), logits.argmax(1))
    few = slice(calibration.MIN_FACES)
    assert calibration.fit(logits[few], labels[few], "PublicTest")["fitted_on"] == "PublicTest"
    logits, labels = overconfident(1.0)
    found = calibration.fit(logits, labels, "PublicTest")
    assert found["coverage"] == pytest.approx(calibration.COVERAGE, abs=0.01)
    assert found["accuracy_when_certain"] > (logits.argmax(1) == labels).mean()
    assert 0.2 < found["uncertain_below"] < 1


def test_a_threshold_for_a_stated_coverage():
    logits, labels = overconfident(1.0)
    probabilities = softmax(logits, axis=1)
    accuracies = []
    for coverage in (0.9, 0.5, 0.1):
        found = calibration.at_coverage(probabilities, labels, coverage)
        assert found["coverage"] == pytest.approx(coverage, abs=1e-3)
        assert found["coverage"] == (probabilities.max(axis=1) >= found["uncertain_below"]).mean()
        accuracies.append(found["accuracy_when_certain"])
    assert accuracies == sorted(accuracies)
    everybody = calibration.at_coverage(probabilities, labels, 1.0)
    assert (everybody["uncertain_below"], everybody["coverage"]) == (0.0, 1.0)
    assert everybody["accuracy_when_certain"] == (logits.argmax(1) == labels).mean()
    one = calibration.at_coverage(probabilities[:3], labels[:3], 0.01)
    assert one["coverage"] == pytest.approx(1 / 3)


def test_overconfidence_shows_as_confidence_above_accuracy():
    logits, labels = overconfident(3.0)
    accuracy = (logits.argmax(1) == labels).mean()
    found = calibration.errors(logits, labels, 1.0)
    assert found["mean_confidence"] > accuracy + 0.1
    assert found["expected_calibration_error"] == pytest.approx(found["mean_confidence"] - accuracy, abs=0.02)
    cured = calibration.errors(logits, labels, 3.0)
    assert cured["temperature"] == 3.0
    assert cured["expected_calibration_error"] < 3 * cured["unavoidable"]


def test_the_expected_error_of_perfect_calibration_shrinks_with_the_number_of_faces():
    logits, labels = overconfident(1.0, n=16000)
    probabilities = softmax(logits, axis=1)
    few, many = (calibration.unavoidable_error(probabilities[:n]) for n in (1000, 16000))
    assert few == pytest.approx(4 * many, rel=0.3)
    assert metrics.expected_calibration_error(probabilities, labels) == pytest.approx(many, rel=0.5)


def test_a_network_that_is_nearly_always_right_flags_no_name_that_is_nearly_certain():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 4, 400)
    logits = 12 * np.eye(4)[labels] + generator.normal(size=(400, 4))
    labels[:3] = (labels[:3] + 1) % 4
    found = calibration.fit(logits, labels, "PublicTest")
    assert found["fitted_on"] == "PublicTest"
    assert found["uncertain_below"] == calibration.SURE
    assert found["coverage"] > calibration.COVERAGE


@pytest.mark.parametrize("n", [1, 2, calibration.MIN_FACES - 1])
def test_few_faces_leave_the_temperature_at_1(n):
    logits, labels = (rows[:n] for rows in overconfident(3.0))
    found = calibration.fit(logits, labels, "PublicTest")
    assert (found["fitted_on"], found["temperature"], found["uncertain_below"]) == (None, 1.0, 0.0)
    assert found["coverage"] == 1.0
    assert f"PublicTest has {n} images" in calibration.why_not_fitted(logits, labels, "PublicTest")


def test_faces_without_a_mistake_leave_the_temperature_at_1():
    logits, _ = overconfident(3.0, n=200)
    found = calibration.fit(logits, logits.argmax(1), "PublicTest")
    assert (found["fitted_on"], found["temperature"]) == (None, 1.0)
    assert "100 % of PublicTest right" in calibration.why_not_fitted(logits, logits.argmax(1), "PublicTest")
