"""What "auto" means, on which platform."""

import types

import jax
import pytest

from fer_jax.ops import platforms


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
def test_auto_is_that_of_the_platform_and_not_of_this_host(platform):
    assert platforms.implementation("auto", platform) == platform


def test_auto_without_a_platform_is_that_of_the_default_backend():
    assert platforms.implementation("auto") == jax.default_backend() == "cpu"


def test_a_name_is_kept_whatever_the_platform():
    assert [platforms.implementation(name, "cpu") for name in platforms.IMPLEMENTATIONS] == [*platforms.IMPLEMENTATIONS]


def test_an_unknown_platform_is_plain():
    assert platforms.implementation("auto", "metal") == "plain"


def test_an_unknown_implementation():
    with pytest.raises(ValueError, match="expected auto, plain, cpu, gpu, tpu"):
        platforms.implementation("fast")


@pytest.mark.parametrize(("name", "expected"), [("cuda", "gpu"), ("rocm", "gpu"), ("gpu", "gpu"), ("tpu", "tpu")])
def test_the_platform_of_a_device(name, expected):
    assert platforms.platform_of(types.SimpleNamespace(platform=name)) == expected
