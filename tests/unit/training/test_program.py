"""The program compiles from shapes alone what it then runs, for one model and for several."""

import jax
import pytest
from ml_collections import ConfigDict

from configs import default
from fer_jax.training import setup
from fer_jax.training.program import TrainProgram


def program_of(examples, seeds, api="pmap", pipeline="device"):
    config = default.get_config()
    config.batch_size, config.input.size, config.parallel.api = 8, 16, api
    config.model.args = ConfigDict({"block_features": (8,)})
    made = setup.create(config, 7)
    return TrainProgram(made, examples, seeds, 2, pipeline, jax.devices()[:4]), made


@pytest.mark.parametrize("api", ["pmap", "shard_map"])
@pytest.mark.parametrize("pipeline", ["device", "tf"])
@pytest.mark.parametrize("seeds", [[3], [3, 4]])
def test_what_is_compiled_from_shapes_takes_the_feeds(examples, seeds, api, pipeline):
    program, made = program_of(examples, seeds, api, pipeline)
    compiled = program.compile()
    assert "all-reduce" in compiled.as_text()
    program.load([made.fresh_state()] * len(seeds))
    for feed in program.feeds(0, 2):
        metrics = program.run(feed)
        assert {name: x.shape for name, x in metrics.items()} == dict.fromkeys(
            ("loss", "correct", "gradient_norm"), (2, len(seeds))
        )
    states = program.states()
    assert len(states) == len(seeds)
    assert all(state.step == 4 for state in states)
    assert {state.params["stem1_conv"]["kernel"].shape for state in states} == {(3, 3, 1, 8)}


@pytest.mark.parametrize("seeds", [[3], [3, 4]])
def test_each_model_has_its_own_factor_of_the_learning_rate(examples, seeds):
    program, made = program_of(examples, seeds)
    program.load([made.fresh_state()] * len(seeds))
    scales = [0.5, 0.25][: len(seeds)]
    program.set_lr_scales(scales)
    program.run(next(program.feeds(0, 1)))
    assert [float(state.lr_scale) for state in program.states()] == scales
