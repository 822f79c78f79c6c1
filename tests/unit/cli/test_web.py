"""The commands that look through a camera: what they import, and their flags."""

import pytest

from tests.conftest import run_commands, run_python


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("fer_jax.cli.web", ("numpy", "cv2", "aiohttp", "jax")),
        ("fer_jax.web.server", ("jax", "flax", "tensorflow", "matplotlib")),
        ("fer_jax.cli.webcam", ("numpy", "cv2", "onnxruntime", "jax")),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(module, absent):
    done = run_python("-c", f"import sys, {module}; print(set({absent}) & set(sys.modules))")
    assert done.stdout.strip() == "set()", done.stderr


def test_mistakes_get_one_line_before_anything_is_opened():
    said = {
        "web --bundle=nowhere": "no bundle at ",
        "web --host=": "--host is empty",
        "web --token=": "--token is empty: give a secret, or leave the flag out",
        "web --port=70000": "--port=70000",
        "web 8765": "unexpected argument '8765'",
    }
    wrong = ["record=", "events=", "save-faces=", "detect-every=0", "smoothing=mean", "search-side=8", "threads=0"]
    said |= {f"webcam --{flag}": flag.split("=")[0] for flag in (*wrong, "detector=dlib", "runtime=torch")}
    for done, message in zip(run_commands(*said), said.values(), strict=True):
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ")
        assert message in line
