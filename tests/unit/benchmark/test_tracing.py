"""The time of a traced step is shared out over its operations."""

import pytest

from fer_jax.benchmark import tracing


def event(name, start, duration, thread=1, **args):
    return {"ph": "X", "pid": 1, "tid": thread, "ts": start, "dur": duration, "name": name, "args": args}


def test_the_time_of_operations_is_shared_out():
    events = [
        event("while.3", 0, 100, hlo_op="while.3"),  # holds the others
        event("jit__outer_.59", 10, 30, hlo_op="jit__outer_.59"),
        event("ynn_fusion.4", 15, 20, hlo_op="ynn_fusion.4"),  # within the one before
        event("jit__outer_.7", 50, 10, hlo_op="jit__outer_.7"),
        event("add_fusion.clone.1", 10, 60, thread=2, hlo_op="add_fusion.clone.1"),
        event("python", 0, 1000),
        {"ph": "M", "pid": 1, "name": "process_name"},
    ]
    assert tracing.shares(events) == pytest.approx({"add_fusion": 0.6, "outer": 0.4})
