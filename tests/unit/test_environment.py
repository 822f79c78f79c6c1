"""JAX's settings, and the command line as it is shown."""

import os
import warnings

import jax
import pytest

from fer_jax import environment
from tests.conftest import run_python


@pytest.mark.parametrize("given", [None, "7"])
def test_jax_own_variables_take_precedence(monkeypatch, given):
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    monkeypatch.delenv(names[1].upper(), raising=False)
    if given:
        monkeypatch.setenv(names[1].upper(), given)
    before = {name: jax.config.values[name] for name in names}
    try:
        jax.config.update("jax_compilation_cache_dir", given)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 7.0)
        environment.init()
        assert (jax.config.values[names[0]] == given) == bool(given)
        assert jax.config.values[names[1]] == (7 if given else 0.3)
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def test_a_damaged_entry_of_the_compilation_cache_is_no_news(monkeypatch):
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    with warnings.catch_warnings(record=True) as shown:
        environment.init()
        warnings.warn("Error reading persistent compilation cache entry for 'jit_step': error: -5", stacklevel=1)
        warnings.warn("other", stacklevel=1)
    assert [str(warning.message) for warning in shown] == ["other"]


@pytest.mark.parametrize(
    ("before", "given", "found"),
    [
        ("", {}, "2 True"),
        ("jax.devices()", {}, "1 False"),
        ("", {"JAX_NUM_CPU_DEVICES": "3"}, "3 False"),
        ("", {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}, "4 False"),
    ],
)
def test_a_cpu_is_two_devices_unless_the_user_says_how_many(monkeypatch, before, given, found):
    for name in ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS"):
        monkeypatch.delenv(name, raising=False)
    code = f"""
import jax, os
from fer_jax import environment
os.cpu_count = lambda: 16
{before}
environment.init()
print(jax.device_count(), environment.cpu_is_divided)
"""
    done = run_python("-c", code, env=os.environ | given)
    assert done.stdout == f"{found}\n", done.stderr


def test_of_paths_in_a_command_the_names_alone_are_shown():
    command = (
        "python -m fer_jax.main --config=configs/xception.py:best --workdir=/home/me/runs/x "
        "'--config.data.path=~/my faces/fer2013.csv' \"--config.teacher.runs=('runs/a', '/b/c/')\" --config.epochs=3"
    )
    assert environment.without_folders(command) == (
        "python -m fer_jax.main --config=configs/xception.py:best --workdir=x "
        "--config.data.path=fer2013.csv '--config.teacher.runs=('\"'\"'a'\"'\"', '\"'\"'c'\"'\"')' --config.epochs=3"
    )
    assert environment.without_folders("python /opt/me/tools/report.py --config=/home/me/x.py") == (
        "python report.py --config=x.py"
    )
