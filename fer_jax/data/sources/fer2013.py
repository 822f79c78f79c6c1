"""FER2013 (Goodfellow et al., "Challenges in Representation Learning", 2013) from its csv: 35,887 grey faces, 48x48.

Both layouts are read: `fer2013.csv` with the columns `emotion,pixels,Usage` and Kaggle's later `icml_face_data.csv`
with `emotion, Usage, pixels`, blanks before the names. Columns are found by name, so any order will do.

Measured: the 271 MB of Training and PublicTest (32,298 rows) parse in 3.2 s of processor time, on one core, and come
back from the cache in 0.1 s.
"""

from __future__ import annotations

import csv
import pathlib
import warnings

import numpy as np
from ml_collections import ConfigDict

from fer_jax import files, labels
from fer_jax.data.examples import Examples
from fer_jax.errors import UserError
from fer_jax.preprocess import images

VERSION = 1
COLUMNS = ("emotion", "pixels", "Usage")
SPLITS = ("Training", "PublicTest", "PrivateTest")
FILE_NAMES = ("fer2013.csv", "icml_face_data.csv")
SIDE = 48  # pixels
PIXELS = SIDE * SIDE

WHERE_TO_GET_IT = (
    "get fer2013.csv or icml_face_data.csv from Kaggle's \"Challenges in Representation Learning: Facial Expression "
    'Recognition Challenge" and give its path as --config.data.path; configs/quickstart.py needs no data'
)


def locate(path: str) -> pathlib.Path:
    """The csv at `path`: the file itself, or the one by a known name, or the only one, in a folder.

    Raises UserError where there is none, with where it can be had.
    """
    if not path:
        raise UserError(f"config.data.path is empty, expected FER2013's csv: {WHERE_TO_GET_IT}")
    where = files.expand(path)
    if not where.exists():
        raise UserError(f"{where}: no such file or folder, expected FER2013's csv: {WHERE_TO_GET_IT}")
    if not where.is_dir():
        return where
    found = [entry for entry in images.visible(where) if entry.suffix.lower() == ".csv"]
    known = [entry for entry in found if entry.name in FILE_NAMES]
    if known or len(found) == 1:
        return (known or found)[0]
    raise UserError(
        f"{where}: {len(found)} csv files, none of them {' or '.join(FILE_NAMES)}: "
        + ("give the path of the one to read" if found else WHERE_TO_GET_IT)
    )


def fingerprint(data: ConfigDict) -> list:
    """The csv's path, size and modification time."""
    return files.stamp(locate(data.path))


def read(data: ConfigDict, input: ConfigDict) -> Examples:
    """All rows of the csv at `data.path`, in their order, with the splits its Usage column names.

    Raises UserError with the line's number for whatever `parse` refuses.
    """
    path = locate(data.path)
    faces, emotions, usage = parse(path)
    return Examples(
        images=images.fit_all(faces, len(faces), input),
        labels=emotions,
        split=usage,
        label_names=labels.FER2013,
        description=f"FER2013: {len(faces)} faces from {path.name}",
    )


def parse(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images uint8 (N, 48, 48), labels int32 (N,) into `labels.FER2013`, and Usage str (N,), in the csv's order.

    Raises UserError naming file and line for a missing column, a row that is cut off or has another number of pixels
    than 2,304, a pixel that is no whole number of 0..255, an unknown emotion or Usage, and for a file without rows.
    """
    faces, emotions, usage = [], [], []
    # a byte that is no text becomes a character that is no number, and its line is named like any other
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file, warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # of np.fromstring, in a numpy that does not raise yet
        rows = csv.reader(file)
        columns = _columns(path, next(rows, []))
        try:
            for row in filter(None, rows):
                emotion, pixels, use = _fields(row, columns)
                faces.append(_pixels(pixels))
                emotions.append(emotion)
                usage.append(use)
        except (ValueError, csv.Error) as error:
            advice = (
                "correct or remove this line"
                if file.read(1)
                else "the file ends here and may be cut off, download or copy it again"
            )
            raise UserError(f"{path}, line {rows.line_num}: {error}: {advice}") from None
    if not faces:
        raise UserError(f"{path}: no rows below the header, expected one a face: download the file again")
    return (np.stack(faces).reshape(-1, SIDE, SIDE), np.array(emotions, np.int32), np.array(usage))


def _columns(path: pathlib.Path, header: list[str]) -> list[int]:
    """The positions of emotion, pixels and Usage."""
    names = [name.strip() for name in header]
    if missing := [name for name in COLUMNS if name not in names]:
        raise UserError(
            f"{path}: no column {', '.join(missing)}: found {', '.join(names) or 'nothing'}, expected "
            f"{', '.join(COLUMNS)} in any order: {WHERE_TO_GET_IT}"
        )
    return [names.index(name) for name in COLUMNS]


def _fields(row: list[str], columns: list[int]) -> tuple[int, str, str]:
    """A row's emotion as number, its pixels as text and its Usage."""
    if len(row) <= max(columns):
        raise ValueError(f"{len(row)} fields, expected {', '.join(COLUMNS)}")
    emotion, pixels, usage = (row[column].strip() for column in columns)
    if usage not in SPLITS:
        raise ValueError(f"Usage is {usage!r}, expected one of {', '.join(SPLITS)}")
    if not emotion.isdecimal() or int(emotion) >= len(labels.FER2013):
        known = ", ".join(f"{number} {name}" for number, name in enumerate(labels.FER2013))
        raise ValueError(f"emotion is {emotion!r}, expected one of {known}")
    return int(emotion), pixels, usage


def _pixels(text: str) -> np.ndarray:
    """The 2,304 numbers of a row, uint8; ValueError for anything else.

    np.fromstring reads them four times as fast as Python can, and forgives too much (it wraps at 16 bits). But then the
    text is longer than the same numbers written plainly, so rows of the exact length hold exactly these numbers.
    """
    try:
        values = np.fromstring(text, np.int16, sep=" ")
    except (ValueError, DeprecationWarning):
        values = np.empty(0, np.int16)
    plain_length = 2 * PIXELS - 1 + np.count_nonzero(values > 9) + np.count_nonzero(values > 99)
    if values.size == PIXELS and len(text) == plain_length and values.min() >= 0 and values.max() <= 255:
        return values.astype(np.uint8)
    tokens = text.split()
    if len(tokens) != PIXELS:
        raise ValueError(f"{len(tokens)} pixels, expected {SIDE} x {SIDE} = {PIXELS}")
    for position, token in enumerate(tokens):
        if not (token.isascii() and token.isdigit() and int(token) <= 255):
            raise ValueError(f"pixel {position + 1} is {token!r}, expected a whole number of 0..255")
    return np.array(tokens, np.uint8)
