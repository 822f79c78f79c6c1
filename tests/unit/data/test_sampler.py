"""The order of examples is a pure function of seed and step."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fer_jax.data import sampler

SIZES = st.integers(1, 200)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=200),
    batch=st.integers(1, 64),
    steps=st.integers(1, 12),
    sampling=st.sampled_from(["uniform", "balanced"]),
)
def test_the_order_does_not_depend_on_how_it_is_cut(seed, labels, batch, steps, sampling):
    def order():
        return sampler.Order(seed, np.array(labels, np.int32), sampling)

    whole = order().indices(0, steps, batch)
    np.testing.assert_array_equal(whole, np.concatenate([order().indices(s, 1, batch) for s in range(steps)]))
    if sampling == "uniform":
        np.testing.assert_array_equal(whole.ravel(), order().indices(0, steps * batch, 1).ravel())


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), examples=SIZES)
def test_every_epoch_holds_every_example_once_in_another_order(seed, examples):
    order = sampler.Order(seed, np.zeros(examples)).indices(0, 3, examples)
    for epoch in order:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(examples))
    if examples > 20:
        assert (order[0] != order[1]).any()
        assert (order[0] != sampler.Order(seed + 1, np.zeros(examples)).indices(0, 1, examples)[0]).any()


def test_the_order_of_a_seed_never_changes():
    # A change here changes every published result: raise the version and say so in the changelog.
    assert sampler.permutation(0, 0, 10).tolist() == [0, 2, 9, 1, 8, 5, 4, 3, 6, 7]
    assert sampler.permutation(7, 3, 10).tolist() == [2, 5, 9, 7, 3, 0, 6, 8, 4, 1]
    order = sampler.Order(3, np.array([0, 0, 0, 0, 0, 1, 1], np.int32), "balanced")
    assert order.indices(0, 1, 14).tolist() == [[2, 6, 5, 1, 3, 6, 4, 5, 5, 0, 2, 1, 0, 6]]


def test_balanced_epochs_hold_every_class_equally_often_and_every_example_in_turn():
    labels = np.repeat([0, 2, 3], [70, 9, 41]).astype(np.int32)
    order = sampler.Order(5, labels, "balanced")
    epochs = order.indices(0, 9, 120)
    for epoch in epochs:
        assert np.bincount(labels[epoch]).tolist() == [40, 0, 40, 40]
    for label in (0, 2, 3):
        of_class = epochs.ravel()[labels[epochs.ravel()] == label]
        counts = np.bincount(of_class, minlength=120)[labels == label]
        assert counts.max() - counts.min() <= 1
    assert (np.sort(epochs[0]) != np.sort(epochs[1])).any()
    assert (epochs[0] != sampler.Order(6, labels, "balanced").indices(0, 1, 120)[0]).any()


@settings(max_examples=200, deadline=None)
@given(examples=st.integers(1, 40000), batch=st.integers(1, 2048), most=st.integers(1, 64))
@example(examples=28709, batch=128, most=32)
def test_an_epoch_is_cut_into_equal_chunks_near_its_length(examples, batch, most):
    chunks, steps = sampler.cut_epoch(examples, batch, most)
    assert 1 <= steps <= most
    exact = examples / batch
    assert abs(chunks * steps - exact) <= max(1, 0.5 * exact / steps)
    if (examples, batch, most) == (28709, 128, 32):  # FER2013's
        assert abs(chunks * steps - exact) < 1
        assert steps >= 16
