"""Names of devices that are not there, and what their compilers read."""

import importlib.util

import pytest

from benchmarks import peaks, targets
from fer_jax.errors import UserError

TARGETS = [("v5e:2x4", "tpu", 8), ("v5e:1x1", "tpu", 1), ("v6e:16x16", "tpu", 256), ("v5p:2x2x1", "tpu", 4)]


@pytest.mark.parametrize(("name", "platform", "devices"), [*TARGETS, ("h100", "cuda", 1), ("h100x8", "cuda", 8)])
def test_targets_by_name(name, platform, devices):
    target = targets.find(name)
    assert (target.chip.platform, target.devices) == (platform, devices)
    assert target.chip.kind in peaks.DATA_SHEETS


@pytest.mark.parametrize("name", ["", "v5e", "v5e:4", "v5e:2x2x2", "v5p:2x2", "v9:2x4", "v5e:32x16", "v5e:0x4", "a100"])
def test_names_of_no_target(name):
    with pytest.raises(UserError, match=r"expected a TPU slice .* such as v5e:2x4"):
        targets.find(name)


@pytest.mark.parametrize(("name", "extra"), [("v5e:2x4", "aot-tpu"), ("h100", "aot-cuda")])
def test_a_compiler_that_is_not_installed_is_named_with_what_brings_it(monkeypatch, name, extra):
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    with pytest.raises(UserError, match=rf"pip install 'fer_jax\[{extra}\]'"):
        targets.prepare(targets.find(name), {})


def test_compilers_look_for_no_device_and_estimate(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: object())
    environment = {}
    targets.prepare(targets.find("v6e:2x4"), environment)
    assert environment["JAX_PLATFORMS"] == "cpu" and environment["TPU_ACCELERATOR_TYPE"] == "v6e-8"
    environment = {"XLA_FLAGS": "--xla_dump_to=x"}
    targets.prepare(targets.find("h100x2"), environment)
    assert environment == {
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "-1",
        "XLA_FLAGS": "--xla_dump_to=x --xla_gpu_collect_cost_model_stats=true",
    }
