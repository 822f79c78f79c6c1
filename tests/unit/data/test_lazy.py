"""Images on demand behave like the array they stand for."""

import os
import threading

import numpy as np
import pytest

from fer_jax.data import lazy
from fer_jax.data.lazy import Decoded, Selection, UnreadableError
from fer_jax.errors import UserError
from tests import datasets

IMAGES = np.arange(10 * 12, dtype=np.uint8).reshape(10, 2, 2, 3)
ROWS = np.array([7, 2, 3, 4, 9])
SELECTED = IMAGES[ROWS]


@pytest.fixture
def selection():
    return lazy.take(IMAGES, ROWS)


@pytest.mark.parametrize(
    "key",
    [
        0,
        -1,
        np.int64(2),
        slice(None),
        slice(1, 4),
        slice(None, None, -2),
        [4, 0, 0],
        np.array([[1, 2], [4, 4]]),
        np.array([], np.int64),
        np.array([True, False, True, False, False]),
        (slice(None), 0, 1),
        (2, 1),
        (slice(1, 3), slice(None), slice(None, None, -1)),
        (Ellipsis, 0),
    ],
    ids=str,
)
def test_indexing_is_that_of_an_array(selection, key):
    np.testing.assert_array_equal(selection[key], SELECTED[key])


def test_it_has_the_properties_of_an_array(selection):
    assert (selection.shape, selection.dtype, selection.ndim) == (SELECTED.shape, SELECTED.dtype, 4)
    assert (len(selection), selection.nbytes) == (5, SELECTED.nbytes)
    np.testing.assert_array_equal(np.asarray(selection), SELECTED)
    np.testing.assert_array_equal(list(selection), SELECTED)
    for key in (5, -6):
        with pytest.raises(IndexError):
            selection[key]


def test_a_selection_of_a_selection_goes_back_to_the_source(selection):
    again = lazy.take(selection, np.array([4, 1]))
    assert again.source is IMAGES
    np.testing.assert_array_equal(again[:], IMAGES[[9, 2]])


def test_rows_that_follow_one_another_are_a_view(selection):
    assert np.shares_memory(selection[1:4], IMAGES)
    assert not np.shares_memory(selection[0:2], IMAGES)


@pytest.mark.parametrize("source", [IMAGES, lazy.take(IMAGES, np.arange(9, -1, -1))], ids=["array", "selection"])
def test_gather_copies_rows_into_the_place_given(source):
    out = np.zeros((3, 2, 2, 3), np.uint8)
    lazy.gather(source, np.array([4, 0, 4]), out)
    np.testing.assert_array_equal(out, source[[4, 0, 4]])


def test_blocks_cover_every_row_once(monkeypatch):
    monkeypatch.setattr(lazy, "_BYTES_AT_ONCE", 40)
    assert list(lazy.blocks(IMAGES.shape)) == [(0, 3), (3, 6), (6, 9), (9, 10)]
    assert list(lazy.blocks((2, 100, 100, 3))) == [(0, 1), (1, 2)]
    assert list(lazy.blocks((0, 2, 2, 3))) == []


def decoded(wrong=()):
    def decode(number):
        if number in wrong:
            raise UserError(f"{number}.png: not an image: remove it")
        return np.full((5, 7, 3), number, np.uint8)

    return Decoded(20, decode, datasets.config_of("folder", "", 4).input)


def test_decoded_images_are_fitted_and_a_selection_decodes_its_own_only():
    assert decoded().shape == (20, 4, 4, 1)
    np.testing.assert_array_equal(decoded()[[3, 1], 0, 0, 0], [3, 1])
    assert Selection(decoded([0]), np.array([2, 19]))[:, 0, 0, 0].tolist() == [2, 19]


def test_all_that_cannot_be_read_are_named_up_to_ten():
    with pytest.raises(UnreadableError) as caught:
        decoded(range(5, 18))[:]
    assert str(caught.value).startswith("5.png: not an image: remove it; 12 others cannot be read either: 6.png, 7.png")
    assert str(caught.value).endswith("14.png and 3 more")
    with pytest.raises(UnreadableError, match=r"^7.png: not an image: remove it$"):
        decoded([7])[:]


def test_blocks_are_read_by_several_threads_and_come_in_order(monkeypatch):
    monkeypatch.setattr(lazy, "threads", lambda: 3)
    monkeypatch.setattr(lazy, "_BYTES_AT_ONCE", 64)  # four images
    together, began = threading.Barrier(3, timeout=30), []

    def work(block):
        began.append(threading.current_thread().name)
        if len(began) <= 3:  # the first three blocks must be read at the same time
            together.wait()
        return block[:, 0, 0, 0].tolist()

    found = list(lazy.map_blocks(decoded(), work))
    assert [number for block in found for number in block] == list(range(20)) and len(found) == 5
    assert len(set(began)) == 3


def test_all_blocks_are_tried_before_unreadable_images_are_said(monkeypatch):
    monkeypatch.setattr(lazy, "_BYTES_AT_ONCE", 64)
    found = []
    with pytest.raises(UnreadableError, match=r"^3.png: .*; 1 others cannot be read either: 17.png"):
        for block in lazy.map_blocks(decoded([3, 17]), lambda block: block):
            found += block[:, 0, 0, 0].tolist()
    assert found == list(range(4, 16))


def test_cores_are_counted_on_every_platform(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(40)), raising=False)
    assert lazy.threads() == lazy.MAX_THREADS
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS and Windows
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert lazy.threads() == 3
