"""Stopped, killed, damaged and out of disk: a resumed run ends as the one that nobody interrupted."""

import json
import random
import resource
import signal
import sys

import pytest

from tests.integration.conftest import checkpoints, rows, same_end

STOPPED = 75


def resume(runs, workdir):
    process = runs.train(workdir)
    assert process.wait() == 0, process.output
    return process.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_saves_and_goes_on_from_there(runs, whole, number):
    workdir = runs.folder / "run"
    stopped = runs.train(workdir).until("epoch 1:").send(number)
    assert stopped.wait() == STOPPED, stopped.output
    assert "as asked; the same command goes on from there" in stopped.output
    step = max(checkpoints(workdir))
    assert f"stopped after step {step} of " in stopped.output
    assert not (workdir / "result.json").exists()
    assert f"resuming after step {step} of " in resume(runs, workdir)
    assert same_end(workdir, whole)
