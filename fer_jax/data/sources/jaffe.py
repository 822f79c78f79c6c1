"""JAFFE, the Japanese Female Facial Expression set (Lyons et al., 1998): 213 gray photographs of 256x256, 10 people.

Everything is in a file's name: `KA.AN1.39.tiff` is person KA, angry, her first such picture, number 39 of the set.
"""

import pathlib
import re

import numpy as np
from ml_collections import ConfigDict

from fer_jax import files, labels
from fer_jax.data import lazy
from fer_jax.data.examples import UNSPLIT, Examples
from fer_jax.data.sources import DataSet, folder_of
from fer_jax.errors import UserError
from fer_jax.preprocess import images

VERSION = 1
DATA_SET = DataSet(
    labels.JAFFE,
    terms="JAFFE is for non-commercial research, by its terms",
    recognizes=lambda path: path.is_dir() and any(entry.suffix.lower() in SUFFIXES for entry in images.visible(path)),
)

CODES = {"AN": "angry", "DI": "disgust", "FE": "fear", "HA": "happy", "SA": "sad", "SU": "surprise", "NE": "neutral"}
SUFFIXES = (".tiff", ".tif", ".png", ".jpg", ".jpeg", ".bmp")
LAYOUT = "expected JAFFE's images, named as KA.AN1.39.tiff (https://zenodo.org/records/14974867)"

_NAME = re.compile(r"(?P<person>[A-Z]{2})\.(?P<code>[A-Z]{2})\d*\.\d+", re.IGNORECASE)


def fingerprint(data: ConfigDict) -> list:
    """Path, size and modification time of each image."""
    return [files.stamp(path) for path in image_files(data)]


def read(data: ConfigDict, input: images.Geometry) -> Examples:
    """All images in the folder `data.path`, with the person as subject, in the order of their names; no splits.

    Hidden files and files that are no images, such as the set's README, are ignored. Raises UserError where there are
    no images, and for an image whose name has no person or expression.
    """
    paths = image_files(data)
    names = [_parse(path) for path in paths]
    subjects = np.array([person for person, _ in names])
    return Examples(
        images=lazy.of_files(paths, input),
        labels=np.array([labels.JAFFE.index(name) for _, name in names], np.int32),
        split=np.full(len(paths), UNSPLIT),
        label_names=labels.JAFFE,
        subjects=subjects,
        description=f"JAFFE: {len(paths)} images of {len(set(subjects))} people from {files.name_of(data.path)}",
    )


def image_files(data: ConfigDict) -> list[pathlib.Path]:
    """The files of the images, in the order of `read`."""
    root = folder_of(data, LAYOUT)
    if found := [path for path in images.visible(root) if path.suffix.lower() in SUFFIXES]:
        return found
    raise UserError(f"{root}: no images in it: {LAYOUT}")


def _parse(path: pathlib.Path) -> tuple[str, str]:
    """Person and expression from a file's name."""
    if not (match := _NAME.fullmatch(path.stem)):
        raise UserError(f"{path}: the name has no person and expression: {LAYOUT}")
    code = match["code"].upper()
    if code not in CODES:
        raise UserError(f"{path}: the name has no expression, {code} is none: expected one of {', '.join(CODES)}")
    return match["person"].upper(), CODES[code]
