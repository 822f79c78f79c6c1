"""FER2013 (Goodfellow et al., "Challenges in Representation Learning", 2013) from its csv: 35,887 gray faces, 48x48.

Both layouts are read: `fer2013.csv` with the columns `emotion,pixels,Usage` and Kaggle's later `icml_face_data.csv`
with `emotion, Usage, pixels`, blanks before the names. Columns are found by name, so any order will do.

Measured: the 271 MB of Training and PublicTest (32,298 rows) parse in 3.2 s of processor time, on one core, and come
back from the cache in 0.1 s.
"""

import csv
import pathlib
import warnings

import numpy as np
from ml_collections import ConfigDict

from fer_jax import fields, files, labels
from fer_jax.data import ferplus_votes
from fer_jax.data.examples import Examples
from fer_jax.data.sources import DataSet
from fer_jax.errors import UserError
from fer_jax.fields import Field
from fer_jax.preprocess import images

VERSION = 1
# What a model card says about the faces, with the line breaks of the card.
WEB_SEARCH = """FER2013 was gathered from web searches by emotion words: mostly posed or acted,
  mostly adults facing the camera, of uneven skin tones and ages, with labels that other people often do not agree
  with; disgust is rare. How much worse it does for groups the set lacks was not measured."""
DATA_SET = DataSet(
    labels.FER2013,
    terms="FER2013 was gathered by web search for the ICML 2013 challenges",
    words=WEB_SEARCH,
)
ARGUMENTS = {
    "votes_weight": Field(0.0, "Share of a training target that the votes of FER+ give.", low=0.0, high=1.0),
    "votes_path": ferplus_votes.PATH,
}
COLUMNS = ("emotion", "pixels", "Usage")
SPLITS = ("Training", "PublicTest", "PrivateTest")
FILE_NAMES = ("fer2013.csv", "icml_face_data.csv")
SIDE = 48  # pixels
PIXELS = SIDE * SIDE
MAX_FIELD = 1 << 22  # characters: an image of 1,024 x 1,024 pixels, so that its size can be reported

WHERE_TO_GET_IT = (
    "get fer2013.csv or icml_face_data.csv from Kaggle's \"Challenges in Representation Learning: Facial Expression "
    'Recognition Challenge" and give its path as --config.data.path; --config=quickstart needs no data'
)
REMEDY = "download FER2013's csv again"
OTHER_FACES = "other faces are read as files: a folder of images for each class, or a list of them"


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
    """The csv's path, size and modification time; with votes theirs too, and their weight."""
    weight = fields.value(data, ARGUMENTS, "votes_weight")
    return files.stamp(locate(data.path)) + ([files.stamp(ferplus_votes.locate(data)), weight] if weight else [])


def read(data: ConfigDict, input: images.Geometry) -> Examples:
    """All rows of the csv at `data.path`, in their order, with the splits its Usage column names.

    With `data.args.votes_weight` the targets of Training are mixed from the label and the votes of FER+ for the seven
    expressions: (1 - weight) * label + weight * shares. A face without such votes keeps its label alone.

    Raises:
      UserError: what `parse` refuses, and votes that are missing or do not match the csv's rows.
    """
    path = locate(data.path)
    faces, emotions, usage = parse(path)
    votes, description = None, f"FER2013: {len(faces)} faces from {path.name}"
    if weight := fields.value(data, ARGUMENTS, "votes_weight"):
        votes_path = ferplus_votes.locate(data)
        votes = np.eye(len(labels.FER2013), dtype=np.float32)[emotions]
        for row, (use, counts) in enumerate(ferplus_votes.read(votes_path, usage, path)):
            shares = ferplus_votes.shares(counts, labels.FER2013)
            if use == SPLITS[0] and shares:
                votes[row] = (1 - weight) * votes[row] + weight * np.array(shares, np.float32)
        description += f", {weight:g} of each training target from the votes in {votes_path.name}"
    return Examples(
        images=images.fit_all(faces, len(faces), input),
        labels=emotions,
        split=usage,
        label_names=labels.FER2013,
        votes=votes,
        description=description,
    )


def parse(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images uint8 (N, 48, 48), labels int32 (N,) into `labels.FER2013`, and Usage str (N,), in the csv's order.

    Rows of empty fields, as spreadsheets append, are skipped.

    Raises:
      UserError: a missing column; with the line's number, a row that is cut off or has another number of pixels than
        2,304, a pixel that is no whole number of 0..255, an unknown emotion or Usage; a file without rows.
    """
    faces, emotions, usage = [], [], []
    # A byte that is not UTF-8 becomes U+FFFD and fails as not numeric.
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file, warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # of np.fromstring, in a numpy that does not raise yet
        csv.field_size_limit(MAX_FIELD)
        rows = csv.reader(file)
        try:
            columns = _columns(path, next(rows, []))
            for row in filter(any, rows):
                emotion, pixels, use = _fields(row, columns)
                faces.append(_pixels(pixels))
                emotions.append(emotion)
                usage.append(use)
        except (_WrongRow, csv.Error) as error:
            advice = "correct or remove the line" if faces else f"{REMEDY}; {OTHER_FACES}"
            raise UserError(f"{path}, line {rows.line_num}: {error}: {advice}") from None
    if not faces:
        raise UserError(f"{path}: no rows below the header, expected one a face: {REMEDY}")
    return (np.stack(faces).reshape(-1, SIDE, SIDE), np.array(emotions, np.int32), np.array(usage))


class _WrongRow(ValueError):
    """Describe what is wrong with a row."""


def _columns(path: pathlib.Path, header: list[str]) -> list[int]:
    """The positions of emotion, pixels and Usage, whatever their letters' case."""
    names = [name.strip() for name in header]
    lowered = [name.lower() for name in names]
    if missing := [name for name in COLUMNS if name.lower() not in lowered]:
        found = ", ".join(name[:20] for name in names[:8]) or "nothing"
        expected = f"expected {', '.join(COLUMNS)} in any order, with commas"
        raise UserError(f"{path}: no column {', '.join(missing)}: found {found}, {expected}: {REMEDY}; {OTHER_FACES}")
    return [lowered.index(name.lower()) for name in COLUMNS]


def _fields(row: list[str], columns: list[int]) -> tuple[int, str, str]:
    """A row's emotion as number, its pixels as text and its Usage."""
    if len(row) <= max(columns):
        raise _WrongRow(f"{len(row)} fields, expected {', '.join(COLUMNS)}")
    emotion, pixels, usage = (row[column].strip() for column in columns)
    if usage not in SPLITS:
        raise _WrongRow(f"Usage is {usage[:40]!r}, expected one of {', '.join(SPLITS)}")
    if not emotion.isdecimal() or int(emotion) >= len(labels.FER2013):
        known = ", ".join(f"{number} {name}" for number, name in enumerate(labels.FER2013))
        raise _WrongRow(f"emotion is {emotion[:40]!r}, expected one of {known}")
    return int(emotion), pixels, usage


def _pixels(text: str) -> np.ndarray:
    """The 2,304 numbers of a row, uint8.

    np.fromstring reads them four times as fast as Python can, and forgives too much (it wraps at 16 bits). But then the
    text is longer than the same numbers written plainly, so rows of the exact length hold exactly these numbers. Only a
    sign that stands alone, which it takes for 0, is no longer than that.
    """
    try:
        values = np.fromstring(text, np.int16, sep=" ")
    except (ValueError, DeprecationWarning):
        values = np.empty(0, np.int16)
    plain_length = 2 * PIXELS - 1 + np.count_nonzero(values > 9) + np.count_nonzero(values > 99)
    signs = "-" in text or "+" in text
    if values.size == PIXELS and len(text) == plain_length and not signs and values.max() <= 255:
        return values.astype(np.uint8)
    tokens = text.split()
    if len(tokens) != PIXELS:
        raise _WrongRow(f"{len(tokens)} pixels, expected {SIDE} x {SIDE} = {PIXELS}")
    for position, token in enumerate(tokens):
        if not (token.isascii() and token.isdigit() and len(token) < 9 and int(token) <= 255):
            raise _WrongRow(f"pixel {position + 1} is {token[:40]!r}, expected a whole number of 0..255")
    return np.array(tokens, np.uint8)
