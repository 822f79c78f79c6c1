"""The one record that every source produces and everything else reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from fer_jax import labels
from fer_jax.data import lazy
from fer_jax.errors import UserError

PER_EXAMPLE = ("labels", "split", "subjects", "votes", "digests")  # fields of a row each, besides the images
UNSPLIT = "all"  # the split of every example where a data set has none of its own


@dataclasses.dataclass(frozen=True)
class Examples:
    """Labeled faces of one data set.

    Attributes:
      images: uint8 (N, H, W, C) in 0..255, C is 1 (gray) or 3 (RGB). An array, or `lazy.Images`, which is indexed like
        one and reads the rows that are asked for: most sets are not in memory, see `fer_jax.data.cache`.
      labels: int32 (N,), indices into `label_names`.
      split: str (N,), the name of each example's split, such as "Training".
      label_names: the classes in the order of their numbers.
      subjects: str (N,) person identifiers, or None where the data set names none.
      votes: float32 (N, classes), every row a distribution over `label_names` summing to 1, or None.
      digests: uint64 (N,), a hash of each image where they are known, see `fer_jax.data.identity`; else None.
      description: one line for people: what was read from where.
      fingerprint: of a run's data, see `fer_jax.data.identity`; "" where none was computed.
    """

    images: np.ndarray
    labels: np.ndarray
    split: np.ndarray
    label_names: tuple[str, ...]
    subjects: np.ndarray | None = None
    votes: np.ndarray | None = None
    digests: np.ndarray | None = None
    description: str = ""
    fingerprint: str = ""

    def __post_init__(self):
        n = len(self.images)
        if self.images.dtype != np.uint8 or self.images.ndim != 4:
            raise ValueError(f"images must be uint8 (N, H, W, C), got {self.images.dtype} {self.images.shape}")
        for field in PER_EXAMPLE:
            value = getattr(self, field)
            if value is not None and len(value) != n:
                raise ValueError(f"{field} has {len(value)} rows for {n} images")
        if n and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.label_names):
            raise ValueError(
                f"labels reach from {self.labels.min()} to {self.labels.max()} for {len(self.label_names)} names"
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def split_names(self) -> tuple[str, ...]:
        """The splits that occur, in order of first appearance."""
        names, first = np.unique(self.split, return_index=True)
        return tuple(str(names[i]) for i in np.argsort(first))

    def take(self, indices: np.ndarray) -> Examples:
        """The examples at `indices` (integer or boolean mask (N,)), in that order, without a copy of their images."""
        arrays = {name: getattr(self, name) for name in PER_EXAMPLE}
        rows: dict[str, Any] = {name: value[indices] for name, value in arrays.items() if value is not None}
        return dataclasses.replace(self, images=lazy.take(self.images, indices), **rows)

    def of_split(self, name: str) -> Examples:
        """The examples of one split; UserError names the splits there are when it is absent."""
        mask = self.split == name
        if not mask.any():
            raise UserError(f"no examples of split {name!r}: there are {', '.join(self.split_names) or 'none'}")
        return self.take(mask)

    def labels_of(self, name: str) -> np.ndarray:
        """int32, the labels of one split, in the order of `of_split` and without a copy of its images."""
        return self.labels[self.split == name]

    def class_counts(self) -> np.ndarray:
        """int64 (classes,): examples of each class."""
        return np.bincount(self.labels, minlength=len(self.label_names))

    def table(self) -> str:
        """Count the examples of each class in each split, as lines of text; many classes are the rows."""
        rows = [("", *self.label_names, "all")]
        for name in self.split_names:
            counts = np.bincount(self.labels_of(name), minlength=len(self.label_names))
            rows.append((name, *map(str, counts), str(counts.sum())))
        if len(self.label_names) > labels.MAX_LISTED:
            rows = list(zip(*rows, strict=True))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows)

    def renumbered(self, label_names: Sequence[str]) -> Examples:
        """The same examples with labels into other names: each class goes to the one that means the same expression.

        "anger" goes to "angry" (`labels.canonical`). Votes are dropped where the names differ. Raises UserError where a
        class that has examples is not among `label_names`.
        """
        if tuple(label_names) == self.label_names:
            return self
        numbers = {labels.canonical(name): number for number, name in enumerate(label_names)}
        new = np.array([numbers.get(labels.canonical(name), -1) for name in self.label_names], np.int32)
        counted = zip(self.label_names, self.class_counts(), new, strict=True)
        if unknown := [name for name, count, number in counted if count and number < 0]:
            raise UserError(
                f"the data has examples of {', '.join(unknown)}, expected only {', '.join(label_names)}: "
                "remove the others or rename them"
            )
        return dataclasses.replace(self, labels=new[self.labels], label_names=tuple(label_names), votes=None)

    def targets(self) -> np.ndarray:
        """float32 (N, classes): the votes where there are any, else one-hot labels."""
        if self.votes is not None:
            return self.votes.astype(np.float32)
        return np.eye(len(self.label_names), dtype=np.float32)[self.labels]
