"""The loss against scikit-learn, with label smoothing and logit adjustment."""

import jax.numpy as jnp
import numpy as np
from sklearn.metrics import log_loss

from fer_jax.training.losses import cross_entropy, logit_adjustment


def test_cross_entropy_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(20, 4)), rng.integers(0, 4, 20)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = cross_entropy(jnp.asarray(logits), jnp.eye(4)[labels]).mean()
    np.testing.assert_allclose(found, log_loss(labels, probabilities, labels=range(4)), rtol=1e-5)


def test_label_smoothing_spreads_its_share_over_all_classes():
    logits = jnp.asarray([[1.0, 2.0, -1.0]])
    smoothed = cross_entropy(logits, jnp.asarray([[0.0, 1.0, 0.0]]), 0.3)
    np.testing.assert_allclose(smoothed, cross_entropy(logits, jnp.asarray([[0.1, 0.8, 0.1]])), rtol=1e-6)


def test_logits_are_adjusted_by_the_log_of_the_shares():
    np.testing.assert_allclose(
        logit_adjustment(np.array([30, 10, 0]), 2.0), 2 * np.log([30 / 40, 10 / 40, 1 / 40]), rtol=1e-6
    )
    assert not logit_adjustment(np.array([30, 10]), 0.0).any()
