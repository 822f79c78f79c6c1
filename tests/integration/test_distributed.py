"""Several processes are one run: the result of one process, one voice, one end."""

import re
import signal
import sys
import time

import numpy as np
import pytest

from tests.integration.conftest import SLOWLY, Runs, checkpoints, free_port, rows, same_end

pytestmark = pytest.mark.slow
STOPPED = 75
# Plain descent in small steps: other optimizers make much of the rounding of a gradient near zero.
SMOOTH = ("--config.epochs=1", "--config.optim.name=sgd", "--config.optim.learning_rate=0.001")

# What Gloo says of each of its devices, piece by piece, from threads that write between each other's pieces.
GLOO = re.compile(r"\[Gloo\]|Rank|is connected to|peer ranks\.|Expected number of connected peer ranks is|[\s\d:]")


def wait_for(processes, code=0):
    for process in processes:
        assert process.wait() == code, process.output
    return processes


def logits(workdir):
    return np.load(workdir / "predictions" / "PublicTest.npz")["logits"]


@pytest.fixture(scope="module")
def whole_pair(tmp_path_factory, run_cache, user_environment):
    """The workdir of a run of two processes that nobody interrupted."""
    folder = tmp_path_factory.mktemp("whole_pair")
    made = Runs(folder, run_cache, user_environment)
    try:
        wait_for(made.cluster(folder / "run"))
    finally:
        made.end()
    return folder / "run"


@pytest.mark.parametrize("api", ["pmap", "shard_map"])
def test_two_processes_of_two_devices_are_one_of_four_and_of_one(runs, api):
    flags = (*SMOOTH, f"--config.parallel.api={api}")
    folders = [runs.folder / name for name in ("pair", "four", "one")]
    first, second = wait_for(runs.cluster(folders[0], *flags))
    wait_for([runs.train(folders[1], *flags, devices=4)])
    wait_for([runs.train(folders[2], *flags)])
    assert "batches of 8; devices: 4, processes: 2" in first.output
    name, rest = second.output.split("\n", 1)
    assert re.fullmatch(r"process 1 of 2: .*, devices: 2", name)
    assert not GLOO.sub("", rest), f"only the first process speaks:\n{second.output}"
    for folder in folders[1:]:
        assert logits(folder).shape == logits(folders[0]).shape == (14, 7)
        np.testing.assert_allclose(logits(folders[0]), logits(folder), atol=1e-3)
        for a, b in zip(rows(folders[0]), rows(folder), strict=True):
            assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-4)
            assert a["PublicTest_loss"] == pytest.approx(b["PublicTest_loss"], rel=1e-4)


def test_a_signal_to_the_second_stops_both_in_a_chunk_in_evaluation_and_in_a_save(runs, whole_pair):
    workdir = runs.folder / "run"

    def in_a_chunk(first):
        first.until("in 7 dispatches")

    def in_evaluation(first):
        first.until(lambda: "epoch " in first.output)

    def in_a_save(first):
        first.until(lambda: list((workdir / "checkpoints").glob(".*.tmp")))

    steps = []
    for moment in (in_a_chunk, in_evaluation, in_a_save):
        first, second = runs.cluster(workdir, SLOWLY)
        moment(first)
        second.send(signal.SIGTERM)
        wait_for([first, second], STOPPED)
        steps.append(max(checkpoints(workdir), default=0))
        assert f"stopped after step {steps[-1]} of " in first.output
    assert steps == sorted(steps)
    wait_for(runs.cluster(workdir))
    assert same_end(workdir, whole_pair)


def test_another_number_of_processes_resumes_where_two_stopped(runs, whole_pair):
    workdir = runs.folder / "run"
    first, second = runs.cluster(workdir, SLOWLY)
    first.until("epoch 1:").send(signal.SIGINT)
    wait_for([first, second], STOPPED)
    wait_for([runs.train(workdir, devices=2)])
    done, expected = rows(workdir), rows(whole_pair)
    assert done[0] == expected[0]
    assert [row["step"] for row in done] == [row["step"] for row in expected]
    assert done[-1]["train_loss"] == pytest.approx(expected[-1]["train_loss"], rel=0.05)  # Adam magnifies rounding


@pytest.mark.parametrize(("victim", "how"), [(1, signal.SIGKILL), (1, signal.SIGSTOP), (0, signal.SIGKILL)])
def test_a_process_that_dies_or_hangs_is_named_and_ends_the_others(runs, victim, how):
    pair = runs.cluster(runs.folder / "run", "--config.epochs=100000", "--heartbeat_seconds=4", devices=1)
    pair[0].until("epoch 2:")
    pair[victim].send(how)
    survivor = pair[1 - victim]
    assert survivor.wait() not in (0, 2, STOPPED)
    if victim:
        assert "process 1 does not answer" in survivor.output or "(stopped sending heartbeats):\n1\n" in survivor.output
    else:
        assert "process 0" in survivor.output or "task: 0" in survivor.output or "leader" in survivor.output


def test_a_single_process_may_be_suspended_for_any_time(runs):
    alone = runs.train(runs.folder / "run", "--config.epochs=400", "--heartbeat_seconds=2").until("epoch 2:")
    alone.send(signal.SIGSTOP)
    time.sleep(6)  # three times what would end one of several
    alone.send(signal.SIGCONT).until("epoch 9:").send(signal.SIGTERM)
    assert alone.wait() == STOPPED


HANGS = """
import runpy, threading
from fer_jax.data.pipelines import DevicePipeline

feeds = DevicePipeline.feeds


def that_stop(*args):
    for number, feed in enumerate(feeds(*args)):
        if number == 20:
            threading.Event().wait()  # as for a file system that does not answer
        yield feed


DevicePipeline.feeds = that_stop
runpy.run_module("fer_jax.main", run_name="__main__")
"""


def test_a_process_that_hangs_but_answers_is_named_and_ends_the_others(runs):
    # Compiling may take one of them longer than the other: not 30 s.
    flags = (
        *runs.flags(runs.folder / "run"),
        f"--coordinator=127.0.0.1:{free_port()}",
        "--num_processes=2",
        "--hang_seconds=30",
    )
    waiting = runs.command(sys.executable, "-m", "fer_jax.main", *flags, "--process_id=0")
    hanging = runs.command(sys.executable, "-c", HANGS, *flags, "--process_id=1")
    assert waiting.wait() == 1
    assert hanging.wait() not in (0, 2, STOPPED)
    assert "error: process 1 hangs: the others have waited for it for 30 s" in waiting.output
    assert "this process hangs here:" in hanging.output
    assert "in that_stop" in hanging.output


def test_a_user_error_of_the_primary_process_is_raised_in_every_process(runs, whole):
    pair = wait_for(runs.cluster(whole, "--config.seed=5"), 2)
    assert "holds a run of another config: seed was 0, is 5" in pair[0].output
    assert all("Traceback" not in process.output for process in pair)
