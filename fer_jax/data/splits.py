"""Which example trains, which chooses, which tests; and the folds of a cross-validation.

Where the data says who is on which image, splits and folds keep a person on one side unless asked otherwise: the same
face on both sides overstates how well new people would be recognised.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fer_jax.data.examples import UNSPLIT, Examples
from fer_jax.errors import UserError

SPLITS = ("given", "holdout", "random", "subject")
FOLDS = ("auto", "subject", "leave_one_subject_out", "stratified", "random")

SUBJECT_DRAWS = 64  # choices of held-out people, of which the one nearest to the wanted share of every class is taken


def assign(examples: Examples, data: ConfigDict, seed: int) -> Examples:
    """The examples with the splits that `data.split` (`config.data`) asks for.

    "given": the data's own. A missing select split is carved out of the training split, and data without any splits
    gets all three; by people where they are known, else stratified by class. "holdout": all examples split anew,
    stratified by class. "random": anew, uniformly. "subject": anew, by people. New select and test splits are
    `data.holdout` and `data.holdout_test` of all examples; a carved one is `data.holdout` of the training split.

    The same for a seed. Raises UserError for a split that is not there, for one that would be empty, for people who
    are not known, and for too few examples or people.
    """
    if data.split not in SPLITS:
        raise UserError(f"config.data.split is {data.split!r}: expected one of {', '.join(SPLITS)}")
    if data.train_split in (data.select_split, data.test_split):
        raise UserError(
            f"config.data.train_split is {data.train_split!r}, the name of the select or test split too: "
            "give the training split a name of its own"
        )
    split = examples.split.astype(object)
    how = data.split if data.split != "given" else "holdout" if examples.subjects is None else "subject"
    everything = np.arange(len(examples))
    if data.split != "given" or examples.split_names == (UNSPLIT,):
        split[:] = data.train_split
        if data.holdout_test:
            split[_held_out(examples, everything, data.holdout_test, how, seed)] = data.test_split
        # of the examples that are left, as many as are `holdout` of all
        left = everything[split == data.train_split]
        split[_held_out(examples, left, data.holdout * len(examples) / len(left), how, seed)] = data.select_split
    else:
        names = examples.split_names
        there = f"there are {', '.join(names)}"
        if data.train_split not in names:
            raise UserError(f"the data has no split {data.train_split!r}: {there}; set config.data.train_split")
        if data.select_split not in names:
            if set(names) - {data.train_split, data.test_split}:
                raise UserError(f"the data has no split {data.select_split!r}: {there}; set config.data.select_split")
            left = everything[split == data.train_split]
            split[_held_out(examples, left, data.holdout, how, seed)] = data.select_split
    examples = dataclasses.replace(examples, split=split.astype(str))
    logging.info(
        "%s", ", ".join(f"{(examples.split == name).sum()} examples of {name}" for name in examples.split_names)
    )
    return examples


def folds(examples: Examples, data: ConfigDict, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The folds of a cross-validation over all examples, whatever their split: (train indices, test indices) each.

    `data.fold_by`: "subject" keeps a person in one fold, `data.folds` of them, classes as even as that allows;
    "leave_one_subject_out" makes a fold of every person; "stratified" gives every fold the same share of each class;
    "random" deals uniformly; "auto" is "subject" where people are known, else "stratified".

    Raises UserError for fewer people or examples than folds, and for a class that is missing from a fold's training
    part, or from its test part unless that is one person alone.
    """
    from sklearn import model_selection

    by = data.fold_by
    if by not in FOLDS:
        raise UserError(f"config.data.fold_by is {by!r}: expected one of {', '.join(FOLDS)}")
    if by == "auto":
        by = "stratified" if examples.subjects is None else "subject"
    if by in ("subject", "leave_one_subject_out"):
        people = len(np.unique(_subjects(examples, f"config.data.fold_by={by}")))
    if by == "leave_one_subject_out":
        if people < 2:
            raise UserError(f"the data shows {people} person: leaving one out needs at least 2")
        splitter = model_selection.LeaveOneGroupOut()
    else:
        count, kind = (people, "people") if by == "subject" else (len(examples), "examples")
        if not 2 <= data.folds <= count:
            raise UserError(f"config.data.folds is {data.folds}: expected 2 to {count}, the number of {kind}")
        if by == "stratified" and (classes := _rarest(examples))[1] < data.folds:
            raise UserError(
                f"class {classes[0]} has {classes[1]} examples for {data.folds} folds and would be missing "
                "from some: lower config.data.folds"
            )
        splitter = {
            "subject": model_selection.StratifiedGroupKFold,
            "stratified": model_selection.StratifiedKFold,
            "random": model_selection.KFold,
        }[by](data.folds, shuffle=True, random_state=seed)
    groups = examples.subjects if by in ("subject", "leave_one_subject_out") else None
    pairs = list(splitter.split(examples.labels, examples.labels, groups))
    for number, (train, test) in enumerate(pairs, 1):
        for part, indices in (("training", train), ("test", test)):
            if by == "leave_one_subject_out" and part == "test":
                continue  # one person need not show every expression
            missing = np.flatnonzero((examples.class_counts() > 0) & (examples.take(indices).class_counts() == 0))
            if missing.size:
                raise UserError(
                    f"class {examples.label_names[missing[0]]} is missing from the {part} part of fold "
                    f"{number} of {len(pairs)}: lower config.data.folds or change config.seed"
                )
    return pairs


def of_fold(examples: Examples, train: np.ndarray, test: np.ndarray, data: ConfigDict, seed: int) -> Examples:
    """One fold as splits: `test` is the test split, `data.holdout` of `train` the select split, the rest trains.

    The select split is made as the folds are: by people, stratified, or at random.
    """
    split = np.full(len(examples), data.train_split, object)
    split[test] = data.test_split
    by = data.fold_by
    how = {"random": "random", "stratified": "holdout"}.get(by, "holdout" if examples.subjects is None else "subject")
    split[_held_out(examples, train, data.holdout, how, seed)] = data.select_split
    return dataclasses.replace(examples, split=split.astype(str))


def note(data: ConfigDict, examples: Examples, crossval: bool = False) -> str:
    """One sentence on what the splits of `examples` say about people the network never saw, for the result."""
    how = data.fold_by if crossval else data.split
    random = "Split at random. " if how == "random" else ""
    if examples.subjects is None:
        return (
            f"{random}The data does not say who is on which image: where one person is on both sides of a split, "
            "the score overstates how well new people are recognised."
        )
    trained = examples.split == data.train_split
    people = set(examples.subjects[~trained])
    seen = people & set(examples.subjects[trained])
    if seen:
        return (
            f"{random}{len(seen)} of the {len(people)} people held out are also trained on: the score overstates "
            "how well new people are recognised."
        )
    return f"{random}No person is both trained on and held out."


def _held_out(examples: Examples, indices: np.ndarray, share: float, how: str, seed: int) -> np.ndarray:
    """The part of `indices`, `share` of them, that is held out."""
    from sklearn import model_selection

    count = round(share * len(indices))
    if not 0 < count < len(indices):
        raise UserError(
            f"{share:.3g} of {len(indices)} examples leaves {len(indices) - count} to train and {count} "
            "held out: add data or change config.data.holdout and config.data.holdout_test"
        )
    labels = examples.labels[indices]
    if how == "random":
        return model_selection.train_test_split(indices, test_size=count, random_state=seed)[1]
    if how == "holdout":
        name, rarest = _rarest(examples.take(indices))
        classes = len(np.unique(labels))
        if rarest < 2 or count < classes:
            raise UserError(
                f"holding out {count} of {len(indices)} examples of {classes} classes, of which {name} has "
                f"{rarest}, leaves a class out: add data, raise config.data.holdout or take "
                "config.data.split=random"
            )
        return model_selection.train_test_split(indices, test_size=count, stratify=labels, random_state=seed)[1]
    subjects = _subjects(examples, "config.data.split=subject")[indices]
    people = len(np.unique(subjects))
    if people < 2:
        raise UserError(
            f"{people} person to split between training and held-out examples: expected at least 2; take "
            "config.data.split=holdout"
        )
    draws = model_selection.GroupShuffleSplit(SUBJECT_DRAWS, test_size=max(1, round(share * people)), random_state=seed)
    wanted = share * np.bincount(labels)
    held = min(
        (held for _, held in draws.split(labels, groups=subjects)),
        key=lambda held: np.abs(np.bincount(labels[held], minlength=len(wanted)) - wanted).sum(),
    )
    return indices[held]


def _subjects(examples: Examples, asked_by: str) -> np.ndarray:
    if examples.subjects is None:
        raise UserError(f"{asked_by}, but the data does not say who is on which image: take another")
    return examples.subjects


def _rarest(examples: Examples) -> tuple[str, int]:
    """Name and number of examples of the rarest class that occurs."""
    counts = examples.class_counts()
    rarest = min(np.flatnonzero(counts), key=lambda label: counts[label])
    return examples.label_names[rarest], int(counts[rarest])
