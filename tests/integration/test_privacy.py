"""Nothing but the user's own files is left behind: the commands in a home folder that was empty before."""

import os
import signal
import subprocess
import sys
import urllib.request

import cv2
import numpy as np
import pytest

from tests.integration.conftest import REPOSITORY


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def start(home):
    """`start(*arguments)` starts this Python as an account whose home is empty and which never set a variable."""
    dropped = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "XDG_DATA_HOME")
    env = {k: v for k, v in os.environ.items() if k not in dropped} | {"HOME": str(home), "FER_JAX_OFFLINE": "1"}

    def start(*arguments):
        return subprocess.Popen(
            [sys.executable, *arguments], cwd=REPOSITORY, env=env, text=True, stdout=subprocess.PIPE, encoding="utf-8"
        )

    return start


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", "import fer_jax, onnxruntime"],
        ["-m", "tools.analyze", "{picture}"],
        ["-m", "tools.webcam", "--source={picture}", "--headless"],
    ],
    ids=["import", "analyze", "webcam"],
)
def test_a_command_leaves_no_file_in_the_home_folder(home, start, tmp_path, arguments):
    picture = tmp_path / "gray.png"
    cv2.imwrite(str(picture), np.full((64, 64, 3), 128, np.uint8))
    done = start(*(argument.format(picture=picture) for argument in arguments))
    done.communicate()
    assert done.returncode == 0
    assert not list(home.rglob("*"))


def test_the_page_leaves_no_file_in_the_home_folder(home, start):
    page = start("-m", "tools.web", "--port=0")
    address = page.stdout.readline().partition(" ")[0]
    picture = cv2.imencode(".png", np.full((64, 64, 3), 128, np.uint8))[1].tobytes()
    request = urllib.request.Request(f"{address}v1/analyze", picture, {"Content-Type": "image/png"})
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200
    page.send_signal(signal.SIGTERM)
    page.communicate()
    assert not list(home.rglob("*"))
