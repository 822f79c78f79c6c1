"""Stopped, killed, damaged and out of disk: a resumed run ends as the one that nobody interrupted."""

import itertools
import json
import random
import signal
import sys

import pytest

from tests.integration.conftest import SLOWLY, checkpoints, rows, same_end

STOPPED = 75


def until_a_random_moment(process, chance):
    """Wait for a random part of the run, and from there for a random number of looks, or for the end."""
    begin = chance.choice(["140 synthetic faces", "in 7 dispatches", "in 7 dispatches", "epoch "])
    looks = itertools.count()
    moment = chance.expovariate(1 / 60)
    process.until(lambda: process.poll() is not None or (begin in process.output and next(looks) > moment))


def kill_at_random_moments(runs, whole, kills, seed):
    """Kill runs `kills` times; every run that comes to its end must have ended as the whole one."""
    chance, number = random.Random(seed), 0
    while kills:
        workdir, number, code = runs.folder / f"run{number}", number + 1, None
        while code != 0:
            # Every chunk leaves a checkpoint, so that even a short life gets a run further.
            process = runs.train(workdir, SLOWLY)
            if kills:
                until_a_random_moment(process, chance)
                kills -= process.poll() is None
                process.send(signal.SIGKILL)
            code = process.wait()
            assert code in (0, -signal.SIGKILL), process.output
        assert same_end(workdir, whole)
        assert not list(workdir.rglob("*.tmp*")), "what was half written has been cleared away"


def test_killed_at_random_moments(runs, whole):
    kill_at_random_moments(runs, whole, kills=3, seed=0)


@pytest.mark.slow
def test_killed_at_twenty_random_moments(runs, whole):
    kill_at_random_moments(runs, whole, kills=20, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_fer2013_killed_three_times_reaches_the_accuracy_of_an_uninterrupted_run(runs, fer2013_csv):
    def train(workdir):
        return runs.command(
            sys.executable,
            "-m",
            "fer_jax.main",
            "--config=configs/xception.py",
            "--config.epochs=1",
            f"--config.data.path={fer2013_csv}",
            f"--config.data.cache_dir={runs.cache / 'data'}",
            "--config.eval.tta=()",
            "--config.checkpoint.every_minutes=0",
            f"--workdir={workdir}",
            JAX_DISABLE_MOST_OPTIMIZATIONS="0",
        )

    def steps(workdir):
        return [int(folder.name) for folder in (workdir / "checkpoints").glob("[0-9]*")]

    killed, whole = runs.folder / "killed", runs.folder / "whole"
    for done in (28, 84, 168):
        process = train(killed).until(lambda done=done: max(steps(killed), default=0) >= done)
        assert process.send(signal.SIGKILL).wait() == -signal.SIGKILL
    for workdir in (killed, whole):
        process = train(workdir)
        assert process.wait() == 0, process.output
    public = [
        json.loads((workdir / "result.json").read_text(encoding="utf-8"))["splits"]["PublicTest"]
        for workdir in (killed, whole)
    ]
    assert public[0] == public[1]
    assert rows(killed) == rows(whole)
    assert rows(whole)[0]["train_accuracy"] > 0.25


def test_one_run_in_a_workdir_and_a_second_interrupt_stops_at_once(runs, whole):
    workdir, endless = runs.folder / "run", "--config.epochs=100000"
    first = runs.train(workdir, endless).until("epoch 1:")
    second = runs.train(workdir, endless)
    assert second.wait() == 2
    assert f"error: {workdir} is in use by process {first.pid} of " in second.output
    first.send(signal.SIGKILL).wait()
    third = runs.train(workdir, endless).until("synthetic faces")
    third.send(signal.SIGINT).until("interrupt again to stop at once").send(signal.SIGINT)
    assert third.wait() in (130, STOPPED)  # the latter where it had reached its next chunk by then
    assert "in use" not in third.output


def test_a_user_error_is_not_retried(runs):
    process = runs.train(runs.folder / "run", "--config.epochs=0")
    assert process.wait() == 2
    assert process.output == "error: config.epochs is 0: expected at least 1\n"


# A limit of the size of a file fails as a full disk does, in the midst of the checkpoint's largest file.
LIMITED = (
    "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (12288, 12288)); "
    "os.execv(sys.executable, [sys.executable, '-m', 'fer_jax.main', *sys.argv[1:]])"
)


def test_preempted_out_of_disk_interrupted_and_damaged_it_ends_as_the_whole(runs, whole):
    workdir = runs.folder / "run"

    def stop(epoch, number):
        stopped = runs.train(workdir, SLOWLY).until(f"epoch {epoch}:").send(number)
        assert stopped.wait() == STOPPED, stopped.output
        assert "as requested; the same command resumes from there" in stopped.output
        step = max(checkpoints(workdir))
        assert f"stopped after step {step} of " in stopped.output
        assert not (workdir / "result.json").exists()
        return step, stopped.output

    terminated, _ = stop(1, signal.SIGTERM)

    before = checkpoints(workdir)
    full = runs.command(sys.executable, "-c", LIMITED, *runs.flags(workdir))
    assert full.wait() == 2, full.output
    last = full.output.splitlines()[-1]
    assert last.startswith("error: the checkpoint of step ") and "make room and run the same command again" in last
    assert f"the checkpoint of step {max(before)} is whole" in last
    assert "File too large" in last
    assert "fer_jax/" not in full.output, "no traceback of ours"
    assert checkpoints(workdir) == before

    _, output = stop(3, signal.SIGINT)
    assert f"resuming after step {terminated} of " in output

    # A damaged checkpoint costs only the work since the one before.
    *_, earlier, newest = sorted(checkpoints(workdir))
    (workdir / "checkpoints" / f"{newest:08d}" / "host.json").unlink()
    resumed = runs.train(workdir)
    assert resumed.wait() == 0, resumed.output
    assert f"{newest:08d} is passed over: host.json is missing" in resumed.output
    assert f"resuming after step {earlier} of " in resumed.output
    assert same_end(workdir, whole)
