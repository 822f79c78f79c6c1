"""What "auto" means, on which platform."""

import types

import jax
import pytest

from fer_jax.ops import platforms


def test_auto_is_that_of_the_platform_and_not_of_this_host_and_a_name_is_kept():
    for platform in ("cpu", "gpu", "tpu"):
        assert platforms.implementation("auto", platform) == platform
    assert platforms.implementation("auto") == jax.default_backend() == "cpu"
    assert platforms.implementation("auto", "metal") == "plain"
    assert [platforms.implementation(name, "cpu") for name in platforms.IMPLEMENTATIONS] == [*platforms.IMPLEMENTATIONS]
    with pytest.raises(ValueError, match="expected auto, plain, cpu, gpu, tpu"):
        platforms.implementation("fast")


def test_the_platform_of_a_device():
    for name, expected in (("cuda", "gpu"), ("rocm", "gpu"), ("gpu", "gpu"), ("tpu", "tpu")):
        assert platforms.platform_of(types.SimpleNamespace(platform=name)) == expected
