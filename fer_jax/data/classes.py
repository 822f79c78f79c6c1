"""Labels and splits as they stand in users' files."""

import collections
import pathlib
import re
from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fer_jax import labels
from fer_jax.data.examples import UNSPLIT
from fer_jax.errors import UserError

# The role in the config (`data.<role>`) of each name that a split may have, in lower case.
SPLIT_ROLES = {
    "train": "train_split",
    "training": "train_split",
    "val": "select_split",
    "valid": "select_split",
    "validation": "select_split",
    "dev": "select_split",
    "publictest": "select_split",
    "test": "test_split",
    "testing": "test_split",
    "eval": "test_split",
    "evaluation": "test_split",
    "privatetest": "test_split",
}
MISSING = frozenset(("", "-1", "nan", "na", "n/a", "<na>", "null", "none"))  # labels of what has none, in lower case
UNLABELED = -1

_WHOLE, _NUMBER = re.compile(r"[-+]?\d+(\.0*)?"), re.compile(r"[-+]?\d*\.?\d+(e[-+]?\d+)?", re.IGNORECASE)


def numbered(
    found: Sequence[str], names: Sequence[str], where: Callable[[int], str], first: int | None = 0
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers of labels that are names or numbers, and the names that they count through.

    Names that mean the same (`labels.canonical`: case, blanks, Unicode composition, "anger" and "angry") are one class.
    A warning says how many labels are missing.

    Args:
      found: (N,) the labels as text.
      names: of the classes in their order; () takes those that are found, sorted.
      where: says where label number i stands, for messages.
      first: number of the first class in `found`; None takes names alone.

    Returns:
      int32 (N,), `UNLABELED` where the label is one of `MISSING`; and the names.

    Raises:
      UserError: numbers without names, no label at all, or one that is not among the names.
    """
    texts = [str(int(float(text))) if _WHOLE.fullmatch(text) else text for text in map(str.strip, found)]
    labeled = [place for place, text in enumerate(texts) if text.lower() not in MISSING]
    if not labeled:
        raise UserError(f"{where(0)}: no image has a label: add a name of a class to each")
    numeric = [place for place in labeled if _NUMBER.fullmatch(texts[place])]
    if numeric and (first is None or not names):
        low, high = (pick(numeric, key=lambda place: float(texts[place])) for pick in (min, max))
        raise UserError(
            f"{where(numeric[0])}: labels are numbers ({texts[low]} to {texts[high]}), expected names: write names, or "
            "give a training or audit the names in the numbers' order as config.data.args.labels"
        )
    spellings: dict[str, collections.Counter[str]] = {}
    for place in labeled:
        spellings.setdefault(labels.canonical(texts[place]), collections.Counter())[texts[place]] += 1
    for several in (counter for counter in spellings.values() if len(counter) > 1):
        logging.warning("%s are one class", " and ".join(sorted(several)))
    if len({*map(labels.canonical, names)}) < len(names):
        raise UserError(f"the classes {', '.join(names)} name one twice: give each once as config.data.args.labels")
    # by the most frequent spelling
    names = tuple(names) or tuple(sorted(max(sorted(c), key=c.__getitem__) for c in spellings.values()))
    known = {str(number + (first or 0)): number for number in range(len(names))}
    known |= {labels.canonical(name): number for number, name in enumerate(names)}
    numbers = np.full(len(texts), UNLABELED, np.int32)
    for place in labeled:
        numbers[place] = known.get(labels.canonical(texts[place]), UNLABELED)
    if wrong := [place for place in labeled if numbers[place] == UNLABELED]:
        raise UserError(
            f"{where(wrong[0])}: the label is {texts[wrong[0]][:40]!r}, expected {first or 0} ({names[0]}) to "
            f"{(first or 0) + len(names) - 1} ({names[-1]}) or a name; {len(wrong)} such labels: correct or remove them"
        )
    if missing := np.flatnonzero(numbers == UNLABELED).tolist():
        said = (where(missing[0]), len(missing), len(texts))
        logging.warning("%s: no label, as for %d of %d images, which are left out", *said)
    return numbers, names


def split_named(name: str, data: ConfigDict) -> str:
    """The split of `config.data` that is called `name` elsewhere, such as "val"; names of no role stay as they are."""
    role = SPLIT_ROLES.get(name.strip().lower())
    return data[role] if role else name


def splits_named(names: Iterable[str], data: ConfigDict) -> dict[str, str]:
    """`split_named` of each; a single split is `UNSPLIT`, unless its name says that it is not for training."""
    named = {name: split_named(name, data) for name in names}
    if len(named) == 1 and not set(named.values()) & {data.select_split, data.test_split}:
        return dict.fromkeys(named, UNSPLIT)
    return named


def refuse_links(files: Iterable[tuple[pathlib.Path, Hashable]]) -> None:
    """UserError for a file that is there again by a link, with another meaning such as a split: (path, meaning)."""
    first: dict[tuple[int, int], tuple[pathlib.Path, Hashable]] = {}
    for path, meaning in files:
        try:
            stat = path.stat()
        except OSError:
            continue  # is said when it is read
        other, its_meaning = first.setdefault((stat.st_dev, stat.st_ino), (path, meaning))
        if stat.st_ino and its_meaning != meaning:
            raise UserError(f"{path} is {other} by a link, which would be used twice: remove one of them")


def left_out(count: int) -> str:
    """A clause for a description; "" where every image has a label."""
    return f", {count} without a label left out" if count else ""
