"""The Dockerfile, step by step in a folder that stands for its root."""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request

import cv2
import pytest

from tests import serving
from tests.integration.conftest import REPOSITORY, free_port


def steps():
    """(instruction, rest) of each line, continued lines joined."""
    text = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def root(tmp_path_factory, real_data):
    """What the build leaves, with the packages of this environment in place of an index."""
    root = tmp_path_factory.mktemp("container")
    cache = root / "opt" / "cache" / "fer_jax"
    cache.mkdir(parents=True)
    shutil.copy(real_data / "models" / "face_detection_yunet_2023mar.onnx", cache)
    for instruction, rest in steps():
        if instruction == "COPY" and rest == ". .":
            kept = shutil.ignore_patterns(".git", ".venv", "__pycache__", "tests", "docs")
            shutil.copytree(REPOSITORY, root / "src", ignore=kept)
        if instruction == "RUN" and "opencv-python" not in rest:  # here it is that of this environment
            command = re.sub(r"(?<![\w.])/opt", f"{root}/opt", rest)
            command = re.sub(r"^python(?= )", sys.executable, command)
            offline = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0"}
            subprocess.run(command, shell=True, cwd=root / "src", env=os.environ | offline, check=True)
            if "venv" in rest:
                (site,) = (root / "opt/fer_jax").glob("lib/python*/site-packages")
                packages = [path for path in sys.path if path.endswith("-packages")]
                (site / "base.pth").write_text(f"import sys; sys.path[:0] = {packages}\n", encoding="utf-8")
    return root


@pytest.mark.slow
def test_the_container_answers_and_writes_nothing(root):
    variables = dict(rest.split("=", 1) for instruction, rest in steps() if instruction == "ENV")
    variables = {name: value.replace("/opt", f"{root}/opt") for name, value in variables.items()}
    (entry,) = (json.loads(rest) for instruction, rest in steps() if instruction == "ENTRYPOINT")
    before = sorted(root.rglob("*"))
    port = free_port()
    command = [str(root / "opt/fer_jax/bin" / entry[0]), *entry[1:], f"--port={port}"]
    server = subprocess.Popen(command, env=variables | {"HOME": "/nowhere"}, cwd="/", stdout=subprocess.PIPE)
    try:
        assert server.stdout.readline()
        picture = cv2.imencode(".png", serving.drawn_people(("happy", "sad"))[0])[1].tobytes()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/analyze", data=picture) as answer:
            assert answer.status == 200
        (health,) = (json.loads(rest.removeprefix("CMD ")) for name, rest in steps() if name == "HEALTHCHECK")
        check = [sys.executable, *(part.replace("8765", str(port)) for part in health[1:])]
        assert subprocess.run(check, check=False).returncode == 0
    finally:
        server.terminate()
        assert server.wait(30) == 0
    assert sorted(root.rglob("*")) == before


def test_the_container_has_no_rights():
    assert ("USER", "10001") in steps()
    assert steps().index(("USER", "10001")) < [name for name, _ in steps()].index("ENTRYPOINT")
