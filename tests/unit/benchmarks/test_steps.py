"""Whole steps: their speed, arithmetic and messages, beside a peer and against each other."""

import json
import sys
from types import SimpleNamespace

import jax
import pytest
from ml_collections import ConfigDict

from benchmarks import chunk, peaks, steps
from configs import default
from fer_jax.errors import UserError
from fer_jax.training.setup import create
from tests.unit.training import test_golden


def config_of(**changes):
    config = default.get_config()
    config.batch_size, config.input.size, config.parallel.steps_per_dispatch = 8, 16, 1
    config.model.args = ConfigDict({"block_features": (8,)})
    config.update_from_flattened_dict(changes)
    return config


def bytes_of(tree):
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


@pytest.mark.parametrize("api", ["pmap", "shard_map"])
def test_gradients_travel_together(examples, api):
    """Without synchronized BatchNorm, all gradients, running statistics, loss and correct answers are one message."""
    config = config_of(**{"parallel.sync_batchnorm": False, "parallel.api": api})
    state = create(config, 7).state_shapes
    sizes = chunk.Chunk(config, examples, jax.devices()[:4]).all_reduces()
    assert sizes == [bytes_of((state.params, state.batch_stats)) + 2 * 4]


def test_synchronized_batchnorm_adds_small_messages(examples):
    sizes = chunk.Chunk(config_of(), examples, jax.devices()[:4]).all_reduces()
    state = create(config_of(), 7).state_shapes
    norms = len(jax.tree.leaves(state.batch_stats)) // 2
    # At most two messages a normalization, forward and backward, beside that of the gradients.
    assert 1 < len(sizes) <= 2 * norms + 1
    assert sum(sizes) < 3 * bytes_of((state.params, state.batch_stats))


def test_speed_over_devices_can_be_written_down(examples):
    records = list(steps.scaling(config_of(), examples, [1, 2], per_device=True, seconds=0))
    assert json.loads(json.dumps(records)) == records
    assert [(record["devices"], record["batch"]) for record in records] == [(1, 8), (2, 16)]
    assert records[0]["efficiency"] == 1 and records[1]["efficiency"] > 0
    [fixed] = steps.scaling(config_of(), examples, [2], per_device=False, seconds=0)
    assert fixed["batch"] == 8


def test_bytes_of_a_step_where_the_compiler_says_none(examples, monkeypatch):
    made = chunk.Chunk(config_of(), examples, jax.devices()[:1])
    assert made.bytes_accessed() > 0
    for silent in (None, {}):
        monkeypatch.setattr(made, "_compiled", SimpleNamespace(cost_analysis=lambda silent=silent: silent))
        assert made.bytes_accessed() is None


def test_the_arithmetic_grows_with_the_images_and_nothing_else(examples, monkeypatch):
    one, two = (chunk.model_flops(config_of(), examples, images) for images in (32, 64))
    assert one * 1.9 < two < one * 2  # the update of the weights stays
    # The plugin of NVIDIA's GPUs has no analysis of costs: nothing is asked of the device that trains.
    on_cpu = jax.devices("cpu")
    monkeypatch.setattr(jax, "devices", lambda backend=None: on_cpu if backend == "cpu" else pytest.fail("the default"))
    for changes in ({"dtype": "bfloat16"}, {"parallel.api": "shard_map"}, {"batch_size": 512}):
        assert chunk.model_flops(config_of(**changes), examples, 32) == one


def test_the_peak_of_a_device_is_measured():
    peak = peaks.measure(jax.devices("cpu")[0], seconds=0, side=64)
    assert 1e6 < peak.flops < 1e15 and 1e6 < peak.bytes < 1e13 and peak.source == "measured"


def test_the_devices_of_a_cpu_divide_its_peaks(examples, monkeypatch):
    monkeypatch.setattr(peaks, "measure", lambda device: peaks.Peak(2e12, 4e10, "measured"))
    for count in (1, 2):
        monkeypatch.setattr(steps.parallel, "devices_for", lambda batch, count=count: jax.devices()[:count])
        record = steps.measure(config_of(), examples, seconds=0, runs=1, measure_peak=True)
        assert record["mfu"] == pytest.approx(record["flops_per_s"] * count / 2e12)
        assert record["bandwidth_share"] == pytest.approx(record["bytes_per_s"] * count / 4e10)


def test_a_peer_is_measured_in_turns():
    peer = f"""{sys.executable} -c 'print("{{\\"images_per_s\\": 0.5, \\"peer\\": \\"a slow one\\"}}")'"""
    ours = [sys.executable, "-c", """print('{"images_per_s": 2, "images_per_cpu_s": 1}')"""]
    record = steps.compare(ours, peer, 2)
    assert (record["peer"], record["ratio"], record["ratios"]) == ("a slow one", 4, [4, 4])
    assert "cpu_ratio" not in record


@pytest.mark.parametrize(
    ("peer", "word"),
    [
        ("/no/such/program", "could not be started"),
        (f"{sys.executable} -c 'raise SystemExit(\"no network\")'", "failed: no network"),
        (f"{sys.executable} -c 'print(1)'", "without a line of JSON"),
    ],
)
def test_a_peer_that_says_nothing_is_one_line(peer, word):
    with pytest.raises(UserError, match=word):
        steps.compare([sys.executable, "-c", """print('{"images_per_s": 2}')"""], peer, 1)


@pytest.mark.slow
def test_every_implementation_here_agrees_with_the_golden_test():
    found = list(steps.check(test_golden.PINNED))
    assert [(record["api"], record["implementation"]) for record in found] == [
        ("pmap", "plain"),
        ("shard_map", "plain"),
        ("pmap", "cpu"),
        ("shard_map", "cpu"),
    ]
    assert all(record["agrees"] and record["golden_difference"] < 1e-4 for record in found)
