"""A list of image files: any csv or tsv with a column for the file and one for the label, and data sets as they come.

    file,label,split,x,y,w,h            columns are found by their names (`tables.NAMES`), or given:
    faces/1.jpg,happy,train,12,8,90,90  config.data.args.file, label, split, subject, box, votes

The separator is a tab, a comma, a semicolon, a bar or blanks. A box is the face in the picture, in pixels, as corner
and size, two corners, or center and size (`tables.NOTATIONS`); the crop policy of `fer_jax.faces` cuts the square from
it. Columns that are named after expressions hold votes. `config.data.args.layout` reads RAF-DB, AffectNet and ExpW as
they are distributed (`LAYOUTS`); docs/reference/data.md shows all.
"""

import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fer_jax import fields, files, labels
from fer_jax.data import classes, lazy, tables
from fer_jax.data.examples import UNSPLIT, Examples
from fer_jax.data.sources import DataSet
from fer_jax.data.tables import Row
from fer_jax.errors import UserError
from fer_jax.faces import cropping
from fer_jax.fields import Field
from fer_jax.preprocess import images

VERSION = 2
MIN_SIDE = 4  # pixels of a box; what is smaller is a fraction of the picture, or no face
NO_SPLIT = "no split"  # of lines that name none where others do


class Layout(NamedTuple):
    """Layout in which a data set is distributed.

    Attributes:
      rows: the images below a folder.
      labels: the names of the numbers, in their order.
      first_label: the number of the first.
      ignored: labels of images that show no expression and are left out.
      signs: what lies in its folder and in no other's, one of these.
    """

    rows: Callable[[pathlib.Path], Iterator[Row]]
    labels: tuple[str, ...]
    first_label: int = 0
    ignored: tuple[str, ...] = ()
    signs: tuple[str, ...] = ()


def _first_there(root: pathlib.Path, names: tuple[str, ...], what: str) -> pathlib.Path:
    if there := [root / name for name in names if (root / name).exists()]:
        return there[0]
    raise UserError(f"{root}: no {what}: expected one of {', '.join(names)} in it")


def _raf_db(root: pathlib.Path) -> Iterator[Row]:
    """RAF-DB, basic expressions: EmoLabel/list_patition_label.txt and the aligned faces in Image/aligned."""
    table = _first_there(root, ("EmoLabel/list_patition_label.txt", "list_patition_label.txt"), "list of RAF-DB")
    aligned = _first_there(root, ("Image/aligned", "aligned"), "faces of RAF-DB")
    for where, (name, label) in tables.lines(table, 2):
        stem = pathlib.PurePath(name).stem
        yield Row(where, aligned / f"{stem}_aligned.jpg", label, stem.partition("_")[0])


def _affectnet(root: pathlib.Path) -> Iterator[Row]:
    """AffectNet: training.csv and validation.csv, or the folders train_set and val_set with annotations of NumPy."""
    if (root / "train_set").is_dir():
        for split in ("train", "val"):
            for path in images.visible(_first_there(root, (f"{split}_set/annotations",), "annotations of AffectNet")):
                if path.name.endswith("_exp.npy"):
                    stem = path.name.removesuffix("_exp.npy")
                    label = str(np.load(path, allow_pickle=False).item())
                    yield Row(str(path), root / f"{split}_set" / "images" / f"{stem}.jpg", label, split)
        return
    below = root / "Manually_Annotated_Images"
    for split in ("training", "validation"):
        table = _first_there(root, (f"{split}.csv", f"Manually_Annotated_file_lists/{split}.csv"), "list of AffectNet")
        _, rows = tables.read_table(table, below if below.is_dir() else root, tables.Columns())
        yield from (row._replace(split=split) for row in rows)


def _expw(root: pathlib.Path) -> Iterator[Row]:
    """ExpW: label/label.lst with boxes, and the photographs in image/origin."""
    table = _first_there(root, ("label/label.lst", "label.lst"), "list of ExpW")
    pictures = _first_there(root, ("image/origin", "origin", "image"), "photographs of ExpW")
    for where, (name, _, top, left, right, bottom, _, label) in tables.lines(table, 8):
        x, y = float(left), float(top)
        yield Row(where, pictures / name, label, box=(x, y, float(right) - x, float(bottom) - y))


# CAER-S comes as folders of splits and classes, which the source `folder` reads.
LAYOUTS = {
    "raf-db": Layout(
        _raf_db,
        ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral"),
        first_label=1,
        signs=("EmoLabel/list_patition_label.txt", "list_patition_label.txt"),
    ),
    "affectnet": Layout(
        _affectnet,
        ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt"),
        ignored=("8", "9", "10"),  # none, uncertain, no face
        signs=("train_set/annotations", "Manually_Annotated_file_lists", "training.csv"),
    ),
    "expw": Layout(
        _expw,
        ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
        signs=("label/label.lst", "label.lst"),
    ),
}
DATA_SET = DataSet(recognizes=lambda path: bool(layout_of(path)) or tables.lists_images(path))
ARGUMENTS = {
    "layout": Field("", f"A data set as it comes: {', '.join(LAYOUTS)}; empty reads a table with a header."),
    "root": Field("", "Folder that the files are relative to; empty is the table's."),
    "file": Field("", "Column of the file; empty is guessed, as are the others."),
    "label": Field("", "Column of the label, names or numbers."),
    "split": Field("", "Column of the split."),
    "subject": Field("", "Column of the person."),
    "box": Field((), "Columns of left, top, width and height of the face, in pixels, or of another notation."),
    "votes": Field((), "Columns of the votes for each class, in the classes' order."),
    "labels": Field((), "Names of the classes, in the order of their numbers."),
    "first_label": Field(0, "Number of the first class.", low=0, high=1000),
    "enlarge": Field(1.0, "Side of the square that is cut out, over the larger side of the box.", low=0.1, high=10),
}


def layout_of(path: pathlib.Path) -> str:
    """The key of `LAYOUTS` whose lists lie in a folder, "" where none does."""
    return next((name for name, layout in LAYOUTS.items() if any((path / one).exists() for one in layout.signs)), "")


def known_labels(data: ConfigDict) -> tuple[str, ...]:
    """The classes that the layout or `labels` name, () where the list's own columns do."""
    if layout := fields.value(data, ARGUMENTS, "layout"):
        return LAYOUTS[layout].labels if layout in LAYOUTS else ()
    return tuple(fields.value(data, ARGUMENTS, "labels"))


def fingerprint(data: ConfigDict) -> list:
    """The list's path, size and time, the arguments, and the names of the splits; not each image, for speed."""
    path = _path(data)
    listed = [path]
    if path.is_dir():
        for pattern in ("*.csv", "*.lst", "*.txt", "*/*.csv", "*/*.lst", "*/*.txt", "*_set/annotations"):
            listed += path.glob(pattern)
    given = {name: fields.value(data, ARGUMENTS, name) for name in ARGUMENTS}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    return [plain, data.train_split, data.select_split, data.test_split, *map(files.stamp, sorted(listed))]


def read(data: ConfigDict, input: images.Geometry) -> Examples:
    """The listed images in their order, with labels, splits, people and votes as far as the list names them.

    Names of splits such as train, val and test become `data.train_split` and so on, others stay. Lines without a label
    are left out and counted. The columns that are read are logged.

    Raises:
      UserError: no such list, columns that are missing or ambiguous, labels outside the names or against the votes, a
        person for some lines only, boxes without an area, faces listed twice with two labels or splits, files that are
        not there, which are counted.
    """
    listed, numbers, names, votes = _labeled(data)
    kept = np.flatnonzero(numbers != classes.UNLABELED)
    rows = [listed[place] for place in kept]
    _require_files(rows, _root(data))
    if not fields.value(data, ARGUMENTS, "layout"):
        _refuse_twice_listed(rows)
    splits = [classes.split_named(row.split, data) for row in rows]
    unsplit = NO_SPLIT if any(splits) else UNSPLIT
    policy = cropping.CropPolicy(float(fields.value(data, ARGUMENTS, "enlarge")))
    missing = [row for row in rows if not row.subject]
    if missing and len(missing) < len(rows):
        raise UserError(
            f"{missing[0].where}: no person, as in {len(missing)} of {len(rows)} lines: add all, or remove the column"
        )
    return Examples(
        images=cast(np.ndarray, lazy.Decoded(len(rows), lambda number: _face(rows[number], policy), input)),
        labels=numbers[kept],
        split=np.array([split or unsplit for split in splits]),
        label_names=names,
        subjects=None if missing else np.array([row.subject for row in rows]),
        votes=None if votes is None else votes[kept],
        description=f"{len(rows)} images listed in {files.name_of(data.path)}"
        + classes.left_out(len(listed) - len(rows)),
    )


def image_files(data: ConfigDict) -> list[pathlib.Path]:
    """The files of the images, in the order of `read`."""
    rows, numbers, _, _ = _labeled(data)
    return [row.file for row, number in zip(rows, numbers, strict=True) if number != classes.UNLABELED]


def _path(data: ConfigDict) -> pathlib.Path:
    path = files.expand(data.path)
    if not data.path or not path.exists():
        raise UserError(
            f"config.data.path is {data.path!r}, no such file: expected a csv or tsv that lists images, or with "
            "config.data.args.layout the folder of a data set"
        )
    layout = fields.value(data, ARGUMENTS, "layout")
    if layout and layout not in LAYOUTS:
        raise UserError(f"config.data.args.layout is {layout!r}: expected one of {', '.join(LAYOUTS)}")
    if path.is_dir() != bool(layout):
        found, expected = ("a folder", "a csv or tsv") if path.is_dir() else ("a file", f"the folder of {layout}")
        raise UserError(f"{path} is {found}, expected {expected}: config.data.args.layout reads folders")
    return path


def _root(data: ConfigDict) -> pathlib.Path:
    """The folder that the files of a list are relative to."""
    given, path = fields.value(data, ARGUMENTS, "root"), files.expand(data.path)
    return files.expand(given) if given else path if path.is_dir() else path.parent


def _listed(data: ConfigDict) -> tuple[list[Row], tuple[str, ...], int | None]:
    """The images, the names of the classes as far as they are known, and the number of the first.

    The number is None where names are those of columns, whose order says nothing about numbers.
    """
    path = _path(data)
    given = {name: fields.value(data, ARGUMENTS, name) for name in ARGUMENTS}
    if given["layout"]:
        layout = LAYOUTS[given["layout"]]
        rows = [row for row in layout.rows(path) if row.label not in layout.ignored]
        names, first = layout.labels, layout.first_label
    else:
        if len(given["box"]) not in (0, 4):
            raise UserError(f"config.data.args.box has {len(given['box'])} columns, expected left, top, width, height")
        wanted = ("file", "label", "split", "subject", "box", "votes")
        named: dict[str, Any] = {n: tuple(given[n]) if n in ("box", "votes") else given[n] for n in wanted}
        names, first = tuple(given["labels"]), given["first_label"]
        columns, rows = tables.read_table(path, _root(data), tables.Columns(**named))
        logging.info("%s: %s", path, columns)
        if columns.votes:
            rows = _in_order(rows, columns.votes, names, bool(given["votes"]), path)
            names, first = (names, first) if names else (columns.votes, None)
    if not rows:
        raise UserError(f"{path}: it lists no images")
    if small := next((row for row in rows if row.box and min(row.box[2:]) < MIN_SIDE), None):
        sizes = " x ".join(f"{side:g}" for side in (small.box or ())[2:])
        raise UserError(f"{small.where}: a box of {sizes}, expected at least {MIN_SIDE}: give pixels, not fractions")
    return rows, names, first


def _in_order(
    rows: list[Row], columns: tuple[str, ...], names: tuple[str, ...], given: bool, path: pathlib.Path
) -> list[Row]:
    """The rows with their votes in the order of the classes: by the columns' names unless they were given in order."""
    if not names:
        return rows
    order = list(range(len(columns))) if given else labels.columns(names, columns)
    if len(names) != len(columns) or min(order) < 0:
        raise UserError(
            f"{path}: votes in the columns {', '.join(columns)}, but the classes {', '.join(names)}: give a column for "
            "each class as config.data.args.votes"
        )
    return [row._replace(votes=tuple((row.votes or ())[place] for place in order)) for row in rows]


def _labeled(data: ConfigDict) -> tuple[list[Row], np.ndarray, tuple[str, ...], np.ndarray | None]:
    """All lines, int32 (N,) labels, `classes.UNLABELED` for none, their names, float32 (N, classes) votes or None."""
    rows, names, first = _listed(data)
    texts, votes = [row.label for row in rows], _votes(rows)
    if votes is not None and not any(texts):
        return rows, votes.argmax(axis=1).astype(np.int32), names, votes
    numbers, names = classes.numbered(texts, names, lambda place: rows[place].where, first)
    if votes is None:
        return rows, numbers, names, None
    labeled = numbers != classes.UNLABELED
    against = labeled & (np.take_along_axis(votes, numbers[:, None], axis=1)[:, 0] < votes.max(axis=1))
    if against.any():
        said = f"the largest vote is for another class than the label in {against.sum()} of {labeled.sum()} lines"
        if 2 * against.sum() > labeled.sum() and not fields.value(data, ARGUMENTS, "votes"):
            place = int(np.flatnonzero(against)[0])
            raise UserError(f"{rows[place].where}: {said}: remove the columns, or give them as config.data.args.votes")
        logging.warning("%s; the votes are what is trained for", said)
    return rows, np.where(labeled, numbers, votes.argmax(axis=1)).astype(np.int32), names, votes


def _votes(rows: Sequence[Row]) -> np.ndarray | None:
    """float32 (N, classes) distributions, None where there are no votes."""
    if rows[0].votes is None:
        return None
    votes = np.array([row.votes for row in rows], np.float32)
    sums = votes.sum(axis=1, keepdims=True)
    if bad := np.flatnonzero((sums[:, 0] <= 0) | (votes < 0).any(axis=1)).tolist():
        raise UserError(f"{rows[bad[0]].where}: votes {rows[bad[0]].votes}, expected at least one and none below 0")
    return votes / sums


def _require_files(rows: Sequence[Row], root: pathlib.Path) -> None:
    if missing := [row.file for row in rows if not row.file.is_file()]:
        named = ", ".join(map(str, missing[: lazy.SHOWN]))
        more = f" and {len(missing) - lazy.SHOWN} more" if len(missing) > lazy.SHOWN else ""
        folder = "give the folder they are relative to as config.data.args.root"
        remedy = folder if missing[0].is_relative_to(root) else "correct the list"
        raise UserError(f"{len(missing)} of {len(rows)} listed files are not there: {named}{more}: {remedy}")


def _refuse_twice_listed(rows: Sequence[Row]) -> None:
    """UserError for faces that are listed twice, by any path, with two labels, or to be trained on and scored."""
    first: dict[tuple, Row] = {}
    for row in rows:
        stat = row.file.stat()
        identity = (stat.st_dev, stat.st_ino) if stat.st_ino else row.file
        other = first.setdefault((identity, row.box), row)
        if other is row:
            continue
        if (row.label, row.votes) != (other.label, other.votes):
            raise UserError(f"{row.where}: {row.file.name} has another label in {other.where}: remove one line")
        if not row.split or row.split != other.split:
            raise UserError(
                f"{row.where}: {row.file.name} is in {other.where} too, and would be trained on and scored: remove one "
                "line, or give both one split"
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
