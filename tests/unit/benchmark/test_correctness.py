"""The check of a new device, on this one."""

import pytest

from fer_jax.benchmark import correctness
from tests.unit.training import test_golden


@pytest.mark.slow
def test_every_implementation_here_agrees_with_the_golden_test():
    found = list(correctness.measure(test_golden.PINNED))
    assert {(record["api"], record["implementation"]) for record in found} == {
        ("pmap", "plain"),
        ("shard_map", "plain"),
        ("pmap", "cpu"),
        ("shard_map", "cpu"),
    }
    for record in found:
        assert record["agrees"] and record["golden_difference"] < 1e-4
        assert len(record["losses"]) == correctness.STEPS
