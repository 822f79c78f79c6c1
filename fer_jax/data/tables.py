"""Tables of labeled image files: any csv or tsv with a header, its columns by their meaning, boxes in any notation."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

from fer_jax import labels
from fer_jax.errors import UserError

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
# What a column of a box says, by its name without a word such as bbox, and without signs between letters.
SIDES = {
    "left": ("left", "x", "x1", "xmin", "x0", "xleft", "xtl", "topleftx", "startx"),
    "top": ("top", "y", "y1", "ymin", "y0", "ytop", "ytl", "toplefty", "starty", "upper"),
    "right": ("right", "x2", "xmax", "xright", "xbr", "bottomrightx", "endx"),
    "bottom": ("bottom", "y2", "ymax", "ybottom", "ybr", "bottomrighty", "endy", "lower"),
    "width": ("width", "w"),
    "height": ("height", "h"),
    "center_x": ("cx", "xc", "xcenter", "centerx", "xcentre", "centrex", "xmid", "midx"),
    "center_y": ("cy", "yc", "ycenter", "centery", "ycentre", "centrey", "ymid", "midy"),
}
NOTATIONS = (
    ("left", "top", "right", "bottom"),
    ("center_x", "center_y", "width", "height"),
    ("left", "top", "width", "height"),
)
MAX_HEADER = 1 << 16  # bytes

_BOX_WORD = re.compile(r"^(bounding.?box|bbox|box|face|rect|roi)|[^a-z0-9]")


class Row(NamedTuple):
    """One image: where it was listed, its file, its label as text, and what else is known of it.

    `box` is left, top, width and height in pixels.
    """

    where: str
    file: pathlib.Path
    label: str
    split: str = ""
    subject: str = ""
    box: tuple[float, ...] | None = None
    votes: tuple[float, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns of a table by their meaning; "" or () is none. `box` is in the order of `notation`."""

    file: str = ""
    label: str = ""
    split: str = ""
    subject: str = ""
    box: tuple[str, ...] = ()
    votes: tuple[str, ...] = ()
    notation: tuple[str, ...] = NOTATIONS[-1]

    def guessed(self, header: Sequence[str], where: pathlib.Path) -> Columns:
        """With the columns that are not given guessed from their names.

        Raises:
          UserError: a given column is not there, no column or several could be the file or the label, or columns look
            like a box in no known notation.
        """
        given = (self.file, self.label, self.split, self.subject, *self.box, *self.votes)
        if missing := [name for name in given if name and name not in header]:
            raise UserError(f"{where}: no column {', '.join(missing)}: it has {_some(header)}")
        found = {field: getattr(self, field) or _guess(field, header, where) for field in NAMES}
        notation, box = _box(self.box or header, where)
        votes = self.votes or tuple(name for name in header if labels.canonical(name) in labels.EXPRESSIONS)
        columns = Columns(
            **found,
            box=box or self.box,
            votes=votes if len(votes) > 1 else (),
            notation=notation or NOTATIONS[-1],
        )
        for field in ("file",) if columns.votes else ("file", "label"):
            if not getattr(columns, field):
                raise UserError(
                    f"{where}: no column for the {field} among {_some(header)}: name it {field}, or give its name as "
                    f"config.data.args.{field}"
                )
        return columns

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in vars(self).items() if value and name != "notation")


def read_table(path: pathlib.Path, root: pathlib.Path, columns: Columns) -> tuple[Columns, list[Row]]:
    """The columns of a csv or tsv with a header, and its rows; files are relative to `root`.

    Raises:
      UserError: text that is not UTF-8 (or UTF-16 with its mark), a row that does not fit the header, a quote that is
        not closed, boxes and votes that are no numbers.
    """
    text, skipped, last = _text(path), 0, 0
    if declared := re.match(r"sep=(.)\r?\n", text):  # Excel's
        text, skipped = text[declared.end() :], 1
    separator = declared[1] if declared else _separator(text.partition("\n")[0])
    table = csv.reader(io.StringIO(text, newline=None), delimiter=separator, skipinitialspace=True, strict=True)
    rows = []
    try:
        header = [name.strip() for name in next(table, [])]
        columns = columns.guessed(header, path)
        last = table.line_num
        for fields in table:
            where, last = f"{path}, line {last + 1 + skipped}", table.line_num
            if any("\n" in field for field in fields):
                raise UserError(f"{where}: a quote is closed in another line: remove it, or close it in its line")
            if any(fields):
                rows.append(_row(where, header, fields, root, columns))
    except csv.Error as error:
        raise UserError(f"{path}, line {last + 1 + skipped}: {error}: correct or remove the quotes") from None
    return columns, rows


def lists_images(path: pathlib.Path) -> bool:
    """Return whether a file is a table whose header names a column of files; FER2013's, with pixels in it, is none."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(MAX_HEADER)
    text = start.decode(_encoding(start), errors="replace").removeprefix("\ufeff").lower()
    header = re.sub(r"^sep=.\r?\n", "", text).partition("\n")[0]
    names = {name.strip().strip('"') for name in header.split(_separator(header))}
    return bool(names & {*NAMES["file"]}) and "pixels" not in names


def lines(path: pathlib.Path, fields: int) -> list[tuple[str, list[str]]]:
    """Return place and fields of the lines of a table without a header, separated by blanks."""
    found = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        where, values = f"{path}, line {number}", line.split()
        if values and len(values) != fields:
            raise UserError(f"{where}: {len(values)} fields, expected {fields}: correct or remove the line")
        if values:
            found.append((where, values))
    return found


def _row(where: str, header: list[str], fields: list[str], root: pathlib.Path, columns: Columns) -> Row:
    if len(fields) < len(header) or any(field.strip() for field in fields[len(header) :]):
        raise UserError(f"{where}: {len(fields)} fields, expected {len(header)}: correct or remove the line")
    value = {name: field.strip() for name, field in zip(header, fields, strict=False)}
    text = {field: value[name] if (name := getattr(columns, field)) else "" for field in NAMES}
    file = text.pop("file")
    if not file:
        raise UserError(f"{where}: the file is empty: add it or remove the line")
    if re.match(r"https?://", file):
        raise UserError(f"{where}: a web address, expected a file: download the pictures and list their files")
    path = root / (pathlib.Path(file).expanduser() if file.startswith("~/") else file)
    if "\\" in file and not path.exists():
        path = root / file.replace("\\", "/")
    box, votes = _numbers(value, columns.box, where), _numbers(value, columns.votes, where)
    corner = _corner_and_size(dict(zip(columns.notation, box, strict=True))) if box else None
    return Row(where, path, **text, box=corner, votes=votes)


def _corner_and_size(box: dict[str, float]) -> tuple[float, ...]:
    """Left, top, width and height of a box in any of `NOTATIONS`."""
    if "center_x" in box:
        width, height = box["width"], box["height"]
        return box["center_x"] - width / 2, box["center_y"] - height / 2, width, height
    left, top = box["left"], box["top"]
    if "right" in box:
        return left, top, box["right"] - left, box["bottom"] - top
    return left, top, box["width"], box["height"]


def _box(names: Sequence[str], where: pathlib.Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The notation and the columns of the box among `names`, () where there is none."""
    bare = {_BOX_WORD.sub("", _BOX_WORD.sub("", name.lower())): name for name in reversed(names)}
    sides = {side: [bare[word] for word in words if word in bare] for side, words in SIDES.items()}
    if "x0" in bare:  # then the others count on from it
        for low, high in (("left", "right"), ("top", "bottom")):
            sides[low], sides[high] = sides[low][1:], sides[low][:1]
    for notation in NOTATIONS:
        if all(sides[side] for side in notation):
            if any(len(sides[side]) > 1 for side in notation):
                break
            return notation, tuple(sides[side][0] for side in notation)
    else:
        words = {*bare} & {word for words in SIDES.values() for word in words}
        if not words - {"x", "y", "width", "height", "w", "h"} and not any("box" in name.lower() for name in names):
            return (), ()
    raise UserError(
        f"{where}: a box in a notation that is not known here among {_some(names)}: give four columns as "
        "config.data.args.box, or remove them"
    )


def _numbers(value: dict[str, str], names: Sequence[str], where: str) -> tuple[float, ...] | None:
    numbers = []
    for name in names:
        try:
            number = float(value[name])
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise UserError(f"{where}: {name} is {value[name][:20]!r}, expected a number: correct or remove the line")
        numbers.append(number)
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


def _separator(line: str) -> str:
    """The separator of a header: the commonest of tab, comma, semicolon and bar, else a blank."""
    return max("\t,;|", key=line.count) if any(sign in line for sign in "\t,;|") else " "


def _encoding(content: bytes) -> str:
    return "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _text(path: pathlib.Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode(_encoding(content))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: not text in UTF-8: save the table as csv in UTF-8") from None
