"""Training, selection and test split of the examples, and the folds of a cross-validation.

Where the data says who is on which image, splits and folds keep a person on one side unless asked otherwise: the same
face on both sides overstates how well new people would be recognized.
"""

import dataclasses
from typing import Any

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fer_jax.data.examples import UNSPLIT, Examples
from fer_jax.errors import UserError

SPLITS = ("given", "holdout", "random", "subject")

UNUSED = "unused"  # the split of examples that a cross-validation leaves out

SUBJECT_DRAWS = 64  # choices of held-out people, of which the one nearest to the wanted share of every class is taken


def assign(examples: Examples, data: ConfigDict, seed: int) -> Examples:
    """The examples with the splits that `data.split` (`config.data`) asks for.

    "given": the data's own. A missing select split is carved out of the training split, and data without any splits
    gets all three; by people where they are known, else stratified by class. "holdout": all examples split anew,
    stratified by class. "random": anew, uniformly. "subject": anew, by people. New select and test splits are
    `data.holdout` and `data.holdout_test` of all examples; a carved one is `data.holdout` of the training split.

    Every class is in the training split, and one that has images enough in those that are made here too; see
    `warnings` for what is missing all the same.

    The same for a seed. Raises UserError for a split that is not there, for one that would be empty, for people who
    are not known, for too few examples or people, and for a class of one image where splits are made by class.
    """
    split = examples.split.astype(object)
    how = data.split if data.split != "given" else "holdout" if examples.subjects is None else "subject"

    def hold_out(name: str, share: float) -> None:
        trained = np.flatnonzero(split == data.train_split)
        split[_held_out(examples, trained, share, how, seed)] = name

    if data.split != "given" or examples.split_names == (UNSPLIT,):
        single = [name for name, n in zip(examples.label_names, examples.class_counts(), strict=True) if n == 1]
        if how == "holdout" and single:
            raise UserError(
                f"too few images to train on and to score: one of {', '.join(single)}, expected at least 2 of a class: "
                "add some, remove the class, or take config.data.split=random"
            )
        split[:] = data.train_split
        if data.holdout_test:
            hold_out(data.test_split, data.holdout_test)
        # of the examples that are left, as many as are `holdout` of all
        hold_out(data.select_split, data.holdout * len(examples) / np.count_nonzero(split == data.train_split))
    else:
        names = examples.split_names
        there = f"there are {', '.join(names)}"
        if data.train_split not in names:
            raise UserError(f"the data has no split {data.train_split!r}: {there}; set config.data.train_split")
        if data.select_split not in names:
            if set(names) - {data.train_split, data.test_split}:
                raise UserError(f"the data has no split {data.select_split!r}: {there}; set config.data.select_split")
            hold_out(data.select_split, data.holdout)
    examples = dataclasses.replace(examples, split=split.astype(str))
    counts = {name: int(np.sum(examples.split == name)) for name in examples.split_names}
    logging.info("%s", ", ".join(f"{count} examples of {name}" for name, count in counts.items()))
    used = (data.train_split, data.select_split, data.test_split)
    if unused := {name: count for name, count in counts.items() if name not in used}:
        listed = ", ".join(f"{count} of {name}" for name, count in unused.items())
        said = (sum(unused.values()), len(split), listed)
        logging.warning("%d of %d examples are in splits that are not used: %s", *said)
    return examples


def folds(examples: Examples, data: ConfigDict, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The folds of a cross-validation: (train indices, test indices) each, int arrays.

    They deal all examples, whatever their split, or those of `data.fold_split`.

    Where people are known each is in one fold, classes as even as that allows; up to `data.folds` people have a fold
    each. Else every fold has the same share of each class. With `data.split` "random" examples are dealt uniformly.

    Raises UserError for a `data.fold_split` that is not there, for fewer examples than folds, and for a class that is
    missing from a fold's training part, or from its test part unless that is one person alone.
    """
    dealt = np.arange(len(examples))
    if data.fold_split:
        names = examples.split_names
        if data.fold_split not in names:
            raise UserError(f"config.data.fold_split is {data.fold_split!r}: expected one of {', '.join(names)}")
        dealt = np.flatnonzero(examples.split == data.fold_split)
        examples = examples.take(dealt)
    groups = None if data.split == "random" else examples.subjects
    people = 0 if groups is None else len(np.unique(groups))
    pairs = list(_splitter(examples, data, people, seed).split(examples.labels, examples.labels, groups))
    for number, (train, test) in enumerate(pairs, 1):
        # one person need not show every expression
        parts = {"training": train} if 0 < people <= data.folds else {"training": train, "test": test}
        for part, indices in parts.items():
            there = np.bincount(examples.labels[indices], minlength=len(examples.label_names))
            missing = np.flatnonzero((examples.class_counts() > 0) & (there == 0))
            if missing.size:
                raise UserError(
                    f"class {examples.label_names[missing[0]]} is missing from the {part} part of fold "
                    f"{number} of {len(pairs)}: lower config.data.folds or change config.seed"
                )
    return [(dealt[train], dealt[test]) for train, test in pairs]


def _splitter(examples: Examples, data: ConfigDict, people: int, seed: int) -> Any:
    """scikit-learn's object that makes the folds; UserError where there are too few people, examples or of a class.

    `people` is how many are to be kept apart, 0 where examples are dealt one by one.
    """
    from sklearn import model_selection

    if people == 1:
        raise UserError("the data shows 1 person: leaving one out needs at least 2")
    if 1 < people <= data.folds:
        return model_selection.LeaveOneGroupOut()
    if people:
        return model_selection.StratifiedGroupKFold(data.folds, shuffle=True, random_state=seed)
    if not 2 <= data.folds <= len(examples):
        raise UserError(f"config.data.folds is {data.folds}: expected 2 to {len(examples)}, the number of examples")
    if data.split == "random":
        return model_selection.KFold(data.folds, shuffle=True, random_state=seed)
    counts = examples.class_counts()
    rarest = min(np.flatnonzero(counts), key=counts.__getitem__)
    if counts[rarest] < data.folds:
        raise UserError(
            f"class {examples.label_names[rarest]} has {counts[rarest]} examples for {data.folds} folds and would be "
            "missing from some: lower config.data.folds"
        )
    return model_selection.StratifiedKFold(data.folds, shuffle=True, random_state=seed)


def of_fold(examples: Examples, train: np.ndarray, test: np.ndarray, data: ConfigDict, seed: int) -> Examples:
    """One fold as splits: `test` is the test split, `data.holdout` of `train` the select split, the rest trains.

    The select split is made as the folds are: by people, stratified, or at random. Where `data.fold_split` alone is
    dealt and the data has another split to select by, that chooses and all of `train` trains. Examples of no fold are
    `UNUSED`.
    """
    split = np.full(len(examples), UNUSED, object)
    split[train], split[test] = data.train_split, data.test_split
    if data.fold_split not in ("", data.select_split) and data.select_split in examples.split_names:
        split[examples.split == data.select_split] = data.select_split
        return dataclasses.replace(examples, split=split.astype(str))
    how = "random" if data.split == "random" else "holdout" if examples.subjects is None else "subject"
    split[_held_out(examples, train, data.holdout, how, seed)] = data.select_split
    return dataclasses.replace(examples, split=split.astype(str))


def note(data: ConfigDict, examples: Examples) -> str:
    """One sentence on what the splits of `examples` say about people the network never saw, for the result."""
    random = "Split at random. " if data.split == "random" else ""
    if examples.subjects is None:
        return (
            f"{random}The data does not say who is on which image: where one person is on both sides of a split, "
            "the score overstates how well new people are recognized."
        )
    trained = examples.split == data.train_split
    people = set(examples.subjects[~trained])
    seen = people & set(examples.subjects[trained])
    if seen:
        return (
            f"{random}{len(seen)} of the {len(people)} people held out are also trained on: the score overstates "
            "how well new people are recognized."
        )
    return f"{random}No person is both trained on and held out."


def warnings(examples: Examples, data: ConfigDict) -> list[str]:
    """A sentence for each of the config's splits that shows no example of a class; for the log, result and report."""
    counts = examples.class_counts()
    found = []
    if nowhere := [name for name, n in zip(examples.label_names, counts, strict=True) if not n]:
        found.append(f"the data has no image of {', '.join(nowhere)}: they are not learned, and scores leave them out")
    for split in (data.train_split, data.select_split, data.test_split):
        if split not in examples.split_names:
            continue
        there = np.bincount(examples.labels_of(split), minlength=len(counts))
        missing = [name for name, n, every in zip(examples.label_names, there, counts, strict=True) if every and not n]
        if missing:
            meaning = "they are not learned" if split == data.train_split else "its scores say nothing about them"
            found.append(f"{split} has no image of {', '.join(missing)}: {meaning}")
    return found


def _held_out(examples: Examples, indices: np.ndarray, share: float, how: str, seed: int) -> np.ndarray:
    """The part of `indices`, `share` of them, that is held out; every class in it has an image among the others."""
    count = round(share * len(indices))
    if not 0 < count < len(indices):
        raise UserError(
            f"{share:.3g} of {len(indices)} examples leaves {len(indices) - count} to train and {count} "
            "held out: add data or change config.data.holdout and config.data.holdout_test"
        )
    if how == "subject":
        return _held_out_people(examples, indices, share, seed)
    from sklearn import model_selection

    labels = examples.labels[indices]
    if how == "random":
        held = model_selection.train_test_split(indices, test_size=count, random_state=seed)[1]
        return _with_every_class(labels, indices, np.asarray(held), everywhere=False)
    # A class with one image has none to hold out.
    several = np.bincount(labels)[labels] > 1
    classes = len(np.unique(labels[several]))
    if not classes:
        raise UserError(
            f"holding out {count} of {len(indices)} examples of {len(np.unique(labels))} classes leaves a "
            "class out: add data, change config.data.holdout and config.data.holdout_test, or take "
            "config.data.split=random"
        )
    count = min(count, int(several.sum()) - 1)
    feasible = classes <= count <= several.sum() - classes  # with fewer, one image of each class is held out
    held = model_selection.train_test_split(
        indices[several], test_size=count, stratify=labels[several] if feasible else None, random_state=seed
    )[1]
    return _with_every_class(labels, indices, np.asarray(held), everywhere=True)


def _with_every_class(labels: np.ndarray, indices: np.ndarray, held: np.ndarray, everywhere: bool) -> np.ndarray:
    """`held` after the fewest exchanges that leave every class an image among the others of `indices`.

    With `everywhere` a class of two images or more has one in `held` too. What leaves for a class is replaced by an
    image of the class that has the most there, so that `held` keeps its size as far as there are such.
    """
    inside = np.isin(indices, held)

    def exchange(label: int, into: bool) -> None:
        """Move the first image of `label` into what is held or out of it, and another class's the other way."""
        inside[np.flatnonzero((labels == label) & (inside != into))[0]] = into
        here = np.bincount(labels[inside == into], minlength=labels.max() + 1)
        here[label] = 0
        if here.max(initial=0) > 1:
            inside[np.flatnonzero((labels == here.argmax()) & (inside == into))[-1]] = not into

    for label in np.unique(labels):
        if not (~inside & (labels == label)).any():
            exchange(label, into=False)
        if everywhere and (labels == label).sum() > 1 and not (inside & (labels == label)).any():
            exchange(label, into=True)
    return indices[inside] if not np.array_equal(np.sort(held), indices[inside]) else held


def _held_out_people(examples: Examples, indices: np.ndarray, share: float, seed: int) -> np.ndarray:
    """The choice of people, of several, that misses the fewest classes and is nearest to the share of each."""
    from sklearn import model_selection

    if examples.subjects is None:
        raise UserError("config.data.split=subject, but the data does not say who is on which image: take another")
    labels, subjects = examples.labels[indices], examples.subjects[indices]
    people = len(np.unique(subjects))
    if people < 2:
        raise UserError(
            f"{people} person to split between training and held-out examples: expected at least 2; take "
            "config.data.split=holdout"
        )
    draws = model_selection.GroupShuffleSplit(SUBJECT_DRAWS, test_size=max(1, round(share * people)), random_state=seed)
    all_ = np.bincount(labels)

    def lost(held: np.ndarray) -> np.ndarray:
        """Classes without training images."""
        return np.flatnonzero((np.bincount(labels[held], minlength=len(all_)) == all_) & (all_ > 0))

    def badness(held: np.ndarray) -> tuple[int, int, float]:
        """Classes without training images, classes without held-out ones, distance from the wanted numbers."""
        counts = np.bincount(labels[held], minlength=len(all_))
        missing = ((counts == 0) & (all_ > 0)).sum()
        return len(lost(held)), int(missing), float(np.abs(counts - share * all_).sum())

    held = min((held for _, held in draws.split(labels, groups=subjects)), key=badness)
    if lost(held).size:
        name = examples.label_names[lost(held)[0]]
        raise UserError(
            f"class {name} is shown by too few people to train on it and to hold some out: add data or take "
            "config.data.split=holdout"
        )
    return indices[held]
