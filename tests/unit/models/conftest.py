"""Fixtures of the networks' tests."""

import jax
import numpy as np
import pytest


@pytest.fixture(scope="session")
def draw_variables():
    """draw(model, images) -> variables drawn by numpy, for which nothing is compiled."""

    def draw(model, images):
        rng = np.random.default_rng(0)
        shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), images, False))

        def values(path, leaf):
            drawn = rng.normal(size=leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]))
            return (abs(drawn) if path[-1].key == "var" else drawn).astype(leaf.dtype)

        return jax.tree.map_with_path(values, shapes)

    return draw
