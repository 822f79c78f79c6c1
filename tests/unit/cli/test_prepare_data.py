"""The command that reads a data set, keeps it and counts what is in it."""

import os

from fer_jax.errors import EXIT_USER_ERROR
from tests.conftest import run_python


def run(tmp_path, *arguments):
    return run_python(
        "-m", "tools.prepare_data", *arguments, env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    )


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


def test_a_users_mistake_is_one_line(tmp_path):
    done = run(tmp_path, "--source=folder", f"--path={tmp_path}")
    assert (done.returncode, done.stdout) == (EXIT_USER_ERROR, "")
    assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path}: 0 class folders")
    assert "Traceback" not in done.stderr
