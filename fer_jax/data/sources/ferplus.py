"""FER+ (Barsoum et al., "Training deep networks for facial expression recognition with crowd-sourced label
distribution", ICMI 2016, arXiv:1608.01041): FER2013's faces with the votes of ten people for eight expressions.

`fer2013new.csv` (github.com/microsoft/FERPlus) lies beside FER2013's csv and has one line for each of its rows, in the
same order: Usage, the image's name (empty for what is no face), and the votes for eight expressions, for "unknown" and
for "NF", not a face. The authors' rules, from `src/ferplus.py` there:

- A row without an image name is dropped. A single vote for anything is an outlier and counts as none.
- Majority: the expression with more than half of the votes that are left; rows without one, or won by "unknown" or
  "NF", are dropped.
- Distribution ("crossentropy"): expressions enter from the most votes down, equal ones together, until three quarters
  of the votes or three expressions are in; "unknown" or "NF" ends it, and drops the row where it comes first. Rows
  are dropped whose expressions hold half of the votes or less, or are more than three. The target is the share of
  votes among the expressions that entered.

As the authors do, only Training is taught with distributions; the other splits are scored against the majority.
"""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from fer_jax import files, labels
from fer_jax.data import arguments
from fer_jax.data.arguments import Argument
from fer_jax.data.dataset import DataSet
from fer_jax.data.examples import Examples
from fer_jax.data.sources import fer2013
from fer_jax.errors import UserError
from fer_jax.preprocess import images

VERSION = 1
DATA_SET = DataSet(
    labels.FERPLUS,
    terms="FER2013 was gathered by web search for the ICML 2013 challenges, FER+ (MIT) labelled it anew",
    words=fer2013.WEB_SEARCH,
)
ARGUMENTS = {"votes": Argument(True, "Train against the distribution of votes instead of the majority.")}
FILE_NAME = "fer2013new.csv"
WHERE_TO_GET_IT = f"get {FILE_NAME} from github.com/microsoft/FERPlus and put it beside FER2013's csv"
SAME_ROWS = "give files with the same rows in the same order"

EXPRESSIONS = len(labels.FERPLUS)
COLUMNS = ("Usage", "Image name", *labels.FERPLUS, "unknown", "NF")


def fingerprint(data: ConfigDict) -> list:
    """Both files' paths, sizes and modification times, and whether the votes are asked for."""
    faces, votes = _locate(data.path)
    return [files.stamp(faces), files.stamp(votes), arguments.value(data, ARGUMENTS, "votes")]


def read(data: ConfigDict, input: ConfigDict) -> Examples:
    """The rows of FER2013 that FER+ gives one of `labels.FERPLUS`, in their order.

    `data.path` is the folder of both files or either file. With `data.args.votes`, `Examples.votes` holds the
    distributions (one-hot in the splits other than Training) and the labels are their first maxima; else labels are
    majorities.
    Raises UserError for what `fer2013.parse` refuses and for votes that do not match the csv's rows.
    """
    faces_path, votes_path = _locate(data.path)
    distributions = arguments.value(data, ARGUMENTS, "votes")
    faces, _, usage = fer2013.parse(faces_path)
    targets = np.zeros((len(faces), EXPRESSIONS), np.float32)
    for row, (use, counts) in enumerate(_votes(votes_path, usage, faces_path)):
        target = (distribution if distributions and use == "Training" else majority)(counts)
        if target is not None:
            targets[row] = target
    kept = targets.any(axis=1)
    count, votes = int(kept.sum()), targets[kept]
    return Examples(
        images=images.fit_all(faces[kept], count, input),
        labels=votes.argmax(axis=1).astype(np.int32),
        split=usage[kept],
        label_names=labels.FERPLUS,
        votes=votes if distributions else None,
        description=f"FER+: {count} faces from {votes_path.name}, "
        f"{len(faces) - count} others dropped by the authors' rule",
    )


def agreement(data: ConfigDict, faces: Examples) -> dict[str, float]:
    """How often the majority of the votes names the expression of FER2013's label: a share in 0..1 for each split.

    Counted are the images with a majority for one of FER2013's expressions: those dropped above and contempt are left
    out. A network that is scored against FER2013's labels can hardly do better than people do.

    Args:
      data: `data.path` is FER2013's, with the votes beside it.
      faces: all rows of FER2013's csv, in their order.

    Raises UserError where the votes are missing or do not match the csv's rows.
    """
    faces_path, votes_path = _locate(data.path)
    majorities = (majority(counts) for _, counts in _votes(votes_path, faces.split, faces_path))
    known = {name: number for number, name in enumerate(faces.label_names)}
    voted = np.array(
        [
            -1 if target is None else known.get(labels.canonical(labels.FERPLUS[np.argmax(target)]), -1)
            for target in majorities
        ]
    )
    return {
        name: float(np.mean((voted == faces.labels)[(faces.split == name) & (voted >= 0)]))
        for name in faces.split_names
    }


def has_votes(path: str) -> bool:
    """Whether FER+'s csv lies beside FER2013's at `path`."""
    given = files.expand(path)
    return ((given.parent if given.suffix.lower() == ".csv" else given) / FILE_NAME).is_file()


def majority(counts: Sequence[int]) -> list[float] | None:
    """One-hot target of ten counts (expressions, unknown, NF), or None where the authors drop the row."""
    counts = _without_outliers(counts)
    winner = int(np.argmax(counts))
    if counts[winner] <= sum(counts) / 2 or winner >= EXPRESSIONS:
        return None
    return [float(i == winner) for i in range(EXPRESSIONS)]


def distribution(counts: Sequence[int]) -> list[float] | None:
    """Shares of the expressions in ten counts, summing to 1, or None where the authors drop the row."""
    counts = _without_outliers(counts)
    kept = [0] * EXPRESSIONS
    for level in sorted(set(counts), reverse=True):
        if sum(kept) >= 0.75 * sum(counts) or np.count_nonzero(kept) >= 3:
            break
        kept = [count if count == level else before for count, before in zip(counts, kept, strict=False)]
        if level in counts[EXPRESSIONS:]:
            break
    if sum(kept) <= sum(counts) / 2 or np.count_nonzero(kept) > 3:
        return None
    return [count / sum(kept) for count in kept]


def _without_outliers(counts: Sequence[int]) -> list[int]:
    return [count if count > 1 else 0 for count in counts]


def _locate(path: str) -> tuple[pathlib.Path, pathlib.Path]:
    """FER2013's csv and FER+'s."""
    given = files.expand(path)
    folder = given.parent if given.suffix.lower() == ".csv" else given
    faces = fer2013.locate(str(folder) if path and given.name == FILE_NAME else path)
    votes = folder / FILE_NAME
    if not votes.is_file():
        raise UserError(f"{votes}: no such file: {WHERE_TO_GET_IT}")
    return faces, votes


def _votes(path: pathlib.Path, usage: np.ndarray, faces_path: pathlib.Path) -> list[tuple[str, list[int]]]:
    """Usage and the ten counts of each row (zeros where the row has no image name), which match `usage`."""
    files.refuse_other_kind(path, "FER+'s csv of votes")
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file)
        header = tuple(name.strip() for name in next(rows, []))
        if header != COLUMNS:
            found = ", ".join(name[:20] for name in header[:12]) or "none"
            raise UserError(f"{path}: columns {found}, expected {', '.join(COLUMNS)}: download the file again")
        votes = []
        for row in filter(any, rows):
            row = [field.strip() for field in row]
            if len(row) != len(COLUMNS) or not all(count.isdecimal() for count in row[2:]):
                raise UserError(
                    f"{path}, line {rows.line_num}: {','.join(row)[:80]}; expected Usage, a name and "
                    f"{len(COLUMNS) - 2} whole numbers: download the file again"
                )
            use, name, *counts = row
            if len(votes) < len(usage) and use != usage[len(votes)]:
                raise UserError(
                    f"{path}, line {rows.line_num}: Usage {use}, expected {usage[len(votes)]} as in this "
                    f"row of {faces_path}: {SAME_ROWS}"
                )
            votes.append((use, [int(count) if name else 0 for count in counts]))
    if len(votes) != len(usage):
        raise UserError(f"{path}: {len(votes)} rows, expected the {len(usage)} of {faces_path}: {SAME_ROWS}")
    return votes
