"""Hanging processes differ from slow ones by their heartbeats, on an injected clock."""

import threading

import pytest

from fer_jax.distributed.cluster import Watchdog


class Store:
    """All processes' strings, in one of them."""

    def __init__(self):
        self.values = {}

    def key_value_set(self, key, value, allow_overwrite=False):
        assert allow_overwrite
        self.values[key] = value

    def key_value_dir_get(self, key):
        return [(name, value) for name, value in self.values.items() if name.startswith(f"{key}/")]


class Trio:
    """Three watchdogs with one store and one clock."""

    def __init__(self, seconds=10.0):
        self.now, store = 0.0, Store()
        self.dogs = [Watchdog(store, i, seconds, lambda: self.now) for i in range(3)]

    def heartbeat(self, *processes):
        for process in processes:
            self.dogs[process].heartbeat()

    def after(self, seconds):
        """What each process says then; they publish before they look."""
        self.now += seconds
        for dog in self.dogs:
            dog.hanging()
        return [dog.hanging() for dog in self.dogs]


NOBODY = [[], [], []]


@pytest.fixture
def trio():
    made = Trio()
    made.after(0)
    return made


def test_every_process_names_the_one_that_hangs(trio):
    trio.heartbeat(0, 2)
    assert trio.after(0) == NOBODY
    assert trio.after(9) == NOBODY
    assert trio.after(1) == [[1], [1], [1]]


def test_processes_that_are_equally_far_do_not_hang(trio):
    trio.heartbeat(0, 1, 2)
    assert trio.after(1000) == NOBODY
    trio.heartbeat(0, 1)  # the third follows a little later, after a long time in which nobody was behind
    assert trio.after(1) == NOBODY


def test_a_slow_process_that_makes_progress_does_not_hang(trio):
    for _ in range(5):
        trio.heartbeat(0, 2)
        assert trio.after(8) == NOBODY
        trio.heartbeat(1)


def test_the_process_furthest_behind_is_named(trio):
    trio.heartbeat(0, 0, 2)  # the first dispatched one chunk more before it had to wait
    trio.after(0)
    assert trio.after(10) == [[1], [1], [1]]


def test_the_watchdog_thread_ends_a_waiting_process(capsys):
    trio, ended, said = Trio(seconds=0.01), threading.Event(), []
    trio.heartbeat(0)
    trio.after(0)
    trio.now = 1.0
    stop = trio.dogs[0].watch(lambda message: (said.append(message), ended.set()))
    assert ended.wait(10)
    stop()
    assert said[0].startswith("process 1, 2 hangs: the others have waited for it for 0.01 s")
    assert capsys.readouterr().err == ""


def test_a_hanging_process_prints_its_stack(capsys):
    trio, ended = Trio(seconds=0.01), threading.Event()
    trio.heartbeat(0, 2)
    trio.after(0)
    trio.now = 1.0
    stop = trio.dogs[1].watch(lambda message: ended.set())
    assert ended.wait(10)
    stop()
    said = capsys.readouterr().err
    assert said.startswith("this process hangs here:\n")
    assert "test_a_hanging_process_prints_its_stack" in said


def test_a_lost_coordination_service_stops_the_watchdog_quietly(monkeypatch):
    asked, said = threading.Event(), []
    monkeypatch.setattr(threading, "excepthook", said.append)

    class Gone(Store):
        def key_value_set(self, key, value, allow_overwrite=False):
            asked.set()
            raise RuntimeError("connection refused")

    Watchdog(Gone(), 0, 0.01).watch(said.append)
    assert asked.wait(10)
    for thread in threading.enumerate():
        if thread.name == "watchdog":
            thread.join(10)
    assert not said
