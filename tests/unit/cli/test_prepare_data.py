"""The command that reads a data set, keeps it and counts what is in it."""

import os

import cv2
import numpy as np

from fer_jax.errors import EXIT_USER_ERROR
from tests.conftest import run_python


def run(tmp_path, *arguments):
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    return run_python("-m", "tools.prepare_data", *arguments, env=environment)


def test_counts_and_cache(tmp_path):
    pixels = " ".join(["7"] * 48 * 48)
    path = tmp_path / "fer2013.csv"
    path.write_text(
        f"emotion,pixels,Usage\n0,{pixels},Training\n3,{pixels},Training\n3,{pixels},PublicTest\n", encoding="utf-8"
    )
    for arguments in ([f"--path={path}"], ["--config=configs/default.py", f"--config.data.path={path}"]):
        done = run(tmp_path, *arguments)
        assert done.returncode == 0, done.stderr
        lines = [line.split() for line in done.stdout.splitlines()]
        assert ["Training", "1", "0", "0", "1", "0", "0", "0", "2"] in lines
        assert ["PublicTest", "0", "0", "0", "1", "0", "0", "0", "1"] in lines
        (kept,) = (tmp_path / "cache" / "fer_jax").iterdir()
        assert f"kept in {kept}" in done.stdout


def test_a_folder_is_recognized_beside_the_list_of_extract_faces(tmp_path):
    for number, name in enumerate((*["calm"] * 10, *["grin"] * 10)):
        (tmp_path / "faces" / name).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "faces" / name / f"{number}.png"), np.full((48, 48), 12 * number, np.uint8))
    (tmp_path / "faces" / "extracted.csv").write_text("photograph,finding,face\n", encoding="utf-8")
    done = run(tmp_path, f"--path={tmp_path / 'faces'}")
    assert done.returncode == 0, done.stderr
    assert ["calm", "grin", "all"] in [line.split() for line in done.stdout.splitlines()]


def test_a_source_of_the_command_line_takes_its_own_arguments(tmp_path):
    for number in range(3):
        image = np.full((48, 48), 80 * number, np.uint8)
        assert cv2.imwrite(str(tmp_path / f"{number}.png"), image)
    listed = tmp_path / "list.csv"
    listed.write_text("file,label,split\n0.png,0,train\n1.png,1,val\n2.png,1,test\n", encoding="utf-8")
    for source in ("--source=list", "--config.data.source=list"):
        done = run(tmp_path, source, f"--path={listed}", "--config.data.args.labels=sad,happy")
        assert done.returncode == 0, done.stderr
        assert ["sad", "happy", "all"] in [line.split() for line in done.stdout.splitlines()]


def test_a_users_mistake_is_one_line(tmp_path):
    done = run(tmp_path, "--source=folder", f"--path={tmp_path}")
    assert (done.returncode, done.stdout) == (EXIT_USER_ERROR, "")
    assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path}: 0 class folders")
    assert "Traceback" not in done.stderr
