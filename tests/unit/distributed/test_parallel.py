"""How the global batch is divided over devices and processes."""

import jax
import numpy as np
import pytest

from fer_jax import environment
from fer_jax.distributed.parallel import Parallel, devices_for
from fer_jax.errors import UserError


@pytest.mark.parametrize(("batch", "nearest"), [(6, "8"), (20, "16 or 24"), (31, "24 or 32")])
def test_a_batch_that_does_not_divide_is_refused_with_the_nearest_that_do(batch, nearest):
    with pytest.raises(UserError, match=f"batch size {batch} does not divide over 8 devices: use {nearest}$"):
        Parallel("pmap", batch)


@pytest.mark.parametrize(
    ("batch", "divided", "devices"), [(512, True, 8), (448, True, 1), (520, True, 1), (448, False, 8), (520, False, 8)]
)
def test_a_cpu_is_divided_for_batches_of_enough_images_and_whole_pairs(monkeypatch, batch, divided, devices):
    monkeypatch.setattr(environment, "cpu_is_divided", divided)
    assert devices_for(batch) == jax.devices()[:devices]
    assert Parallel("pmap", batch).devices == devices


def test_this_process_feeds_its_part_of_the_batch():
    assert Parallel("pmap", 16).shard == slice(0, 16)
    parts = Parallel("pmap", 16).split({"x": np.arange(32).reshape(2, 16)}, axis=1)["x"]
    assert parts.shape == (8, 2, 2)
    np.testing.assert_array_equal(parts[3], [[6, 7], [22, 23]])


def test_a_copy_is_on_every_device():
    copy = Parallel("shard_map", 8).replicate({"x": np.arange(3)})["x"]
    assert copy.sharding.device_set == set(jax.devices())
    assert copy.is_fully_replicated
