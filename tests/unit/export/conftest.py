"""A network whose BatchNorm has statistics to get wrong, and its bundle, made once a session."""

import types

import jax
import numpy as np
import pytest

from configs import default
from fer_jax.data.examples import Examples
from fer_jax.data.sources import synthetic
from fer_jax.labels import FER2013
from fer_jax.models import registry


def randomised(variables):
    """The variables with scales, shifts and statistics away from ones and zeros."""
    rng = np.random.default_rng(0)

    def draw(path, array):
        if array.ndim > 1:
            return np.asarray(array)
        positive = path[-1].key in ("scale", "var")
        return (rng.uniform(0.5, 2, array.shape) if positive else rng.normal(0, 0.3, array.shape)).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, variables)


def network(config, classes=7):
    """(plain model, variables) of a config."""
    model = registry.create(config.model.name, classes, config.model.args, implementation="plain")
    shape = registry.input_shape(config)
    return model, randomised(model.init(jax.random.key(0), np.zeros((1, *shape), np.float32), False))


@pytest.fixture(scope="session")
def tiny():
    """(config, variables, faces) of a small mini-Xception; nobody changes them."""
    config = default.get_config()
    config.model.args = {"block_features": (8, 16)}
    config.eval.batch_size = 16
    _, variables = network(config)
    labels = np.arange(42, dtype=np.int32) % 7
    split = np.repeat(["Training", "PublicTest"], 21)
    faces = Examples(synthetic.draw(labels, 48), labels, split, FER2013)
    return types.SimpleNamespace(config=config, variables=variables, faces=faces)
