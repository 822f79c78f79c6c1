"""Open MPI starts two processes, and they find each other."""

import shutil
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("mpirun") is None, reason="no mpirun: install openmpi-bin"),
]


def test_two_processes_of_mpirun_are_one_run(runs):
    workdir = runs.folder / "run"
    train = sys.executable, "-m", "fer_jax.main", *runs.flags(workdir), "--config.epochs=1"
    process = runs.command("mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2", *train, devices=2)
    assert process.wait() == 0, process.output
    assert "devices: 4, processes: 2" in process.output
    assert (workdir / "result.json").exists()
