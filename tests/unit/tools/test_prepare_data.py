"""The command that reads a data set, keeps it and counts what is in it."""

import subprocess
import sys

from fer_jax.errors import EXIT_USER_ERROR


def run(*arguments):
    return subprocess.run([sys.executable, "-m", "tools.prepare_data", *arguments], capture_output=True, text=True)


def test_counts_and_cache(tmp_path):
    pixels = " ".join(["7"] * 48 * 48)
    path = tmp_path / "fer2013.csv"
    path.write_text(f"emotion,pixels,Usage\n0,{pixels},Training\n3,{pixels},Training\n3,{pixels},PublicTest\n")
    done = run(f"--path={path}", f"--config.data.cache_dir={tmp_path / 'cache'}")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["Training", "1", "0", "0", "1", "0", "0", "0", "2"] in lines
    assert ["PublicTest", "0", "0", "0", "1", "0", "0", "0", "1"] in lines
    kept, = (tmp_path / "cache").iterdir()
    assert f"kept in {kept}" in done.stdout


def test_a_users_mistake_is_one_line(tmp_path):
    done = run("--source=folder", f"--path={tmp_path}")
    assert (done.returncode, done.stdout) == (EXIT_USER_ERROR, "")
    assert done.stderr.startswith(f"error: {tmp_path}: 0 class folders")
    assert done.stderr.count("\n") == 1
