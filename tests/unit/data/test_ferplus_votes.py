"""FER+'s votes: the authors' rules and shares of chosen expressions on worked examples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_jax import labels
from fer_jax.data import ferplus_votes

COUNTS = st.lists(st.integers(0, 10), min_size=10, max_size=10)


def one_hot(name):
    return [float(name == other) for other in labels.FERPLUS]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([8, 0, 2, 0, 0, 0, 0, 0, 0, 0], one_hot("neutral")),
        ([6, 0, 1, 1, 0, 0, 0, 0, 2, 0], one_hot("neutral")),  # 6 of the 8 votes that are no outliers
        ([4, 0, 0, 1, 3, 2, 0, 0, 0, 0], None),  # 4 of 9 are no majority
        ([5, 0, 0, 5, 0, 0, 0, 0, 0, 0], None),  # half is no majority
        ([0, 4, 1, 1, 1, 1, 1, 1, 0, 0], one_hot("happiness")),  # single votes do not count
        ([0, 0, 0, 0, 0, 0, 0, 8, 2, 0], one_hot("contempt")),
        ([2, 0, 0, 0, 0, 0, 0, 0, 8, 0], None),  # won by unknown
        ([2, 0, 0, 0, 0, 0, 0, 0, 0, 8], None),  # won by not a face
        ([1, 1, 1, 1, 1, 1, 1, 1, 1, 1], None),  # all outliers
        ([0] * 10, None),
    ],
)
def test_majority(counts, expected):
    assert ferplus_votes.majority(counts) == expected


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([8, 0, 2, 0, 0, 0, 0, 0, 0, 0], one_hot("neutral")),  # 8 of 10 are three quarters
        ([4, 0, 0, 1, 3, 2, 0, 0, 0, 0], [4 / 7, 0, 0, 0, 3 / 7, 0, 0, 0]),  # 7 of 9 are, the 2 stay out
        ([5, 0, 0, 3, 1, 0, 0, 0, 1, 0], [5 / 8, 0, 0, 3 / 8, 0, 0, 0, 0]),
        ([5, 0, 0, 5, 0, 0, 0, 0, 0, 0], [0.5, 0, 0, 0.5, 0, 0, 0, 0]),  # equal ones enter together
        ([2, 2, 2, 2, 2, 0, 0, 0, 0, 0], None),  # more than three
        ([3, 0, 2, 2, 0, 0, 0, 0, 0, 3], None),  # unknown ends it: 3 of 10 are in
        ([6, 0, 0, 0, 0, 0, 0, 0, 4, 0], one_hot("neutral")),  # 6 of 10 are in before it
        ([2, 0, 0, 0, 0, 0, 0, 0, 8, 0], None),
        ([0] * 10, None),
    ],
)
def test_distribution(counts, expected):
    assert ferplus_votes.distribution(counts) == expected


@given(COUNTS)
def test_targets_are_distributions_that_keep_the_order_of_the_votes(counts):
    for rule in (ferplus_votes.majority, ferplus_votes.distribution):
        target = rule(counts)
        if target is not None:
            assert sum(target) == pytest.approx(1)
            assert min(target) >= 0
            assert counts[int(np.argmax(target))] == max(counts)
    if ferplus_votes.majority(counts) is not None:
        assert np.argmax(ferplus_votes.majority(counts)) == np.argmax(ferplus_votes.distribution(counts))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([8, 0, 2, 0, 0, 0, 0, 0, 0, 0], {"surprise": 0.2, "neutral": 0.8}),
        ([0, 0, 0, 0, 4, 1, 2, 2, 2, 0], {"angry": 4 / 6, "fear": 2 / 6}),  # contempt and unknown left out, 1 is none
        ([0, 0, 0, 0, 0, 0, 0, 8, 2, 0], None),
        ([1, 1, 1, 1, 1, 1, 1, 1, 1, 1], None),
        ([0] * 10, None),
    ],
)
def test_shares_of_the_expressions_of_fer2013(counts, expected):
    found = ferplus_votes.shares(counts, labels.FER2013)
    assert found == (expected and [expected.get(name, 0) for name in labels.FER2013])


@given(COUNTS)
def test_shares_keep_the_order_of_the_votes(counts):
    found = ferplus_votes.shares(counts, labels.FERPLUS)
    assert (found is None) == (max(counts[: ferplus_votes.EXPRESSIONS]) < 2)
    if found:
        assert sum(found) == pytest.approx(1)
        assert found[int(np.argmax(counts[:8]))] == max(found)


@pytest.mark.parametrize("name", ["", "fer2013.csv"])
def test_the_votes_lie_beside_the_csv(tmp_path, name):
    assert ferplus_votes.beside(str(tmp_path / name)) == tmp_path / "fer2013new.csv"
