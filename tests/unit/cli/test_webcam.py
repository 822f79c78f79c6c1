"""In processes of their own: flags of several tools do not go together in one."""

import pytest

from tests.conftest import run_python


def _run(*arguments):
    return run_python(*arguments)


def test_help_comes_quickly_because_it_imports_nothing_heavy():
    done = _run(
        "-c",
        "import sys; import fer_jax.cli.webcam\n"
        "print([name for name in ('numpy', 'cv2', 'onnxruntime', 'jax') if name in sys.modules])",
    )
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    "argument",
    [
        "--record=",
        "--events=",
        "--save-faces=",
        "--detect-every=0",
        "--smoothing=mean",
        "--search-side=8",
        "--threads=0",
        "--detector=dlib",
        "--runtime=torch",
    ],
)
def test_values_out_of_range_are_refused_before_anything_is_opened(argument):
    done = _run("-m", "tools.webcam", argument)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert argument.split("=")[0].strip("-") in done.stderr
    assert len(done.stderr.splitlines()) == 1
