"""The record of examples: its checks, its selections and its numbers."""

import numpy as np
import pytest

from fer_jax.data.examples import Examples
from fer_jax.errors import UserError


def make(labels=(0, 1, 1), split=("a", "b", "a"), label_names=("angry", "happy"), **more):
    images = np.arange(len(labels) * 4, dtype=np.uint8).reshape(-1, 2, 2, 1)
    return Examples(images, np.array(labels, np.int32), np.array(split), label_names, **more)


@pytest.mark.parametrize(
    "wrong",
    [
        {"images": np.zeros((3, 2, 2, 1), np.float32)},
        {"images": np.zeros((3, 2, 2), np.uint8)},
        {"labels": np.array([0, 1], np.int32)},
        {"labels": np.array([0, 1, 2], np.int32)},
        {"labels": np.array([0, 1, -1], np.int32)},
        {"split": np.array(["a"])},
        {"votes": np.eye(2, dtype=np.float32)},
        {"subjects": np.array(["x"])},
    ],
)
def test_a_record_that_does_not_fit_together_is_a_defect(wrong):
    good = vars(make())
    with pytest.raises(ValueError, match=r"images|labels|split|votes|subjects"):
        Examples(**good | wrong)


def test_of_split_keeps_the_order_and_every_field():
    examples = make(subjects=np.array(["x", "y", "z"]), votes=np.array([[1, 0], [0, 1], [0.5, 0.5]], np.float32))
    part = examples.of_split("a")
    np.testing.assert_array_equal(part.images, examples.images[[0, 2]])
    assert (part.labels.tolist(), part.subjects.tolist()) == ([0, 1], ["x", "z"])
    assert part.votes.tolist() == [[1, 0], [0.5, 0.5]]
    with pytest.raises(UserError, match="no examples of split 'c': there are a, b"):
        examples.of_split("c")


def test_targets_are_votes_or_else_one_hot():
    assert make().targets().tolist() == [[1, 0], [0, 1], [0, 1]]
    votes = np.array([[0.5, 0.5]] * 3, np.float32)
    np.testing.assert_array_equal(make(votes=votes).targets(), votes)


def test_counts_include_classes_without_examples_and_splits_are_in_order_of_appearance():
    assert make(label_names=("angry", "happy", "sad")).class_counts().tolist() == [1, 2, 0]
    rows = ["angry", "happy", "all"], ["z", "1", "1", "2"], ["b", "0", "1", "1"]
    assert tuple(line.split() for line in make(split=("z", "b", "z")).table().splitlines()) == rows
    assert make(split=("z", "b", "z")).split_names == ("z", "b")


def test_table_of_many_classes_has_a_row_for_each():
    lines = make(label_names=tuple(f"class {number}" for number in range(31))).table().splitlines()
    assert len(lines) == 33
    assert [line.split() for line in lines[:2]] == [["a", "b"], ["class", "0", "1", "0"]]
    assert lines[-1].split() == ["all", "2", "1"]


def test_renumbered_goes_by_the_expression_not_by_the_word():
    examples = make(votes=np.eye(3, 2, dtype=np.float32))
    assert examples.renumbered(examples.label_names) is examples
    other = examples.renumbered(("neutral", "Happiness", "anger"))
    assert (other.labels.tolist(), other.label_names) == ([2, 1, 1], ("neutral", "Happiness", "anger"))
    assert other.votes is None
    with pytest.raises(UserError, match="examples of angry, expected only happy, sad: remove the others"):
        examples.renumbered(("happy", "sad"))
    assert make(labels=(1, 1, 1)).renumbered(("happy", "sad")).labels.tolist() == [0, 0, 0]
