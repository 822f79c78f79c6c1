"""CK+, the extended Cohn-Kanade set (Lucey et al., 2010): image sequences of 123 people from neutral to an expression.

Two layouts are read, the one that is there:

    ckplus/anger/S010_004_00000017.png              folders of images by expression, as passed on ready for training;
    ckplus/happy/S010_006_00000015.png              the person is the beginning of the name

    ckplus/cohn-kanade-images/S010/004/S010_004_00000001.png     as distributed; the last three frames of each
    ckplus/Emotion/S010/004/S010_004_00000017_emotion.txt        sequence that has a label are taken: 981 images

The frames of the second are 640x490 with a face in the middle: `fer-jax extract-faces` cuts the faces out and
keeps the folders.
"""

import contextlib
import pathlib
import re

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fer_jax import files, labels
from fer_jax.data import lazy
from fer_jax.data.examples import UNSPLIT, Examples
from fer_jax.data.sources import DataSet, folder_of
from fer_jax.errors import UserError
from fer_jax.preprocess import images

VERSION = 1
DATA_SET = DataSet(
    labels.CKPLUS,
    terms="CK+ is for non-commercial research, under a signed agreement",
    recognizes=lambda path: (path / FRAMES_FOLDER).is_dir(),
)

FRAMES = 3  # of the end of a sequence, where the expression is at its height
FRAMES_FOLDER, LABELS_FOLDER = "cohn-kanade-images", "Emotion"
LAYOUT = (
    f"expected CK+ as {FRAMES_FOLDER}/ beside {LABELS_FOLDER}/, or a folder for each of "
    f"{', '.join(labels.CKPLUS)} (https://www.jeffcohn.net/Resources)"
)

_NAME = re.compile(r"(?P<person>S\d+)_\d+_\d+", re.IGNORECASE)


def fingerprint(data: ConfigDict) -> list:
    """Path, size and modification time of each image, and its label."""
    return [[label, *files.stamp(path)] for path, label, _ in _listing(data)[0]]


def read(data: ConfigDict, input: images.Geometry) -> Examples:
    """The images with their person as subject, by expression or by person and sequence; no splits.

    The classes are always `labels.CKPLUS` in that order. Hidden files are ignored. Sequences without a label are
    skipped, and the description says how many. Raises UserError for a folder in neither layout, an unknown expression,
    a name without a person, a label file without a number from 1 to 7, and a labeled sequence without images.
    """
    listing, skipped = _listing(data)
    paths, numbers, people = zip(*listing, strict=True)
    description = f"CK+: {len(paths)} images of {len(set(people))} people from {files.name_of(data.path)}"
    if skipped:
        description += f"; {skipped} sequences without a label are skipped"
    return Examples(
        images=lazy.of_files(paths, input),
        labels=np.array(numbers, np.int32),
        split=np.full(len(paths), UNSPLIT),
        label_names=labels.CKPLUS,
        subjects=np.array(people),
        description=description,
    )


def image_files(data: ConfigDict) -> list[pathlib.Path]:
    """The files of the images, in the order of `read`."""
    return [path for path, _, _ in _listing(data)[0]]


def _listing(data: ConfigDict) -> tuple[list[tuple[pathlib.Path, int, str]], int]:
    """Path, label and person of each image; and the number of sequences without a label."""
    root = folder_of(data, LAYOUT)
    listing, skipped = _sequences(root) if (root / FRAMES_FOLDER).is_dir() else (_by_expression(root), 0)
    if not listing:
        raise UserError(f"{root}: no labeled images in it ({skipped} sequences without a label): {LAYOUT}")
    return listing, skipped


def _by_expression(root: pathlib.Path) -> list[tuple[pathlib.Path, int, str]]:
    numbers = {labels.canonical(name): number for number, name in enumerate(labels.CKPLUS)}
    listing = []
    for folder in filter(pathlib.Path.is_dir, images.visible(root)):
        if labels.canonical(folder.name) not in numbers:
            raise UserError(f"{folder}: no expression of CK+: {LAYOUT}")
        for path in images.visible(folder):
            if not (match := _NAME.match(path.name)):
                raise UserError(
                    f"{path}: the name does not begin with person, sequence and frame, expected one as "
                    "S010_004_00000017.png; config.data.source=folder reads images of any name"
                )
            listing.append((path, numbers[labels.canonical(folder.name)], match["person"].upper()))
    return listing


def _sequences(root: pathlib.Path) -> tuple[list[tuple[pathlib.Path, int, str]], int]:
    if not (root / LABELS_FOLDER).is_dir():
        raise UserError(f"{root}: {FRAMES_FOLDER}/ without {LABELS_FOLDER}/ beside it: {LAYOUT}")
    listing, skipped = [], 0
    for person in filter(pathlib.Path.is_dir, images.visible(root / FRAMES_FOLDER)):
        for sequence in filter(pathlib.Path.is_dir, images.visible(person)):
            folder = root / LABELS_FOLDER / person.name / sequence.name
            files = [path for path in images.visible(folder) if path.suffix == ".txt"] if folder.is_dir() else []
            if not files:
                skipped += 1
                continue
            frames = [path for path in images.visible(sequence) if path.is_file()][-FRAMES:]
            if not frames:
                raise UserError(f"{sequence}: no images, but {files[0].name} labels them: unpack the images again")
            label = _label(files[0])
            listing += [(path, label, person.name) for path in frames]
    if skipped:
        logging.info("%s: %d sequences without a label are skipped", root, skipped)
    return listing, skipped


def _label(path: pathlib.Path) -> int:
    """A label file holds one number such as "   3.0000000e+00", counted from 1."""
    text = path.read_text(encoding="utf-8", errors="replace").strip()
    with contextlib.suppress(ValueError):
        if (number := float(text)) in range(1, len(labels.CKPLUS) + 1):
            return int(number) - 1
    first, *_, last = labels.CKPLUS
    raise UserError(f"{path}: {text[:40]!r}, expected a number from 1 ({first}) to {len(labels.CKPLUS)} ({last})")
