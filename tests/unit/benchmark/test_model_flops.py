"""The arithmetic of a step is that of its plain layers, in proportion to its images and models."""

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import default
from fer_jax.benchmark import model_flops
from fer_jax.data.examples import Examples


@pytest.fixture(scope="module")
def examples():
    return Examples(
        images=np.zeros((16, 16, 16, 1), np.uint8),
        labels=np.zeros(16, np.int32),
        split=np.full(16, "Training"),
        label_names=tuple("abcdefg"),
    )


def config_of(**changes):
    config = default.get_config()
    config.input.size, config.parallel.steps_per_dispatch = 16, 2
    config.model.args = ConfigDict({"block_features": (8,)})
    config.update_from_flattened_dict(changes)
    return config


def test_twice_the_images_have_twice_the_arithmetic(examples):
    one, two = (model_flops.of_step(config_of(), examples, images) for images in (32, 64))
    assert one * 1.9 < two < one * 2  # the update of the weights stays


def test_several_models_have_several_times_the_arithmetic(examples):
    one, three = (model_flops.of_step(config_of(seeds=seeds), examples, 32) for seeds in (1, 3))
    assert three == pytest.approx(3 * one, rel=0.02)


@pytest.mark.parametrize("changes", [{"dtype": "bfloat16"}, {"parallel.api": "shard_map"}, {"batch_size": 512}])
def test_neither_type_nor_api_nor_the_global_batch_change_it(examples, changes):
    assert model_flops.of_step(config_of(**changes), examples, 32) == model_flops.of_step(config_of(), examples, 32)


def test_nothing_is_asked_of_the_device_that_trains(examples, monkeypatch):
    """The plugin of NVIDIA's GPUs has no analysis of costs."""
    on_cpu = jax.devices("cpu")
    monkeypatch.setattr(jax, "devices", lambda backend=None: on_cpu if backend == "cpu" else pytest.fail("the default"))
    assert model_flops.of_step(config_of(), examples, 32) > 0
