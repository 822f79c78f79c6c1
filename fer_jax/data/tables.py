"""Lists of labelled image files: any csv or tsv, and the layouts in which some data sets are distributed."""

from __future__ import annotations

import csv
import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fer_jax import files, labels
from fer_jax.errors import UserError
from fer_jax.preprocess import images

# Names of columns in lower case, as they are guessed.
NAMES = {
    "file": (
        *("file", "filename", "file_name", "filepath", "file_path", "subdirectory_filepath"),
        *("image", "image_name", "image_path", "img", "path", "pth"),
    ),
    "label": ("label", "labels", "emotion", "expression", "class", "target", "expression_label"),
    "split": ("split", "usage", "set", "subset", "partition"),
    "subject": ("subject", "subject_id", "person", "person_id", "identity"),
}
BOXES = (("x", "y", "w", "h"), ("face_x", "face_y", "face_width", "face_height"), ("left", "top", "width", "height"))
MAX_HEADER = 1 << 16  # characters
AFFECTNET = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt")


class Row(NamedTuple):
    """One image: where it was listed, its file, its label as text, and what else is known of it."""

    where: str
    file: pathlib.Path
    label: str
    split: str = ""
    subject: str = ""
    box: tuple[float, ...] | None = None
    votes: tuple[float, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns of a table by their meaning; "" or () is none."""

    file: str = ""
    label: str = ""
    split: str = ""
    subject: str = ""
    box: tuple[str, ...] = ()
    votes: tuple[str, ...] = ()

    def guessed(self, header: Sequence[str], where: pathlib.Path) -> Columns:
        """With the columns that are not given guessed from their names.

        Raises:
          UserError: a given column is not there, no column or several could be the file or the label.
        """
        given = (self.file, self.label, self.split, self.subject, *self.box, *self.votes)
        if missing := [name for name in given if name and name not in header]:
            raise UserError(f"{where}: no column {', '.join(missing)}: it has {_some(header)}")
        found = {field: getattr(self, field) or _guess(field, header, where) for field in NAMES}
        lowered = {name.lower(): name for name in header}
        box = self.box or next((tuple(map(lowered.get, names)) for names in BOXES if {*names} <= {*lowered}), ())
        votes = self.votes or tuple(name for name in header if labels.canonical(name) in labels.EXPRESSIONS)
        columns = Columns(**found, box=box, votes=votes if len(votes) > 1 else ())  # type: ignore[arg-type]
        for field in ("file",) if columns.votes else ("file", "label"):
            if not getattr(columns, field):
                raise UserError(
                    f"{where}: no column for the {field} among {_some(header)}: give its name as "
                    f"config.data.args.{field}"
                )
        return columns

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in vars(self).items() if value)


class Layout(NamedTuple):
    """How a data set is distributed.

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


def read_table(path: pathlib.Path, root: pathlib.Path, columns: Columns) -> tuple[Columns, list[Row]]:
    """The columns of a csv or tsv with a header, and its rows; files are relative to `root`.

    UserError, with the line, for a row that is cut off and for boxes and votes that are no numbers.
    """
    files.refuse_other_kind(path, "a csv or tsv that lists images")
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        first = file.readline()
        separator = next((s for s in ("\t", ",", ";") if s in first), " ")
        file.seek(0)
        table = csv.reader(file, delimiter=separator, skipinitialspace=True)
        header = [name.strip() for name in next(table, [])]
        columns = columns.guessed(header, path)
        place = {name: position for position, name in enumerate(header)}
        rows = []
        for fields in filter(any, table):
            where = f"{path}, line {table.line_num}"
            if len(fields) < len(header):
                raise UserError(f"{where}: {len(fields)} fields, expected {len(header)}: correct or remove the line")
            value = {name: fields[position].strip() for name, position in place.items()}
            text = {field: value[name] if (name := getattr(columns, field)) else "" for field in NAMES}
            box, votes = _numbers(value, columns.box, where), _numbers(value, columns.votes, where)
            rows.append(Row(where, root / text.pop("file"), **text, box=box, votes=votes))
    return columns, rows


def lists_images(path: pathlib.Path) -> bool:
    """Whether a file is a table whose header names a column of files; FER2013's, with pixels in it, is none."""
    if not path.is_file():
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = file.readline(MAX_HEADER).lower()
    separator = next((s for s in ("\t", ",", ";") if s in header), " ")
    names = {name.strip().strip('"') for name in header.split(separator)}
    return bool(names & {*NAMES["file"]}) and "pixels" not in names


def layout_of(path: pathlib.Path) -> str:
    """The key of `LAYOUTS` whose lists lie in a folder, "" where none does."""
    return next((name for name, layout in LAYOUTS.items() if any((path / one).exists() for one in layout.signs)), "")


def _numbers(value: dict[str, str], names: Sequence[str], where: str) -> tuple[float, ...] | None:
    numbers = []
    for name in names:
        try:
            numbers.append(float(value[name]))
        except ValueError:
            found = f"{name} is {value[name][:20]!r}"
            raise UserError(f"{where}: {found}, expected a number: correct or remove the line") from None
    return tuple(numbers) if names else None


def _guess(field: str, header: Sequence[str], where: pathlib.Path) -> str:
    found = [name for name in header if name.lower() in NAMES[field]]
    if len(found) > 1:
        raise UserError(
            f"{where}: the columns {' and '.join(found)} could each be the {field}: give one as "
            f"config.data.args.{field}"
        )
    return found[0] if found else ""


def _some(header: Sequence[str]) -> str:
    return (", ".join(name[:20] for name in header[:12]) or "none") + (" ..." if len(header) > 12 else "")


def _lines(path: pathlib.Path, fields: int) -> Iterator[tuple[str, list[str]]]:
    """Where and what: the lines of a table without a header, separated by blanks."""
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        where, values = f"{path}, line {number}", line.split()
        if values and len(values) != fields:
            raise UserError(f"{where}: {len(values)} fields, expected {fields}: correct or remove the line")
        if values:
            yield where, values


def _first_there(root: pathlib.Path, names: Iterable[str], what: str) -> pathlib.Path:
    names = tuple(names)
    for name in names:
        if (root / name).exists():
            return root / name
    raise UserError(f"{root}: no {what}: expected one of {', '.join(names)} in it")


def _raf_db(root: pathlib.Path) -> Iterator[Row]:
    """RAF-DB, basic expressions: EmoLabel/list_patition_label.txt and the aligned faces in Image/aligned."""
    table = _first_there(root, ("EmoLabel/list_patition_label.txt", "list_patition_label.txt"), "list of RAF-DB")
    aligned = _first_there(root, ("Image/aligned", "aligned"), "faces of RAF-DB")
    for where, (name, label) in _lines(table, 2):
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
        _, rows = read_table(table, below if below.is_dir() else root, Columns())
        yield from (row._replace(split=split) for row in rows)


def _expw(root: pathlib.Path) -> Iterator[Row]:
    """ExpW: label/label.lst with boxes, and the photographs in image/origin."""
    table = _first_there(root, ("label/label.lst", "label.lst"), "list of ExpW")
    pictures = _first_there(root, ("image/origin", "origin", "image"), "photographs of ExpW")
    for where, (name, _, top, left, right, bottom, _, label) in _lines(table, 8):
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
        AFFECTNET,
        ignored=("8", "9", "10"),  # none, uncertain, no face
        signs=("train_set/annotations", "Manually_Annotated_file_lists", "training.csv"),
    ),
    "expw": Layout(
        _expw,
        ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
        signs=("label/label.lst", "label.lst"),
    ),
}
