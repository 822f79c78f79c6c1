"""Operations are measured forward and with their gradients."""

import functools

from fer_jax.benchmark import layers
from fer_jax.models import layers as network_layers


def test_an_operation_is_measured_forward_and_with_its_gradients():
    pool = functools.partial(functools.partial, network_layers.max_pool, window=2)
    cases = (
        layers.Case("pool", lambda implementation: pool(implementation=implementation), (4, 4, 2)),
        layers.Case("norm", lambda implementation: network_layers.BatchNorm(implementation=implementation), (4, 4, 2)),
    )
    pooled, normed = layers.measure(2, 1, cases)
    for record in pooled, normed:
        assert record["gain"] == record["plain_ms"] / record["auto_ms"] > 0
        assert record["gradient_gain"] == record["plain_gradient_ms"] / record["auto_gradient_ms"] > 0
    assert (pooled["op"], pooled["size"], pooled["batch"]) == ("pool", "4x4x2", 2)


def test_the_warp_and_pooling_within_batchnorm_are_among_what_is_measured():
    cases = tuple(case for case in layers.CASES if "warp" in case.name or "and 3x3 max-pool" in case.name)
    found = list(layers.measure(1, 1, cases))
    assert len(found) == 2
    assert all(record["gain"] > 0 and record["dtype"] == "float32" for record in found)
