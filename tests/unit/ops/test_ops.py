"""What "auto" means, on which platform."""

import types

import jax
import pytest

from fer_jax import ops


def test_auto_is_that_of_the_platform_and_not_of_this_host_and_a_name_is_kept():
    for platform in ("cpu", "gpu", "tpu"):
        assert ops.implementation("auto", platform) == platform
    assert ops.implementation("auto") == jax.default_backend() == "cpu"
    assert ops.implementation("auto", "metal") == "plain"
    assert [ops.implementation(name, "cpu") for name in ops.IMPLEMENTATIONS] == [*ops.IMPLEMENTATIONS]
    with pytest.raises(ValueError, match="expected auto, plain, cpu, gpu, tpu"):
        ops.implementation("fast")


def test_the_platform_of_a_device():
    for name, expected in (("cuda", "gpu"), ("rocm", "gpu"), ("gpu", "gpu"), ("tpu", "tpu")):
        assert ops.platform_of(types.SimpleNamespace(platform=name)) == expected
