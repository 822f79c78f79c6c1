"""Pipeline stages on threads keep order, bound their queues, and pass errors on."""

import itertools
import threading

import pytest

from fer_jax.serve.stages import Stage


def test_all_items_in_order():
    assert list(Stage(range(1000), depth=3)) == list(range(1000))


def test_stages_in_a_row():
    squares = Stage((x * x for x in Stage(range(100), depth=1)), depth=1)
    assert list(squares) == [x * x for x in range(100)]


def test_it_runs_ahead_by_its_depth_and_no_further():
    drawn, reached, too_far = [], threading.Event(), threading.Event()

    def items():
        for i in range(100):
            drawn.append(i)
            if len(drawn) == 4:  # three wait, the fourth is in the hand
                reached.set()
            if len(drawn) > 4:
                too_far.set()
            yield i

    stage = Stage(items(), depth=3)
    assert reached.wait(5)
    assert not too_far.wait(0.1)
    assert next(stage) == 0
    assert too_far.wait(5)
    stage.close()


def test_a_live_stage_drops_the_oldest_and_never_waits():
    done = threading.Event()

    def items():
        yield from range(1000)
        done.set()

    stage = Stage(items(), depth=2, drop=True)
    assert done.wait(5), "it must not wait for anybody"
    assert list(stage) == [998, 999]


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield 1
        yield 2
        raise OSError("unplugged")

    stage = Stage(items(), depth=1)
    assert [next(stage), next(stage)] == [1, 2]
    with pytest.raises(OSError, match="unplugged"):
        next(stage)


def test_nothing_in_time():
    release = threading.Event()

    def items():
        release.wait(5)
        yield "late"

    stage = Stage(items())
    assert stage.take(0.01) is None
    release.set()
    assert stage.take(5) == "late"
    with pytest.raises(StopIteration):
        stage.take(5)


@pytest.mark.parametrize("drop", [False, True])
def test_closing_ends_the_thread(drop):
    before = set(threading.enumerate())
    first = Stage(itertools.count(), depth=1, drop=drop)
    second = Stage(map(str, first), depth=1)
    next(second)
    first.close()
    second.close()
    with pytest.raises(StopIteration):
        next(second)
    assert set(threading.enumerate()) == before
