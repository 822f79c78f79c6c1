"""One process needs no other; what several say to each other arrives whole."""

import contextlib
import signal
import socket

import jax
import numpy as np
import pytest

from fer_jax.distributed import cluster


def test_a_single_process_is_primary_and_runs_functions_itself():
    assert cluster.is_primary()
    assert not cluster.preemption_requested()
    value = object()
    assert cluster.run_on_primary(lambda: value) is value


def test_a_broadcast_keeps_every_byte():
    for content in (b"", b"x", np.float32([-0.0, 1]).tobytes()):
        assert cluster._broadcast(content) == content


def test_unresponsive_processes_are_read_from_the_error():
    late = "# of tasks that reached the barrier: 1/3.\nThe first task at the barrier: 0. Some timed out task names:"
    silent = {
        f"DEADLINE_EXCEEDED: Barrier timed out.\n{late}\n1\n2\n\n\nRPC: /xla": "process 1, 2 does not answer",
        "INTERNAL: ... is set to ERROR: UNAVAILABLE: Task 1 heartbeat timeout. This": "process 1 does not answer",
        "UNAVAILABLE: something else\nand more": "UNAVAILABLE: something else",
    }
    for said, names in silent.items():
        assert cluster._silent_of(said) == names


@pytest.mark.parametrize("listening", [cluster._listening, cluster.interruptible])
def test_signals_have_their_handlers_again_afterwards(listening):
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    before, wakeup = [signal.getsignal(number) for number in numbers], signal.set_wakeup_fd(-1)
    with contextlib.suppress(KeyError), listening():
        assert signal.getsignal(signal.SIGUSR1) != before[-1]
        raise KeyError
    assert [signal.getsignal(number) for number in numbers] == before
    assert signal.set_wakeup_fd(wakeup) == -1


def test_the_port_of_a_single_process_is_taken_until_the_service_has_it(monkeypatch):
    def initialize(coordinator_address, **_):
        with socket.socket() as other, pytest.raises(OSError):
            other.bind(("127.0.0.1", int(coordinator_address.partition(":")[2])))

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    cluster._initialize_alone()
