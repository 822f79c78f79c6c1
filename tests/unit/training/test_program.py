"""The program compiles from shapes alone what it then runs, whatever the pipeline and the API."""

import jax
import pytest
from ml_collections import ConfigDict

from configs import default
from fer_jax.training import setup
from fer_jax.training.program import TrainProgram


def program_of(examples, api="pmap", pipeline="device"):
    config = default.get_config()
    config.batch_size, config.input.size, config.parallel.api = 8, 16, api
    config.model.args = ConfigDict({"block_features": (8,)})
    made = setup.create(config, 7)
    return TrainProgram(made, examples, 2, pipeline, jax.devices()[:4]), made


@pytest.mark.parametrize("api", ["pmap", "shard_map"])
@pytest.mark.parametrize("pipeline", ["device", "tf"])
def test_what_is_compiled_from_shapes_takes_the_feeds(examples, api, pipeline):
    program, made = program_of(examples, api, pipeline)
    compiled = program.compile()
    assert "all-reduce" in compiled.as_text()
    program.load(made.fresh_state())
    for feed in program.feeds(0, 2):
        metrics = program.run(feed)
        assert sorted(metrics) == ["correct", "gradient_norm", "loss"]
        assert all(values.shape == (2,) for values in metrics.values())
    assert program.state.step == 4
    assert program.state.params["stem1_conv"]["kernel"].shape == (3, 3, 1, 8)


def test_the_factor_of_the_learning_rate_can_be_set(examples):
    program, made = program_of(examples)
    program.load(made.fresh_state())
    program.set_lr_scale(0.25)
    program.run(next(program.feeds(0, 1)))
    assert float(program.state.lr_scale) == 0.25
