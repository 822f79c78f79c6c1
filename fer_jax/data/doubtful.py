"""Likely wrong labels, by confident learning, and the csv of them that cleaning steps read.

The estimator is that of Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels"
(JAIR 70, 2021): a class counts as likely for an image where its probability, by a network that was not trained on the
image, is at least the average that images of that label get. A label is likely wrong where the likeliest such class is
another one; the least probable labels come first.
"""

import csv
import pathlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from fer_jax import files
from fer_jax import labels as names_of_labels
from fer_jax.data import identity
from fer_jax.data.examples import Examples
from fer_jax.errors import UserError


class Row(NamedTuple):
    """A line of the csv: an image by its hash, its label, the class that is likely in its place, their probabilities.

    `place` says where the image is: its file, or the number of its row.
    """

    image: str
    label: str
    suggested: str
    probability_of_label: float
    probability_of_suggested: float
    place: str


def find(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of likely wrong labels, the most doubtful first, and the classes in their places: int64 (M,) both.

    Args:
      probabilities: (N, classes), out of sample.
      labels: int (N,).
    """
    own = probabilities[np.arange(len(labels)), labels]
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    averages = np.bincount(labels, own, len(counts)) / np.maximum(counts, 1)
    likely = np.where((probabilities >= averages) & (counts > 0), probabilities, -1.0)
    suggested = likely.argmax(axis=1)
    places = np.flatnonzero((likely.max(axis=1) >= 0) & (suggested != labels))
    places = places[np.argsort(own[places], kind="stable")]
    return places, suggested[places]


def write(path: pathlib.Path, rows: Iterable[Row]) -> None:
    """Write the csv."""
    with files.atomic_path(path) as tmp, tmp.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Row._fields)
        for row in rows:
            writer.writerow([f"{value:.4f}" if isinstance(value, float) else value for value in row])


def read(path: pathlib.Path, examples: Examples) -> tuple[np.ndarray, np.ndarray]:
    """Places in `examples` of the images that a csv lists, by pixels and label, and the classes that it suggests.

    Rows that were deleted from it are not touched: int64 (M,) both.

    Raises:
      UserError: no such file, a row of another kind, or none of its images is among the examples.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file, expected the doubtful.csv of fer-jax audit --workdir=FOLDS")
    numbers = {names_of_labels.canonical(name): number for number, name in enumerate(examples.label_names)}
    listed = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        for row in rows:
            try:
                label, suggested = (numbers[names_of_labels.canonical(row[name])] for name in ("label", "suggested"))
                listed[int(row["image"], 16), label] = suggested
            except (AttributeError, KeyError, TypeError, ValueError):
                columns = ", ".join(Row._fields)
                raise UserError(
                    f"{path}, line {rows.line_num}: expected {columns}, and classes of the data: make it again"
                ) from None
    keys = list(zip(identity.digests(examples).tolist(), examples.labels.tolist(), strict=True))
    places = [place for place, key in enumerate(keys) if key in listed]
    if not places:
        raise UserError(f"{path}: none of its {len(listed)} images is in the data: make it again for this input")
    return np.array(places), np.array([listed[keys[place]] for place in places])
