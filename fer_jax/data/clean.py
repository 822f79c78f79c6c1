"""Cleaning by named steps: those of a report on FER2013 with six classes, and what is done to leaks and wrong labels.

Every step removes examples or changes labels, never pixels, and says how many of which class.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fer_jax import fields, files, labels
from fer_jax.data import doubtful, duplicates
from fer_jax.data.examples import Examples
from fer_jax.errors import UserError
from fer_jax.fields import Field

# pixels of one gray value an image may have, of those of 48x48; the same share at other sizes
FLAT_PIXELS, FLAT_PIXELS_OF = 350, 48 * 48

_DOUBTFUL = {"doubtful": Field("", "The doubtful.csv that fer-jax audit --workdir=FOLDS wrote.")}
# of each step that has some, in `config.data.args`
ARGUMENTS = {
    "subsample_happy": {"subsample_happy_by": Field(3000, "Images of happy that are removed.", low=1)},
    "drop_doubtful": _DOUBTFUL,
    "relabel_doubtful": _DOUBTFUL,
}


def apply(examples: Examples, data: ConfigDict, seed: int) -> Examples:
    """The examples after the steps of `data.clean` in order; needs the splits to be assigned.

    drop_flat: removes images, of all splits, whose fullest histogram bin (of 256) holds more than `FLAT_PIXELS` pixels:
      blank ones, drawings, placeholders, but also faces before a white or black wall.
    merge_angry_disgust: makes them one class in the place and with the name of angry; removes nothing.
    subsample_happy: removes `data.args.subsample_happy_by` images of happy from the training split, drawn by the seed.
    drop_leaks: removes images from the training split that are an exact or near duplicate of an image of another split
      (see `fer_jax.data.duplicates`).
    drop_doubtful, relabel_doubtful: remove from the training split the images that `data.args.doubtful` lists (see
      `fer_jax.data.doubtful`), or give them the class that it suggests.

    What was removed or changed is logged and added to the description.

    Raises:
      UserError: a step that finds no such class or would leave none of it, or no csv.
    """
    for name in data.clean:
        before, examples = examples, STEPS[name](examples, data, seed)
        said = f"{name} {_difference(before, examples)}"
        logging.info("cleaning: %s", said)
        examples = dataclasses.replace(examples, description=f"{examples.description}; {said}")
    return examples


def drop_flat(examples: Examples, data: ConfigDict, seed: int) -> Examples:
    """See `apply`."""
    fullest = np.array([np.bincount(image.ravel()).max() for image in duplicates.each_gray(examples.images)], np.int64)
    pixels = examples.images.shape[1] * examples.images.shape[2]
    return examples.take(fullest * FLAT_PIXELS_OF <= FLAT_PIXELS * pixels)


def merge_angry_disgust(examples: Examples, data: ConfigDict, seed: int) -> Examples:
    """See `apply`. Votes for the two are added."""
    angry, disgust = _class(examples, "angry"), _class(examples, "disgust")
    merged = np.delete(np.eye(len(examples.label_names), dtype=np.float32), disgust, axis=1)
    merged[disgust] = merged[angry]  # one row of the new classes for each old class
    return dataclasses.replace(
        examples,
        labels=merged.argmax(axis=1).astype(np.int32)[examples.labels],
        label_names=tuple(np.delete(examples.label_names, disgust).tolist()),
        votes=None if examples.votes is None else examples.votes @ merged,
    )


def subsample_happy(examples: Examples, data: ConfigDict, seed: int) -> Examples:
    """See `apply`."""
    happy = np.flatnonzero((examples.labels == _class(examples, "happy")) & (examples.split == data.train_split))
    count = fields.value(data, ARGUMENTS["subsample_happy"], "subsample_happy_by")
    if count >= len(happy):
        raise UserError(
            f"subsample_happy would remove {count} of the {len(happy)} happy images of {data.train_split}: "
            "lower config.data.args.subsample_happy_by"
        )
    removed = np.random.default_rng((seed, len(happy))).choice(happy, count, replace=False)
    return examples.take(np.setdiff1d(np.arange(len(examples)), removed))


def drop_leaks(examples: Examples, data: ConfigDict, seed: int) -> Examples:
    """The examples without those of `data.train_split` that duplicate, exactly or nearly, one of another split."""
    train = examples.split == data.train_split
    first = duplicates.first_same(examples)
    leaks = train & np.isin(first, first[~train])
    if train.any() and not train.all():
        pairs, _ = duplicates.near_pairs(examples.take(train).images, examples.take(~train).images)
        leaks[np.flatnonzero(train)[pairs[:, 0]]] = True
    return examples.take(~leaks)


def drop_doubtful(examples: Examples, data: ConfigDict, seed: int) -> Examples:
    """See `apply`."""
    places, _ = _doubtful(examples, data)
    return examples.take(np.setdiff1d(np.arange(len(examples)), places))


def relabel_doubtful(examples: Examples, data: ConfigDict, seed: int) -> Examples:
    """See `apply`. Votes for an image become one for its new class."""
    places, suggested = _doubtful(examples, data)
    labels_, votes = examples.labels.copy(), examples.votes
    labels_[places] = suggested
    if votes is not None:
        votes = votes.copy()
        votes[places] = np.eye(len(examples.label_names), dtype=np.float32)[suggested]
    return dataclasses.replace(examples, labels=labels_, votes=votes)


STEPS: dict[str, Callable[[Examples, ConfigDict, int], Examples]] = {
    step.__name__: step
    for step in (drop_flat, merge_angry_disgust, subsample_happy, drop_leaks, drop_doubtful, relabel_doubtful)
}


def _class(examples: Examples, name: str) -> int:
    """The number of the class that is called `name` or an equal word."""
    for number, known in enumerate(examples.label_names):
        if labels.canonical(known) == name:
            return number
    raise UserError(
        f"config.data.clean asks for the class {name}, but the data has {', '.join(examples.label_names)}: "
        "leave the step out"
    )


def _doubtful(examples: Examples, data: ConfigDict) -> tuple[np.ndarray, np.ndarray]:
    """Places and suggested classes of the doubtful labels of the training split."""
    given = fields.value(data, _DOUBTFUL, "doubtful")
    if not given:
        raise UserError(
            "config.data.clean asks for doubtful labels: give the csv of fer-jax audit as config.data.args.doubtful"
        )
    places, suggested = doubtful.read(files.expand(given), examples)
    trained = examples.split[places] == data.train_split
    return places[trained], suggested[trained]


def _difference(before: Examples, after: Examples) -> str:
    """Describe what a step did: "removed 3 of Training (1 angry, 2 sad)"."""
    if len(before) == len(after):
        changed = np.count_nonzero(before.labels != after.labels) if before.label_names == after.label_names else 0
        return f"changed {changed} labels" if changed else "removed none"
    parts = []
    for split in before.split_names:
        counts = before.of_split(split).class_counts() - after.take(after.split == split).class_counts()
        if counts.any():
            listed = ", ".join(f"{n} {name}" for name, n in zip(before.label_names, counts, strict=True) if n)
            parts.append(f"{counts.sum()} of {split} ({listed})")
    return f"removed {'; '.join(parts)}"
