"""FER+'s votes: `fer2013new.csv` (github.com/microsoft/FERPlus), one line for each row of FER2013's csv, in the same
order: Usage, the image's name (empty for what is no face), and the votes of ten people for eight expressions, for
"unknown" and for "NF", not a face.

The authors' rules, from `src/ferplus.py` there:

- A row without an image name is dropped. A single vote for anything is an outlier and counts as none.
- Majority: the expression with more than half of the votes that are left; rows without one, or won by "unknown" or
  "NF", are dropped.
- Distribution ("crossentropy"): expressions enter from the most votes down, equal ones together, until three quarters
  of the votes or three expressions are in; "unknown" or "NF" ends it, and drops the row where it comes first. Rows
  are dropped whose expressions hold half of the votes or less, or are more than three. The target is the share of
  votes among the expressions that entered.
"""

import csv
import pathlib
from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from fer_jax import files, labels
from fer_jax.errors import UserError
from fer_jax.fields import Field

FILE_NAME = "fer2013new.csv"
WHERE_TO_GET_IT = (
    f"get {FILE_NAME} from github.com/microsoft/FERPlus and put it beside FER2013's csv, or give its path as "
    "config.data.args.votes_path"
)
SAME_ROWS = "give files with the same rows in the same order"

EXPRESSIONS = len(labels.FERPLUS)
COLUMNS = ("Usage", "Image name", *labels.FERPLUS, "unknown", "NF")


PATH = Field("", f"FER+'s csv of votes; empty is {FILE_NAME} beside FER2013's csv.")


def beside(path: str) -> pathlib.Path:
    """Path of the votes for FER2013's csv, or the folder of both, at `path`; it need not exist."""
    given = files.expand(path)
    return (given.parent if given.suffix.lower() == ".csv" else given) / FILE_NAME


def locate(data: ConfigDict) -> pathlib.Path:
    """The csv of votes of `config.data`; UserError, with where to get it, when it is not there."""
    given = data.args.get("votes_path", "")
    votes = files.expand(given) if given else beside(data.path)
    if not votes.is_file():
        raise UserError(f"{votes}: no such file: {WHERE_TO_GET_IT}")
    return votes


def read(path: pathlib.Path, usage: np.ndarray, faces_path: pathlib.Path) -> list[tuple[str, list[int]]]:
    """Usage and the ten counts of each row (zeros where the row has no image name), which match `usage`."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file)
        header = tuple(name.strip() for name in next(rows, []))
        if header != COLUMNS:
            found = ", ".join(name[:20] for name in header[:12]) or "none"
            raise UserError(f"{path}: columns {found}, expected {', '.join(COLUMNS)}: download the file again")
        votes: list[tuple[str, list[int]]] = []
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


def shares(counts: Sequence[int], names: Sequence[str]) -> list[float] | None:
    """Shares of the expressions `names` in ten counts, summing to 1, or None where none of them has two votes.

    Votes for other expressions, "unknown" and "NF" are left out, and so are single votes.
    """
    voted = dict(zip(map(labels.canonical, labels.FERPLUS), _without_outliers(counts), strict=False))
    kept = [voted.get(labels.canonical(name), 0) for name in names]
    return [count / sum(kept) for count in kept] if any(kept) else None


def _without_outliers(counts: Sequence[int]) -> list[int]:
    return [count if count > 1 else 0 for count in counts]
