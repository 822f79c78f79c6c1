"""Speed over several devices, and the all-reduces of a compiled step."""

import json
import textwrap
from types import SimpleNamespace

import jax
import pytest
from ml_collections import ConfigDict

from configs import default
from fer_jax.benchmark import scaling
from fer_jax.training.setup import create


def config_of(**changes):
    config = default.get_config()
    config.batch_size, config.input.size, config.parallel.steps_per_dispatch = 8, 16, 1
    config.model.args = ConfigDict({"block_features": (8,)})
    config.update_from_flattened_dict(changes)
    return config


def bytes_of(tree):
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def test_bytes_of_all_reduces_are_read_from_the_program():
    program = """
    ENTRY %main (x: f32[5]) -> f32[5] {
      %a = (f32[3,3,1,8]{3,2,1,0}, /*index=5*/bf16[8]{0}) all-reduce(%x, %y), channel_id=1, to_apply=%add
      %b = s32[] all-reduce-start(%z), channel_id=2
      %c = f32[5]{0} add(%a, %b)
    }"""
    assert scaling.all_reduces(textwrap.dedent(program)) == [4 * 72 + 2 * 8, 4]


@pytest.mark.parametrize("api", ["pmap", "shard_map"])
def test_gradients_travel_together(examples, api):
    """Without synchronised BatchNorm, all gradients, running statistics, loss and correct answers are one message."""
    config = config_of(**{"parallel.sync_batchnorm": False, "parallel.api": api})
    sizes = scaling.all_reduces(scaling.Chunk(config, examples, jax.devices()[:4]).compiled_text())
    state = create(config, 7).state_shapes()
    assert sizes == [bytes_of((state.params, state.batch_stats)) + 2 * 4]


def test_synchronised_batchnorm_adds_small_messages(examples):
    sizes = scaling.all_reduces(scaling.Chunk(config_of(), examples, jax.devices()[:4]).compiled_text())
    state = create(config_of(), 7).state_shapes()
    norms = len(jax.tree.leaves(state.batch_stats)) // 2
    # At most two messages a normalisation, forward and backward, beside that of the gradients.
    assert 1 < len(sizes) <= 2 * norms + 1
    assert sum(sizes) < 3 * bytes_of((state.params, state.batch_stats))


def test_speed_is_measured_and_can_be_written_down(examples):
    records = scaling.measure(config_of(), examples, [1, 2], per_device=True, seconds=0)
    assert json.loads(json.dumps(records)) == records
    assert [record["devices"] for record in records] == [1, 2]
    assert [record["batch_size"] for record in records] == [8, 16]
    assert records[0]["efficiency"] == 1 and records[1]["efficiency"] > 0
    assert all(record["images_per_second"] > 0 for record in records)
    [fixed] = scaling.measure(config_of(), examples, [2], per_device=False, seconds=0)
    assert fixed["batch_size"] == 8


def test_bytes_of_a_step_where_the_compiler_says_none(examples, monkeypatch):
    chunk = scaling.Chunk(config_of(), examples, jax.devices()[:1])
    assert chunk.bytes_accessed() > 0
    for silent in (None, {}):
        monkeypatch.setattr(chunk, "_compiled", SimpleNamespace(cost_analysis=lambda silent=silent: silent))
        assert chunk.bytes_accessed() is None
