"""Smoothed probabilities: stable names, quick changes, no stale labels."""

import itertools

import numpy as np
import pytest

from fer_jax.errors import UserError
from fer_jax.serve.smoothing import History

RATE = 25.0


def _names(method, rows):
    history, names = History(method), []
    for i, row in enumerate(rows):
        history.update(np.asarray(row, np.float32), i / RATE)
        names.append(history.label)
    return names, history


def _changes(names):
    return sum(a != b for a, b in itertools.pairwise(names))


@pytest.mark.parametrize("seed", range(20))
def test_two_names_that_are_nearly_equal_do_not_take_turns(seed):
    rng = np.random.default_rng(seed)
    share = np.clip(0.45 + 0.1 * rng.normal(size=500), 0, 0.9)
    rows = np.stack([share, 0.9 - share, np.full(500, 0.1)], axis=1)
    assert _changes([int(row.argmax()) for row in rows]) > 100, "the clip must flicker when nothing is smoothed"
    assert _changes(_names("average", rows)[0]) <= 1


def test_a_change_of_expression_shows_within_a_second():
    names, history = _names("average", [[0.9, 0.1]] * 50 + [[0.1, 0.9]] * 25)
    assert names[49] == 0
    assert names[-1] == 1
    assert 1 <= names[50:].index(1) <= 13, "neither at once nor later than half a second"
    assert history.probabilities.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(history.latest, np.float32([0.1, 0.9]))


def test_a_name_that_little_speaks_for_gives_way_in_time():
    names, _ = _names("average", [[0.3, 0.2, 0.25]] * 25 + [[0.2, 0.3, 0.25]] * 100)
    assert names[49] == 0
    assert names[-1] == 1


def test_the_average_depends_on_time_and_not_on_the_frame_rate():
    slow, fast = History(), History()
    for i in range(11):
        slow.update(np.float32([i == 0, i > 0]), i / 10)
    for i in range(101):
        fast.update(np.float32([i == 0, i > 0]), i / 100)
    np.testing.assert_allclose(slow.probabilities, fast.probabilities, atol=1e-5)


def test_the_commonest_of_the_last_ten_labels():
    a, b = [0.9, 0.1], [0.1, 0.9]
    names, _ = _names("last10", [a] * 10 + [b] * 6)
    assert names == [0] * 15 + [1], "five of ten is a tie, which keeps the name"


def test_without_smoothing_each_frame_speaks_for_itself():
    names, history = _names("none", [[0.6, 0.4], [0.4, 0.6], [0.6, 0.4]])
    assert names == [0, 1, 0]
    np.testing.assert_array_equal(history.probabilities, np.float32([0.6, 0.4]))


def test_an_unknown_method():
    with pytest.raises(UserError, match="unknown smoothing 'mean': expected one of average, last10, none"):
        History("mean")
