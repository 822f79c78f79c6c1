"""A list of image files: any csv or tsv with a column for the file and one for the label, and data sets as they come.

    file,label,split,x,y,w,h            columns are found by their names (`tables.NAMES`), or given:
    faces/1.jpg,happy,train,12,8,90,90  config.data.args.file, label, split, subject, box, votes

The separator is a tab, a comma, a semicolon or blanks. A box is the face in the picture, from which the crop policy of
`fer_jax.faces` cuts the square. Columns that are named after expressions hold votes. `config.data.args.layout` reads
RAF-DB, AffectNet and ExpW as they are distributed (`tables.LAYOUTS`); docs/data.md shows all.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fer_jax import files, labels
from fer_jax.data import arguments, classes, lazy, tables
from fer_jax.data.arguments import Argument
from fer_jax.data.dataset import DataSet
from fer_jax.data.examples import UNSPLIT, Examples
from fer_jax.data.tables import Row
from fer_jax.errors import UserError
from fer_jax.faces import cropping
from fer_jax.preprocess import images

VERSION = 1
DATA_SET = DataSet(recognizes=lambda path: bool(tables.layout_of(path)) or tables.lists_images(path))
SHOWN = 10  # files that an error names
ARGUMENTS = {
    "layout": Argument("", f"A data set as it comes: {', '.join(tables.LAYOUTS)}; empty reads a table with a header."),
    "root": Argument("", "Folder that the files are relative to; empty is the table's."),
    "file": Argument("", "Column of the file; empty is guessed, as are the others."),
    "label": Argument("", "Column of the label, names or numbers."),
    "split": Argument("", "Column of the split."),
    "subject": Argument("", "Column of the person."),
    "box": Argument((), "Columns of left, top, width and height of the face, in pixels."),
    "votes": Argument((), "Columns of the votes for each class, in the classes' order."),
    "labels": Argument((), "Names of the classes, in the order of their numbers."),
    "first_label": Argument(0, "Number of the first class.", low=0, high=1000),
    "enlarge": Argument(1.0, "Side of the square that is cut out, over the larger side of the box.", low=0.1, high=10),
}


def known_labels(data: ConfigDict) -> tuple[str, ...]:
    """The classes that the layout or `labels` name, () where the list's own columns do."""
    if layout := arguments.value(data, ARGUMENTS, "layout"):
        return tables.LAYOUTS[layout].labels if layout in tables.LAYOUTS else ()
    return tuple(arguments.value(data, ARGUMENTS, "labels"))


def fingerprint(data: ConfigDict) -> list:
    """The list's path, size and time, the arguments, and the names of the splits; not each image, for speed."""
    path = _path(data)
    listed = [path]
    if path.is_dir():
        listed += [
            p for pattern in ("*.csv", "*.lst", "*.txt", "*/*.csv", "*/*.lst", "*/*.txt") for p in path.glob(pattern)
        ]
        listed += path.glob("*_set/annotations")
    given = {name: arguments.value(data, ARGUMENTS, name) for name in ARGUMENTS}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    return [plain, data.train_split, data.select_split, data.test_split, *map(files.stamp, sorted(listed))]


def read(data: ConfigDict, input: ConfigDict) -> Examples:
    """The listed images in their order, with labels, splits, people and votes as far as the list names them.

    Names of splits such as train, val and test become `data.train_split` and so on, others stay. The columns that are
    read are logged.

    Raises:
      UserError: no such list, columns that are missing or ambiguous, labels that are empty or outside the names, boxes
        without an area, faces listed twice with two labels or splits, files that are not there, which are counted.
    """
    names, first_label, rows = _rows(data)
    _require_files(rows)
    numbers, names = _numbered(rows, names, first_label)
    splits = [
        data[classes.SPLIT_ROLES[row.split.lower()]] if row.split.lower() in classes.SPLIT_ROLES else row.split
        for row in rows
    ]
    policy = cropping.CropPolicy(float(arguments.value(data, ARGUMENTS, "enlarge")))

    def decode(number: int) -> np.ndarray:
        return _face(rows[number], policy)

    return Examples(
        images=cast(np.ndarray, lazy.Decoded(len(rows), decode, input)),
        labels=numbers,
        split=np.array([split or UNSPLIT for split in splits]),
        label_names=names,
        subjects=np.array([row.subject for row in rows]) if all(row.subject for row in rows) else None,
        votes=_votes(rows),
        description=f"{len(rows)} images listed in {files.name_of(data.path)}",
    )


def _path(data: ConfigDict) -> pathlib.Path:
    path = files.expand(data.path)
    if not data.path or not path.exists():
        raise UserError(
            f"config.data.path is {data.path!r}, no such file: expected a csv or tsv that lists images, or with "
            "config.data.args.layout the folder of a data set"
        )
    layout = arguments.value(data, ARGUMENTS, "layout")
    if layout and layout not in tables.LAYOUTS:
        raise UserError(f"config.data.args.layout is {layout!r}: expected one of {', '.join(tables.LAYOUTS)}")
    if path.is_dir() != bool(layout):
        found, expected = ("a folder", "a csv or tsv") if path.is_dir() else ("a file", f"the folder of {layout}")
        raise UserError(f"{path} is {found}, expected {expected}: config.data.args.layout reads folders")
    return path


def _rows(data: ConfigDict) -> tuple[tuple[str, ...], int, list[Row]]:
    """The names of the classes as far as they are known, the number of the first, and the images."""
    path = _path(data)
    given = {name: arguments.value(data, ARGUMENTS, name) for name in ARGUMENTS}
    if given["layout"]:
        layout = tables.LAYOUTS[given["layout"]]
        rows = [row for row in layout.rows(path) if row.label not in layout.ignored]
        names, first_label = layout.labels, layout.first_label
    else:
        if len(given["box"]) not in (0, 4):
            raise UserError(f"config.data.args.box has {len(given['box'])} columns, expected left, top, width, height")
        fields = ("file", "label", "split", "subject", "box", "votes")
        named: dict[str, Any] = {n: tuple(given[n]) if n in ("box", "votes") else given[n] for n in fields}
        columns = tables.Columns(**named)
        root = files.expand(given["root"]) if given["root"] else path.parent
        columns, rows = tables.read_table(path, root, columns)
        logging.info("%s: %s", path, columns)
        names, first_label = tuple(given["labels"]) or columns.votes, given["first_label"]
        if columns.votes and len(names) != len(columns.votes):
            raise UserError(f"{path}: votes for {len(columns.votes)} classes, but {len(names)} names of classes")
    if not rows:
        raise UserError(f"{path}: it lists no images")
    for row in rows:
        if row.box and min(row.box[2:]) <= 0:
            raise UserError(f"{row.where}: the box {row.box} has no area: correct or remove the line")
    if not given["layout"]:
        _refuse_unusable(rows)
    return names, first_label, rows


def _refuse_unusable(rows: Sequence[Row]) -> None:
    """UserError for lines without a label, and for faces that are listed twice and could be trained on and scored."""
    if unlabelled := [row for row in rows if not row.label and row.votes is None]:
        raise UserError(
            f"{unlabelled[0].where}: the label is empty; {len(unlabelled)} of {len(rows)} lines are so: add it or "
            "remove them"
        )
    first: dict[tuple, Row] = {}
    for row in rows:
        other = first.setdefault((row.file, row.box), row)
        if other is row:
            continue
        if (row.label, row.votes) != (other.label, other.votes):
            raise UserError(f"{row.where}: {row.file.name} has another label in {other.where}: remove one line")
        if not row.split or row.split != other.split:
            raise UserError(
                f"{row.where}: {row.file.name} is in {other.where} too, and would be trained on and scored: remove one "
                "line, or give both one split"
            )


def _numbered(rows: Sequence[Row], names: tuple[str, ...], first_label: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """int32 labels and the names they count through."""
    if not rows[0].label and rows[0].votes:
        return np.array([np.argmax(row.votes or ()) for row in rows], np.int32), names
    if not names:
        if all(row.label.isdecimal() for row in rows):
            found = sorted({int(row.label) for row in rows})
            raise UserError(
                f"{rows[0].where}: labels are the numbers {found[0]} to {found[-1]}: give their names in that order as "
                "config.data.args.labels, and config.data.args.first_label, or write names into the list"
            )
        names = tuple(sorted({row.label for row in rows}))
    known = {labels.canonical(name): number for number, name in enumerate(names)}
    known |= {str(number + first_label): number for number in range(len(names))}
    numbers = [known.get(labels.canonical(row.label), -1) for row in rows]
    if wrong := [row for row, number in zip(rows, numbers, strict=True) if number < 0]:
        raise UserError(
            f"{wrong[0].where}: the label is {wrong[0].label[:40]!r}, expected {first_label} ({names[0]}) to "
            f"{first_label + len(names) - 1} ({names[-1]}) or a name; {len(wrong)} such lines: correct or remove them"
        )
    return np.array(numbers, np.int32), names


def _votes(rows: Sequence[Row]) -> np.ndarray | None:
    """float32 (N, classes) distributions, None where there are no votes."""
    if rows[0].votes is None:
        return None
    votes = np.array([row.votes for row in rows], np.float32)
    sums = votes.sum(axis=1, keepdims=True)
    if bad := np.flatnonzero((sums[:, 0] <= 0) | (votes < 0).any(axis=1)).tolist():
        raise UserError(f"{rows[bad[0]].where}: votes {rows[bad[0]].votes}, expected at least one and none below 0")
    return votes / sums


def _require_files(rows: Sequence[Row]) -> None:
    missing = [row.file for row in rows if not row.file.is_file()]
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise UserError(
            f"{len(missing)} of {len(rows)} listed files are not there: {', '.join(map(str, missing[:SHOWN]))}{more}: "
            "give the folder they are relative to as config.data.args.root"
        )


def _face(row: Row, policy: cropping.CropPolicy) -> np.ndarray:
    image = images.read(row.file)
    if row.box is None:
        return image
    x, y, width, height = row.box
    if x >= image.shape[1] or y >= image.shape[0] or x + width <= 0 or y + height <= 0:
        raise UserError(
            f"{row.file}: its box {row.box} lies outside the picture of {image.shape[1]}x{image.shape[0]} pixels "
            f"({row.where}): correct or remove the line"
        )
    return cropping.cut(image, np.array(row.box), policy)
