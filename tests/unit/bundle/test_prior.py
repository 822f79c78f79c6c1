"""The correction to another prior is Bayes' rule, and what cannot be corrected is one line."""

import numpy as np
import pytest
from scipy.special import softmax

from fer_jax.bundle import prior
from fer_jax.errors import UserError

NAMES = ("angry", "happy", "neutral")
COUNTS = {"class_counts": {"angry": 10, "happy": 70, "neutral": 20}}
TRAINED = np.array([0.1, 0.7, 0.2])


def test_the_corrected_probabilities_are_those_of_faces_with_the_target_shares():
    """Gaussian classes, whose posterior under each prior is known."""
    centers, target = np.array([-1.0, 0.0, 1.5]), np.array([0.2, 0.3, 0.5])
    x = np.linspace(-3, 3, 50)[:, None]
    likelihood = -((x - centers) ** 2) / 2
    logits = 1.7 * (likelihood + np.log(TRAINED))  # of a network whose temperature is 1.7
    corrected = prior.parse("angry:0.2,happy:0.3,neutral:0.5", NAMES, TRAINED)
    expected = softmax(likelihood + np.log(target), axis=1)
    np.testing.assert_allclose(softmax(logits / 1.7 + corrected.shift, axis=1), expected, rtol=1e-5)


def test_flat_makes_every_class_as_frequent():
    flat = prior.parse("flat", NAMES, TRAINED)
    np.testing.assert_allclose(flat.target, 1 / 3)
    np.testing.assert_allclose(flat.shift, np.log(1 / 3) - np.log(TRAINED), rtol=1e-6)
    assert flat.shift.dtype == np.float32
    assert flat.to_json()["trained"] == pytest.approx({"angry": 0.1, "happy": 0.7, "neutral": 0.2})


def test_classes_that_are_not_named_divide_the_rest_and_the_training_shares_change_nothing():
    np.testing.assert_allclose(prior.parse("happiness:0.4", NAMES, TRAINED).target, [0.2, 0.4, 0.4])
    same = prior.parse("angry:0.1,happy:0.7,neutral:0.2", NAMES, TRAINED)
    np.testing.assert_allclose(same.shift, 0, atol=1e-6)
    rounded = prior.parse("angry:0.1,happy:0.7,neutral:0.205", NAMES, TRAINED)
    assert rounded.target.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flatt", r"--prior has 'flatt' \(did you mean 'flat'\?\): expected flat, or shares of angry, happy, neutral"),
        ("bored:0.3", "--prior has 'bored:0.3': expected flat, or shares of"),
        ("happy", "--prior has 'happy', which has no share: expected flat"),
        ("happy:x", "--prior has 'happy:x': expected a share above 0"),
        ("happy:nan", "--prior has 'happy:nan': expected a share above 0"),
        ("happy:0", "--prior has 'happy:0': expected a share above 0"),
        ("happy:30", "--prior has 'happy:30': expected a share above 0 and below 1"),
        ("happy:0.3,happiness:0.2", "names happy twice"),
        ("happy:0.6,angry:0.5", "sum to 1.1, expected less than 1"),
        ("happy:0.6,angry:0.1,neutral:0.1", "sum to 0.8, expected 1"),
        ("", "--prior has ''"),
    ],
)
def test_what_is_no_prior_is_one_line(text, message):
    with pytest.raises(UserError, match=message):
        prior.parse(text, NAMES, TRAINED)


def test_the_training_shares_come_from_the_counts_and_the_sampling():
    balanced, uniform = ({"config": {"data": {"sampling": name}}} for name in ("balanced", "uniform"))
    without = {"class_counts": {"angry": 0, "happy": 9, "neutral": 10}}
    for given, expected in (
        (COUNTS, TRAINED),
        (without, [0.05, 0.45, 0.5]),
        (COUNTS | uniform, TRAINED),
        (COUNTS | balanced, [1 / 3] * 3),
    ):
        np.testing.assert_allclose(prior.trained_shares(NAMES, given, "x"), expected)
    with pytest.raises(UserError, match="mine does not say how many training examples each class had"):
        prior.trained_shares(NAMES, {}, "mine")
    with pytest.raises(UserError, match="lack bored"):
        prior.trained_shares((*NAMES, "bored"), COUNTS, "mine")
