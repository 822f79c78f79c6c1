"""A folder of images: one subfolder a class, optionally under one subfolder a split (train/, validation/, test/).

    faces/angry/1.png             faces/train/angry/1.png
    faces/happy/2.jpg     or      faces/train/happy/2.jpg
                                  faces/test/angry/3.png

Classes are numbered in the sorted order of their folders' names. Hidden files and what systems leave in folders of
images (Thumbs.db, desktop.ini, __MACOSX) are ignored. Everything else in a class folder must be an image.
"""

import functools
import pathlib

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fer_jax import files, labels
from fer_jax.data import classes, lazy
from fer_jax.data.examples import UNSPLIT, Examples
from fer_jax.data.sources import DataSet, folder_of
from fer_jax.errors import UserError
from fer_jax.preprocess import images

VERSION = 1
DATA_SET = DataSet(recognizes=lambda path: path.is_dir() and any(entry.is_dir() for entry in images.visible(path)))

LAYOUT = "expected one folder a class, each with its images, or such folders under train/ and test/"


def fingerprint(data: ConfigDict) -> list:
    """Path, size and modification time of each image, and the config's names of the splits."""
    return [data.train_split, data.select_split, data.test_split, *map(files.stamp, image_files(data))]


def read(data: ConfigDict, input: images.Geometry) -> Examples:
    """All images under `data.path`, by split, class and file name.

    train/, val[id[ation]]/ and test/ become `data.train_split`, `data.select_split` and `data.test_split`; without them
    every example is of the split `examples.UNSPLIT`. Names that differ by case, blanks or Unicode composition alone, as
    between systems, are one class.

    Raises:
      UserError: a folder without images, with one class only, with a file that is no image, whose splits have different
        classes, or with one file in two classes or splits by a link.
    """
    names, listing = _listing(data)
    classes.refuse_links((path, (split, label)) for split, label, path in listing)
    splits, numbers, paths = zip(*listing, strict=True)
    return Examples(
        images=lazy.of_files(paths, input),
        labels=np.array(numbers, np.int32),
        split=np.array(splits),
        label_names=names,
        description=f"{len(paths)} images from {files.name_of(data.path)}",
    )


def image_files(data: ConfigDict) -> list[pathlib.Path]:
    """The files of the images, in the order of `read`."""
    return [path for _, _, path in _listing(data)[1]]


def _listing(data: ConfigDict) -> tuple[tuple[str, ...], list[tuple[str, int, pathlib.Path]]]:
    """The classes' names and, for each image, its split, its label and its path."""
    root = folder_of(data, LAYOUT)
    parts = _splits(root, data)
    names: dict[str, str] = {}
    listing: list[tuple[str, int, pathlib.Path]] = []
    for split, folder in parts:
        found = _classes(folder)
        names = names or {meaning: path.name for meaning, path in found.items()}
        if set(found) != set(names):
            raise UserError(
                f"{folder}: classes {', '.join(path.name for path in found.values())}, expected those of "
                f"{parts[0][1]}, {', '.join(names.values())}: give every split the same class folders"
            )
        for label, meaning in enumerate(names):
            listing += [(split, label, path) for path in images.visible(found[meaning])]
    if not listing:
        raise UserError(f"{root}: no images in the folders {', '.join(names.values())}: {LAYOUT}")
    there = {label for _, label, _ in listing}
    if empty := [name for label, name in enumerate(names.values()) if label not in there]:
        raise UserError(f"{root}: no images of class {', '.join(empty)}: add some or remove the folder")
    return tuple(names.values()), listing


def _classes(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """{meaning: class folder}; UserError for fewer than two, a name that is not UTF-8, and two of one meaning."""
    found: dict[str, pathlib.Path] = {}
    for entry in map(files.expand, _folders(folder)):
        other = found.setdefault(labels.canonical(entry.name), entry)
        if other is not entry:
            raise UserError(
                f"{folder}: {other.name} and {entry.name} mean the same class: put their images into one folder"
            )
    if len(found) < 2:
        there = ", ".join(entry.name for entry in found.values()) or "none"
        raise UserError(f"{folder}: {len(found)} class folders ({there}): {LAYOUT}")
    return found


def _splits(root: pathlib.Path, data: ConfigDict) -> list[tuple[str, pathlib.Path]]:
    """The splits' names and folders: those of train/ and its like, or `root` itself as one."""
    found = [(classes.SPLIT_ROLES.get(entry.name.strip().lower(), ""), entry) for entry in _folders(root)]
    if not any(role for role, _ in found):
        return [(UNSPLIT, root)]
    if not all(role for role, _ in found):
        names = ", ".join(entry.name for _, entry in found)
        raise UserError(f"{root}: folders {names}, splits beside others: {LAYOUT}")
    order = list(dict.fromkeys(classes.SPLIT_ROLES.values()))
    return [(data[role], entry) for role, entry in sorted(found, key=lambda part: order.index(part[0]))]


def _folders(folder: pathlib.Path) -> list[pathlib.Path]:
    """The visible subfolders; files beside them belong to no class and are named in a warning."""
    entries = images.visible(folder)
    if broken := [entry.name for entry in entries if entry.is_symlink() and not entry.exists()]:
        raise UserError(f"{folder}: {', '.join(broken[:10])}: a link that leads nowhere: mend or remove it")
    if stray := [entry.name for entry in entries if not entry.is_dir()]:
        _warn_of_stray(folder, len(stray), stray[0])
    return [entry for entry in entries if entry.is_dir()]


@functools.cache  # a folder is listed more than once, and said once
def _warn_of_stray(folder: pathlib.Path, count: int, first: str) -> None:
    logging.warning("%s: %d files in no class folder are ignored (%s ...)", folder, count, first)
