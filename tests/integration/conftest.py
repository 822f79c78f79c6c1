"""Commands as a user runs them: a process of its own, in the repository's folder, without the tests' settings."""

import os
import pathlib
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def user_environment(tmp_path_factory):
    """Environment of a user whose caches are new; compiled programs are shared by all tests of the session."""
    cache = tmp_path_factory.getbasetemp().parent / "cache"
    return {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))} | {"XDG_CACHE_HOME": str(cache)}


@pytest.fixture(scope="session")
def command(user_environment):
    """`command("fer_jax.main", "--config=...")` runs `python -m` and returns the completed process."""
    def run(module, *args, check=True, env=None, **kwargs):
        done = subprocess.run([sys.executable, "-m", module, *map(str, args)], cwd=REPOSITORY, text=True,
                              capture_output=True, env=user_environment | (env or {}), timeout=280, **kwargs)
        assert not check or done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run
