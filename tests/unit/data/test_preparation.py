"""Sets are prepared in parallel, once, and go on where they stopped."""

import dataclasses
import errno
import os
import threading

import numpy as np
import pytest

from fer_jax.data import lazy, mapped, preparation
from fer_jax.data.examples import Examples
from fer_jax.errors import UserError
from fer_jax.recipes import default

COUNT = 60


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(lazy, "_BYTES_AT_ONCE", 64)  # four images


def make(decode):
    config = default.get_config()
    config.input.size = 4
    return Examples(
        images=lazy.Decoded(COUNT, decode, config.input),
        labels=np.zeros(COUNT, np.int32),
        split=np.full(COUNT, "all"),
        label_names=("angry", "happy"),
    )


def plain(number):
    return np.full((4, 4), number, np.uint8)


def prepare(path, examples):
    with preparation.turn(path) as partial:
        preparation.write(partial, path, examples)
    return mapped.open_folder(path)


def test_every_image_is_decoded_once_by_several_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2})
    seen, threads, together = [], set(), threading.Barrier(3, timeout=30)

    def decode(number):
        seen.append(number)
        threads.add(threading.current_thread().name)
        if number in (0, 4, 8):  # the first image of each of three blocks: they must be decoded at the same time
            together.wait()
        return plain(number)

    found = prepare(tmp_path / "set", make(decode))
    assert found.images[:, 0, 0, 0].tolist() == list(range(COUNT))
    assert sorted(seen) == list(range(COUNT)) and len(threads) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_each_thread_decodes_into_memory_of_its_own_again_and_again(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2})
    places = set()

    class Watched(lazy.Decoded):
        def read_into(self, rows, out):
            places.add((threading.current_thread().name, out.ctypes.data))
            super().read_into(rows, out)

    config = default.get_config()
    config.input.size = 4
    images = Watched(COUNT - 1, plain, config.input)
    made = dataclasses.replace(make(plain).take(np.arange(COUNT - 1)), images=images)
    assert prepare(tmp_path / "set", made).images[:, 0, 0, 0].tolist() == list(range(COUNT - 1))
    assert len(places) == len({thread for thread, _ in places}) <= 3


def test_a_stream_is_read_by_one_thread_and_decoded_by_several(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2})
    taken, done, ahead, readers, threads = [], [], [], set(), set()
    together = threading.Barrier(3, timeout=30)

    def stream():
        for number in range(COUNT):
            readers.add(threading.current_thread().name)
            taken.append(number)
            ahead.append(len(taken) - len(done))
            yield number

    def decode(number):
        threads.add(threading.current_thread().name)
        if number in (0, 4, 8):
            together.wait()
        done.append(number)
        return plain(number)

    examples = make(plain)
    config = default.get_config()
    config.input.size = 4
    images = lazy.Streamed(COUNT, stream, decode, config.input)
    found = prepare(tmp_path / "set", dataclasses.replace(examples, images=images))
    assert found.images[:, 0, 0, 0].tolist() == list(range(COUNT))
    assert (len(readers), len(threads)) == (1, 3)
    assert max(ahead) <= 4 * (2 * 3 + 1)  # four images a block, two blocks a thread


def test_what_was_stopped_goes_on_where_it_stopped(tmp_path):
    seen = []

    def decode(number):
        if number == 30:
            raise KeyboardInterrupt
        return plain(number)

    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "set", make(decode))
    done = (tmp_path / ".set.partial" / preparation.JOURNAL).read_text(encoding="utf-8").count("\n") - 1
    assert done > 0 and not (tmp_path / "set").exists()
    found = prepare(tmp_path / "set", make(lambda number: (seen.append(number), plain(number))[1]))
    assert found.images[:, 0, 0, 0].tolist() == list(range(COUNT))
    assert len(seen) == COUNT - 4 * done


@pytest.mark.parametrize("damage", ["journal", "images", "shape"])
def test_blocks_that_are_not_what_the_journal_says_are_made_again(tmp_path, damage):
    partial = tmp_path / ".set.partial"
    with pytest.raises(KeyboardInterrupt):
        prepare(
            tmp_path / "set", make(lambda number: plain(number) if number < 30 else exec("raise KeyboardInterrupt"))
        )
    if damage == "journal":
        (partial / preparation.JOURNAL).write_text("{", encoding="utf-8")
    elif damage == "shape":
        text = (partial / preparation.JOURNAL).read_text(encoding="utf-8")
        (partial / preparation.JOURNAL).write_text(text.replace("60", "61", 1), encoding="utf-8")
    else:
        content = bytearray((partial / mapped.IMAGES).read_bytes())
        content[-COUNT * 16 : -COUNT * 16 + 64] = b"\1" * 64
        (partial / mapped.IMAGES).write_bytes(content)
    assert prepare(tmp_path / "set", make(plain)).images[:, 0, 0, 0].tolist() == list(range(COUNT))


def test_all_unreadable_images_are_named_and_nothing_is_left(tmp_path):
    def decode(number):
        if number % 20 == 3:
            raise UserError(f"{number:02}.png: not an image: remove it")
        return plain(number)

    with pytest.raises(UserError, match=r"03.png: .*; 2 others cannot be read either: 23.png, 43.png"):
        prepare(tmp_path / "set", make(decode))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_leaves_what_was_there_before(tmp_path, monkeypatch):
    before = prepare(tmp_path / "set", make(plain))

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        prepare(tmp_path / "set", make(plain))
    assert lazy.equal(mapped.open_folder(tmp_path / "set").images, before.images)


def test_too_little_room_is_known_before_anything_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "SPARE_BYTES", 1 << 60)
    with pytest.raises(OSError, match=r"MB are needed and .* MB are free"):
        prepare(tmp_path / "set", make(lambda number: pytest.fail("decoded")))


def test_a_second_process_waits_for_the_first(tmp_path):
    path, order = tmp_path / "set", []

    def second():
        with preparation.turn(path) as partial:
            order.append("second")
            assert path.exists() and partial.exists()

    with preparation.turn(path) as partial:
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.05)
        order.append("first")
        preparation.write(partial, path, make(plain))
    waiting.join()
    assert order == ["first", "second"]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_what_nobody_finished_is_forgotten_after_a_while(tmp_path):
    for name, age in ((".old.partial", 0), (".new.partial", None)):
        (tmp_path / name).mkdir()
        journal = tmp_path / name / preparation.JOURNAL
        journal.touch()
        if age is not None:
            os.utime(journal, (age, age))
    prepare(tmp_path / "set", make(plain))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".new.partial", "set"]
