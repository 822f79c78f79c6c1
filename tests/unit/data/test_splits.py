"""Splits and folds: seeded, disjoint, complete, and people on one side unless asked otherwise."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_jax.data import splits
from fer_jax.data.examples import UNSPLIT, Examples
from fer_jax.errors import UserError
from tests.datasets import data_of as data


def examples(n=120, classes=3, people=12, split=UNSPLIT):
    labels = np.arange(n) % classes
    return Examples(
        images=np.zeros((n, 2, 2, 1), np.uint8),
        labels=labels.astype(np.int32),
        split=np.full(n, split) if isinstance(split, str) else np.array(split),
        label_names=tuple("abcdefgh"[:classes]),
        subjects=None if people is None else np.array([f"S{i // classes % people}" for i in range(n)]),
    )


def people_of(record, name):
    return set(record.of_split(name).subjects)


def counts(record, *names):
    """How many examples the splits have: Training, PublicTest and PrivateTest where none are named."""
    return [int(np.sum(record.split == name)) for name in names or ("Training", "PublicTest", "PrivateTest")]


def test_the_datas_own_splits_are_kept():
    record = examples(split=["Training"] * 80 + ["PublicTest"] * 20 + ["PrivateTest"] * 20)
    assert splits.assign(record, data(), 0).split.tolist() == record.split.tolist()


def test_a_missing_select_split_is_carved_out_of_training_only():
    record = examples(people=None, split=["Training"] * 90 + ["PrivateTest"] * 30)
    assigned = splits.assign(record, data(holdout=0.2), 0)
    assert (assigned.split[90:] == "PrivateTest").all()
    assert assigned.of_split("PublicTest").class_counts().tolist() == [6, 6, 6]
    assert assigned.of_split("Training").class_counts().tolist() == [24, 24, 24]


def test_data_without_splits_gets_all_three_by_people_where_they_are_known():
    assigned = splits.assign(examples(people=12), data(holdout=0.2, holdout_test=0.25), 0)
    parts = [people_of(assigned, name) for name in ("Training", "PublicTest", "PrivateTest")]
    assert [len(part) for part in parts] == [7, 2, 3]
    assert len(set.union(*parts)) == 12


@pytest.mark.parametrize("how", ["holdout", "random", "subject"])
def test_new_splits_have_their_shares_and_depend_on_the_seed(how):
    config = data(split=how, holdout=0.25, holdout_test=0.25)
    first, again, other = (splits.assign(examples(), config, seed) for seed in (0, 0, 1))
    assert first.split.tolist() == again.split.tolist() != other.split.tolist()
    for name in ("PublicTest", "PrivateTest"):
        part = first.of_split(name)
        assert len(part) == 30
        if how == "holdout":
            assert part.class_counts().tolist() == [10, 10, 10]


def test_the_reports_random_split_has_no_test_split_and_its_sizes():
    assigned = splits.assign(examples(981, people=None), data(split="random", holdout=0.33, holdout_test=0.0), 0)
    assert counts(assigned) == [657, 324, 0]


def test_held_out_people_show_every_class_nearly_alike():
    """People show few classes each; one draw of three in twenty-four would often miss a class."""
    people = np.arange(240) // 10
    record = dataclasses.replace(examples(240, 4), labels=(people % 4).astype(np.int32), subjects=people.astype(str))
    for seed in range(5):
        assigned = splits.assign(record, data(split="subject", holdout=1 / 6, holdout_test=1 / 6), seed)
        assert assigned.of_split("PrivateTest").class_counts().min() == 10


def rare(counts, people=None):
    """Examples of classes a, b, ... with so many images each, one class after the other."""
    labels = np.repeat(np.arange(len(counts)), counts)
    record = examples(len(labels), len(counts), people)
    return dataclasses.replace(record, labels=labels.astype(np.int32))


def of_one_person(people=4):
    """Four people, of whom one shows class a alone and the others class b."""
    record = examples(people=people, n=48)
    record.labels[:] = record.subjects != "S0"
    return record


@pytest.mark.parametrize(
    ("call", "record", "changes", "message"),
    [
        (splits.assign, examples(split="train"), {}, "the data has no split 'Training': there are train"),
        (splits.assign, examples(split=["Training"] * 60 + ["x"] * 60), {"select_split": "y"}, "no split 'y'.*ing, x"),
        (splits.assign, examples(people=None), {"split": "subject"}, "the data does not say who is on which image"),
        (splits.assign, examples(people=2), {}, "1 person to split"),
        (splits.assign, examples(n=4), {"split": "random"}, "leaves 4 to train and 0 held out"),
        (splits.assign, examples(n=7, classes=3, people=None), {"holdout_test": 0.5}, "holding out 1 of 3"),
        (splits.assign, examples(), {"holdout": 1.0}, "held out: add data or change config.data.holdout"),
        (splits.assign, rare((30, 1, 30)), {}, "one of b, expected at least 2 of a class"),
        (splits.assign, of_one_person(2), {"holdout_test": 0.0}, "class . is shown by too few people to train on it"),
        (splits.folds, examples(n=20, people=None), {"folds": 21}, "config.data.folds is 21: expected 2 to 20"),
        (splits.folds, examples(people=1), {}, "the data shows 1 person"),
        (splits.folds, examples(n=20, people=None), {}, "class c has 6 examples for 10 folds"),
        (splits.folds, examples(split="Training"), {"fold_split": "train"}, "is 'train': expected one of Training"),
        (splits.folds, of_one_person(), {}, "class a is missing from the .* part of fold 1 of 4"),
        (splits.folds, of_one_person(), {"folds": 3}, "class . is missing from the .* part of fold . of 3: lower"),
    ],
)
def test_what_cannot_be_split_is_refused(call, record, changes, message):
    with pytest.raises(UserError, match=message):
        call(record, data(**changes), 0)


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 6), st.integers(0, 99), st.sampled_from(["given", "random"]), st.integers(4, 10))
def test_folds_test_every_example_once_and_train_on_the_others(count, seed, how, people):
    record = examples(180, people=people)
    pairs = splits.folds(record, data(folds=count, split=how), seed)
    assert len(pairs) == (min(people, count) if how == "given" else count)
    np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in pairs])), np.arange(180))
    for train, test in pairs:
        np.testing.assert_array_equal(np.union1d(train, test), np.arange(180))
        if how == "given":
            assert not set(record.subjects[train]) & set(record.subjects[test])


def test_folds_are_stratified_where_people_are_not_known():
    for _, test in splits.folds(examples(people=None), data(folds=4), 0):
        assert np.bincount(examples().labels[test]).tolist() == [10, 10, 10]


def test_the_folds_of_one_split_leave_the_others_alone():
    record = examples(people=None, split=["Training"] * 80 + ["PublicTest"] * 30 + ["PrivateTest"] * 10)
    wanted = data(folds=4, fold_split="Training")
    pairs = splits.folds(record, wanted, 0)
    np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in pairs])), np.arange(80))
    for train, test in pairs:
        np.testing.assert_array_equal(np.union1d(train, test), np.arange(80))
        fold = splits.of_fold(record, train, test, wanted, 0)
        assert (fold.split[train] == "Training").all() and (fold.split[test] == "PrivateTest").all()
        assert fold.split[80:].tolist() == ["PublicTest"] * 30 + [splits.UNUSED] * 10


def test_folds_of_a_split_choose_on_a_part_of_it_where_the_data_has_no_select_split():
    for dealt, other in (("Training", "PrivateTest"), ("PublicTest", "Training")):
        record = examples(people=None, split=[dealt] * 100 + [other] * 20)
        wanted = data(folds=4, fold_split=dealt, holdout=0.2)
        fold = splits.of_fold(record, *splits.folds(record, wanted, 0)[0], wanted, 0)
        assert counts(fold) == [60, 15, 25]


def test_a_fold_becomes_splits_whose_select_people_are_not_trained_on():
    record = examples(people=12)
    train, test = splits.folds(record, data(folds=4), 0)[1]
    fold = splits.of_fold(record, train, test, data(holdout=0.2), 0)
    assert (fold.split[test] == "PrivateTest").all() and (fold.split[train] != "PrivateTest").all()
    assert len(people_of(fold, "PublicTest")) == 2
    assert not people_of(fold, "PublicTest") & people_of(fold, "Training")


def test_the_note_counts_people_on_both_sides():
    random = splits.assign(examples(), data(split="random"), 0)
    assert "Split at random" in splits.note(data(split="random"), random)
    assert "people held out are also trained on: the score overstates" in splits.note(data(split="random"), random)
    apart = splits.assign(examples(), data(), 0)
    assert splits.note(data(), apart) == "No person is both trained on and held out."
    unknown = splits.assign(examples(people=None), data(), 0)
    assert splits.note(data(), unknown).startswith("The data does not say who is on which image")


def test_a_rare_class_is_trained_and_tested_before_it_selects():
    assigned = splits.assign(rare((2, 200, 2)), data(), 0)
    assert assigned.of_split("Training").class_counts().tolist() == [1, 162, 1]
    assert assigned.of_split("PrivateTest").class_counts().tolist() == [1, 18, 1]
    assert splits.warnings(assigned, data()) == ["PublicTest has no image of a, c: its scores say nothing about them"]


def test_a_split_without_rare_classes_is_what_scikit_learn_draws():
    from sklearn.model_selection import train_test_split

    record = examples(people=None)
    held = splits._held_out(record, np.arange(120), 0.25, "holdout", 3)
    drawn = train_test_split(np.arange(120), test_size=30, stratify=record.labels, random_state=3)[1]
    np.testing.assert_array_equal(held, drawn)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(2, 40), min_size=2, max_size=6), st.sampled_from(["holdout", "random"]), st.integers(0, 3))
def test_no_class_of_two_images_or_more_vanishes_from_training(counts, how, seed):
    record = rare((*counts, 60))
    assigned = splits.assign(record, data(split=how, holdout=0.2, holdout_test=0.2), seed)
    by_split = {name: assigned.of_split(name).class_counts() for name in assigned.split_names}
    assert by_split["Training"].min() > 0
    if how == "holdout":
        assert by_split["PrivateTest"].min() > 0
        assert by_split["PublicTest"][np.array([*counts, 60]) > 2].min() > 0
    assert len(by_split["PrivateTest"]) and by_split["PrivateTest"].sum() == round(0.2 * len(record))


def test_a_class_of_one_image_is_trained_on_where_splits_are_random():
    assigned = splits.assign(rare((30, 1, 30)), data(split="random"), 0)
    assert assigned.of_split("Training").class_counts()[1] == 1


def test_people_are_chosen_so_that_every_class_is_trained():
    """Class b is shown by one person alone, who must therefore train."""
    record = dataclasses.replace(rare((90, 10, 20)), subjects=np.array([f"S{i // 10}" for i in range(120)]))
    for seed in range(20):
        assigned = splits.assign(record, data(holdout=0.3, holdout_test=0.3), seed)
        assert assigned.of_split("Training").class_counts()[1] == 10


def test_a_missing_class_of_given_splits_is_said_for_each_split():
    record = rare((30, 30))
    record = dataclasses.replace(record, split=np.repeat(["Training", "PublicTest", "PrivateTest"], (25, 20, 15)))
    assert splits.warnings(record, data()) == [
        "Training has no image of b: they are not learned",
        "PrivateTest has no image of a: its scores say nothing about them",
    ]
    record = dataclasses.replace(record, label_names=("a", "b", "c"))
    nowhere = "the data has no image of c: they are not learned, and scores leave them out"
    assert splits.warnings(record, data())[0] == nowhere
    assert len(splits.warnings(record, data())) == 3


def test_a_small_set_holds_out_one_image_of_each_class():
    assigned = splits.assign(examples(n=30, classes=5, people=None), data(holdout=0.1, holdout_test=0.1), 0)
    for name in ("PublicTest", "PrivateTest"):
        assert assigned.of_split(name).class_counts().tolist() == [1] * 5
    assert assigned.of_split("Training").class_counts().tolist() == [4] * 5
    assert splits.warnings(assigned, data()) == []
