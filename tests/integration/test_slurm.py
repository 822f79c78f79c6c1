"""A real Slurm of one node runs launch/slurm.sbatch: two tasks, the warning signal, back into the queue, done."""

import os
import pathlib
import subprocess
import sys

import pytest

from tests.integration.conftest import REPOSITORY, SLOWLY, checkpoints

# It installs and starts system daemons and replaces /etc/slurm/slurm.conf: not without being asked.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("FER_JAX_SLURM" not in os.environ, reason="set FER_JAX_SLURM to let this start a Slurm here"),
    pytest.mark.skipif(os.geteuid() != 0, reason="starting Slurm needs root"),
]


@pytest.fixture
def slurm(real_data, tmp_path_factory):
    """A running one-node cluster."""
    script, folder = real_data / "slurm" / "one_node.sh", tmp_path_factory.mktemp("slurm")
    if not script.exists():
        pytest.skip("no script that starts a Slurm")
    with (folder / "start.log").open("w", encoding="utf-8") as log:  # a file: the daemons keep it open
        started = subprocess.run([script, "start", folder], stdout=log, stderr=log)
    if started.returncode:
        pytest.skip(f"Slurm does not start here: {(folder / 'start.log').read_text(encoding='utf-8')[-500:]}")
    yield
    subprocess.run([script, "stop", folder], check=True)


def command(*words):
    return subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True, encoding="utf-8").stdout


def state(job):
    return command("squeue", "--noheader", "--jobs", job, "--format=%T").strip()


def test_two_preempted_tasks_are_requeued_and_finish(runs, slurm):
    workdir, log = runs.folder / "run", runs.folder / "job.log"
    environment = {
        "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
        "JAX_NUM_CPU_DEVICES": "2",
        "JAX_COMPILATION_CACHE_DIR": str(runs.cache / "compiled"),
    }
    job = subprocess.run(
        [
            "sbatch",
            "--parsable",
            "--nodes=1",
            "--ntasks-per-node=2",
            "--gpus-per-node=0",
            "--cpus-per-task=1",
            "--time=30",
            f"--output={log}",
            REPOSITORY / "launch" / "slurm.sbatch",
            *runs.flags(workdir),
            SLOWLY,
            "--config.epochs=8",
        ],
        env=os.environ | environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
    ).stdout.strip()
    try:
        # The test's own patience and messages, on the job's log.
        watched = runs.command("tail", "-n", "+1", "-F", log)
        watched.until("epoch 2:")
        assert "devices: 4, processes: 2" in watched.output
        command("scancel", "--signal=TERM", job)  # what --signal=TERM@120 sends when the time is nearly up
        watched.until(f"job {job} goes back into the queue")
        stopped = max(checkpoints(workdir))
        assert f"stopped after step {stopped} of " in watched.output
        watched.until(lambda: state(job) == "PENDING")
        command("scontrol", "update", f"JobId={job}", "StartTime=now")  # not in two minutes
        watched.until(f"resuming after step {stopped} of ").until("done: ")
    finally:
        command("scancel", job)
