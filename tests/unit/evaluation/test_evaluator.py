import jax
import numpy as np
import pytest

from configs import default
from fer_jax.evaluation.evaluator import Evaluator
from fer_jax.models import registry
from fer_jax.training import state


@pytest.fixture(scope="module")
def network():
    model = registry.create("mini_xception", 7, {"block_features": (8,)})
    return model, state.initial_variables(model, (16, 16, 1), 0)


@pytest.mark.parametrize(("devices", "batch", "expected"), [(1, 8, 20), (8, 8, 21), (2, 6, 3)])
def test_every_example_is_counted_once_in_its_order(network, devices, batch, expected):
    model, variables = network
    config = default.get_config()
    config.eval.batch_size = batch
    evaluator = Evaluator(model, config, expected, jax.devices()[:devices])
    images = np.random.default_rng(0).integers(0, 256, (2 * expected + 1, 16, 16, 1), dtype=np.uint8)
    for count in (1, expected, 2 * expected + 1):  # fewer than a batch, what it was made for, more than a dispatch
        logits = evaluator.logits(variables, images[:count])
        reference = model.apply(variables, images[:count].astype(np.float32) / 127.5 - 1, False)
        assert logits.shape == (count, 7)
        np.testing.assert_allclose(logits, reference, atol=2e-5)
