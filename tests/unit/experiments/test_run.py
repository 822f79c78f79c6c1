"""What a run refuses before it writes anything."""

import pytest

from configs import default
from fer_jax.data.sources import synthetic
from fer_jax.errors import UserError
from fer_jax.experiments import run


def test_neighbours_that_are_mixed_must_be_on_one_device(tmp_path):
    config = default.get_config()
    config.data.source, config.data.args.examples = "synthetic", 70
    config.batch_size, config.augment.mixup = 56, 0.2
    examples = synthetic.read(config.data, config.input)
    with pytest.raises(UserError, match=r"56 gives each of 8 devices 7: mixup .*; use 64"):
        run.train_and_score(config, tmp_path / "run", examples)
    assert not (tmp_path / "run").exists()
