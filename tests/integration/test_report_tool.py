import json
import pathlib
import subprocess
import sys

import pytest

from configs import default
from fer_jax import config as configs

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def run_tool(*flags):
    command = [sys.executable, "-m", "tools.report", *flags]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """A run on drawn faces after its first epoch."""
    workdir = tmp_path_factory.mktemp("runs") / "started"
    workdir.mkdir()
    config = default.get_config()
    config.data.source, config.data.examples, config.batch_size = "synthetic", 70, 16
    config.data.cache_dir = str(workdir.parent / "cache")
    configs.save(config, workdir)
    row = {"epoch": 1, "step": 4, "examples": 64, "learning_rate": 1e-3, "train_loss": 2.0, "train_accuracy": 0.1,
           "PublicTest_loss": 1.9, "PublicTest_accuracy": 0.2, "PublicTest_macro_f1": 0.1, "seconds_train": 1.5}
    (workdir / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    return workdir


def test_one_run_with_its_faces(started):
    done = run_tool(f"--workdir={started}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(started / "report" / "index.html")
    assert {path.name for path in (started / "report").iterdir()} == {"index.html", "learning_curves.png",
                                                                      "augmented.png"}


def test_without_its_data_there_are_no_faces(started, tmp_path):
    moved = tmp_path / "moved"
    moved.mkdir()
    config = configs.load(started)
    config.data.source, config.data.path = "fer2013", str(tmp_path / "gone.csv")
    configs.save(config, moved)
    done = run_tool(f"--workdir={moved}")
    assert done.returncode == 0, done.stderr
    assert "no faces in the report" in done.stderr and "gone.csv" in done.stderr
    assert [path.name for path in (moved / "report").iterdir()] == ["index.html"]


def test_two_runs_compared(started, tmp_path):
    done = run_tool(f"--workdir={started}", f"--workdir={started}", f"--out={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "2 runs compared" in (tmp_path / "index.html").read_text()


def test_mistakes_are_one_line(started, tmp_path):
    for flags, message in (((f"--workdir={started}", f"--workdir={tmp_path}"), "give --out=FOLDER"),
                           ((f"--workdir={tmp_path}",), "no run's folder")):
        done = run_tool(*flags)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1 and message in done.stderr
