"""A training folder out of photographs: the faces in them, cut out as they will be when the network serves."""

import csv
import dataclasses
import itertools
import os
import pathlib
from collections.abc import Sequence

import cv2
import numpy as np
import tqdm
from absl import logging

from fer_jax import files
from fer_jax.errors import UserError
from fer_jax.faces import cropping, detection
from fer_jax.preprocess import images

LISTING = "extracted.csv"  # in the folder of faces
COLUMNS = ("photograph", "finding", "face", "left", "top", "width", "height", "roll_degrees")


@dataclasses.dataclass(frozen=True)
class Extraction:
    """Outcome of an extraction: paths below the source folder, and the number of faces written."""

    with_face: tuple[str, ...]
    without_face: tuple[str, ...]
    unreadable: tuple[str, ...]
    faces: int


def extract(
    source: pathlib.Path, out: pathlib.Path, detector: detection.Detector, every_face: bool = False, size: int = 0
) -> Extraction:
    """Cut the faces out of all images below `source` into the same folders below `out`.

    `out` appears at the end; where an error or Ctrl-C comes before, with the faces found so far.

    The square that is cut is `cropping.CROP`'s for the detector, as in serving, straightened by the roll the detector
    reports. Faces are written as PNG in the photograph's colors, named as it; `LISTING` in `out` says for every
    photograph what was found where. Hidden files and folders are ignored.

    Args:
      every_face: all faces of a photograph, else the largest, which is whom a label most likely means.
      size: side of the written squares in pixels, 0 keeps that of the photograph.

    Raises:
      UserError: `source` is no folder or has no files; `out` is within it, or is there and not empty.
    """
    photographs = _checked(source, out)
    stopped: BaseException | None = None
    with files.atomic_path(out) as tmp:
        tmp.mkdir(parents=True)
        try:
            found = _write(photographs, source, tmp, detector, every_face, size)
        except (Exception, KeyboardInterrupt) as error:
            if not any(tmp.rglob("*.png")):
                raise
            stopped = error
    if stopped is not None:
        logging.warning("stopped before the end: the faces so far are in %s", out)
        raise stopped
    return found


def _checked(source: pathlib.Path, out: pathlib.Path) -> list[pathlib.Path]:
    """The files below `source`; UserError where there are none or `out` is no place for their faces."""
    if not source.is_dir():
        raise UserError(f"--source={source} is no folder: expected photographs, in a folder for each class")
    if out.resolve().is_relative_to(source.resolve()):
        raise UserError(f"--out={out} is within --source={source}: give a folder outside of it")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out={out} is there already and not empty: give another folder or remove it")
    photographs = list(images.below(source))
    if not photographs:
        raise UserError(f"--source={source} has no files: expected photographs, in a folder for each class")
    return photographs


def _write(
    photographs: Sequence[pathlib.Path],
    source: pathlib.Path,
    folder: pathlib.Path,
    detector: detection.Detector,
    every_face: bool,
    size: int,
) -> Extraction:
    """Write the squares and the listing. For the arguments see `extract`."""
    policy = cropping.CropPolicy.of(cropping.CROP, detector.name)
    names: dict[str, list[str]] = {"face": [], "no face": [], "unreadable": []}
    written: set[pathlib.Path] = set()
    with (folder / LISTING).open("w", newline="", encoding="utf-8", errors="surrogateescape") as listing:
        rows = csv.writer(listing)
        rows.writerow(COLUMNS)
        for path in tqdm.tqdm(photographs, unit="photograph", disable=None):
            name = path.relative_to(source)
            try:
                photograph = np.ascontiguousarray(images.read(path)[..., ::-1])
            except UserError:
                faces, finding = [], "unreadable"
            else:
                faces = sorted(detector.detect(photograph), key=lambda face: -face.box[2] * face.box[3])
                finding = "face" if faces else "no face"
            names[finding].append(name.as_posix())
            if not faces:
                rows.writerow((name.as_posix(), finding, *[""] * (len(COLUMNS) - 2)))
            for number, face in enumerate(faces if every_face else faces[:1], 1):
                square = cropping.cut(photograph, face.box, policy, face.roll)
                if size:
                    shrinks = cv2.INTER_AREA if size < len(square) else cv2.INTER_LINEAR
                    square = cv2.resize(square, (size, size), interpolation=shrinks)
                target = _target(name, number, written)
                images.write(folder / target, square)
                numbers = ("" if value is None else f"{value:.1f}" for value in (*face.box, face.roll))
                rows.writerow((name.as_posix(), finding, target.as_posix(), *numbers))
    return Extraction(tuple(names["face"]), tuple(names["no face"]), tuple(names["unreadable"]), len(written))


def _target(photograph: pathlib.Path, number: int, written: set[pathlib.Path]) -> pathlib.Path:
    """Path of a photograph's face: a.png; a_2.png for its second; a_jpg.png for a.jpg's where a.png has been."""
    suffix = ".png" if number == 1 else f"_{number}.png"
    again = (f"{f'-{i}' if i > 1 else ''}" for i in itertools.count(1))
    endings = itertools.chain([suffix], (f"_{photograph.suffix[1:]}{suffix[:-4]}{n}.png" for n in again))
    for ending in endings:
        stem = os.fsencode(photograph.stem)[: files.MAX_NAME_BYTES - len(os.fsencode(ending))]
        target = photograph.with_name(os.fsdecode(stem) + ending)
        if target not in written:
            written.add(target)
            return target
    raise AssertionError("the numbers do not end")
