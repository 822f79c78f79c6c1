"""A data pipeline is measured without a training step."""

import numpy as np
import pytest

from configs import default
from fer_jax.benchmark import pipelines
from fer_jax.data.examples import Examples


@pytest.mark.parametrize("name", ["tf", "device"])
def test_a_pipeline_is_measured_alone(name):
    config = default.get_config()
    config.batch_size, config.parallel.steps_per_dispatch = 16, 2
    examples = Examples(
        images=np.full((20, 8, 8, 1), 9, np.uint8),
        labels=np.zeros(20, np.int32),
        split=np.full(20, "Training"),
        label_names=("happy", "sad"),
    )
    record = pipelines.measure(name, config, examples, seconds=0, runs=2)
    assert record["pipeline"] == name
    assert len(record["runs"]) == 2
    assert record["megabytes_per_s"] == record["images_per_s"] * 64 / 1e6 > 0
