import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_jax.data import sampler

SIZES = st.integers(1, 200)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), examples=SIZES, batch=st.integers(1, 64), steps=st.integers(1, 12))
def test_the_order_does_not_depend_on_how_it_is_cut(seed, examples, batch, steps):
    whole = sampler.indices(seed, 0, steps, batch, examples)
    single = np.concatenate([sampler.indices(seed, s, 1, batch, examples) for s in range(steps)])
    np.testing.assert_array_equal(whole, single)
    other_batch = sampler.indices(seed, 0, steps * batch, 1, examples)
    np.testing.assert_array_equal(whole.ravel(), other_batch.ravel())


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), examples=SIZES)
def test_every_epoch_holds_every_example_once_in_another_order(seed, examples):
    order = sampler.indices(seed, 0, 3, examples, examples)
    for epoch in order:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(examples))
    if examples > 20:
        assert (order[0] != order[1]).any()
        assert (order[0] != sampler.indices(seed + 1, 0, 1, examples, examples)[0]).any()


def test_the_order_of_a_seed_never_changes():
    # A change here changes every published result: raise the version and say so in the changelog.
    assert sampler.permutation(0, 0, 10).tolist() == [0, 2, 9, 1, 8, 5, 4, 3, 6, 7]
    assert sampler.permutation(7, 3, 10).tolist() == [2, 5, 9, 7, 3, 0, 6, 8, 4, 1]


@settings(max_examples=200, deadline=None)
@given(examples=st.integers(1, 40000), batch=st.integers(1, 2048), most=st.integers(1, 64))
def test_an_epoch_is_cut_into_equal_chunks_near_its_length(examples, batch, most):
    chunks, steps = sampler.cut_epoch(examples, batch, most)
    assert 1 <= steps <= most
    exact = examples / batch
    assert abs(chunks * steps - exact) <= max(1, 0.5 * exact / steps)


def test_fer2013_is_cut_within_one_step():
    chunks, steps = sampler.cut_epoch(28709, 128, 32)
    assert abs(chunks * steps - 28709 / 128) < 1
    assert steps >= 16
