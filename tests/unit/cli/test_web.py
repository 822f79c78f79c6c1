"""In processes of their own: flags of several tools do not go together in one."""

import pytest

from tests.conftest import run_python


def _run(*arguments):
    return run_python(*arguments)


def test_help_comes_quickly_because_it_imports_nothing_heavy():
    done = _run(
        "-c",
        "import sys; import fer_jax.cli.web\n"
        "print([name for name in ('numpy', 'cv2', 'aiohttp', 'jax') if name in sys.modules])",
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_the_server_needs_no_training_framework():
    done = _run(
        "-c",
        "import sys; import fer_jax.web.server\n"
        "print([name for name in ('jax', 'flax', 'tensorflow', 'matplotlib') if name in sys.modules])",
    )
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--bundle=nowhere"], "no bundle at "),
        (["--host="], "--host is empty"),
        (["--port=70000"], "--port=70000"),
        (["8765"], "unexpected argument '8765'"),
    ],
)
def test_mistakes_get_one_line(flags, message):
    done = _run("-m", "tools.web", *flags)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line
