"""One process needs no other; what several say to each other arrives whole."""

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


@pytest.mark.parametrize(
    ("said", "names"),
    [
        (
            "DEADLINE_EXCEEDED: Barrier timed out.\n# of tasks that reached the barrier: 1/3.\nThe first task at the "
            "barrier: 0. Some timed out task names:\n1\n2\n\n\nRPC: /xla",
            "process 1, 2 does not answer",
        ),
        (
            "INTERNAL: Barrier failed because: task is set to ERROR: UNAVAILABLE: Task 1 heartbeat timeout. "
            "This indicates",
            "process 1 does not answer",
        ),
        ("UNAVAILABLE: something else\nand more", "UNAVAILABLE: something else"),
    ],
)
def test_unresponsive_processes_are_read_from_the_error(said, names):
    assert cluster._silent_of(said) == names
