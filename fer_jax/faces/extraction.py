"""A training folder out of photographs: the faces in them, cut out as they will be when the network serves."""

from __future__ import annotations

import csv
import dataclasses
import pathlib
from collections.abc import Iterator

import cv2
import numpy as np
import tqdm

from fer_jax import files
from fer_jax.errors import UserError
from fer_jax.faces import cropping, detection
from fer_jax.preprocess import images

LISTING = "extracted.csv"  # in the folder of faces
COLUMNS = ("photograph", "finding", "face", "left", "top", "width", "height", "roll_degrees")


@dataclasses.dataclass(frozen=True)
class Extraction:
    """What became of the photographs: paths below the source folder, and the number of faces written."""

    with_face: tuple[str, ...]
    without_face: tuple[str, ...]
    unreadable: tuple[str, ...]
    faces: int


def extract(
    source: pathlib.Path, out: pathlib.Path, detector: detection.Detector, every_face: bool = False, size: int = 0
) -> Extraction:
    """Cut the faces out of all images below `source` into the same folders below `out`, which appears whole at the end.

    The square that is cut is `faces.CROP`'s for the detector, as in serving, straightened by the roll the detector
    reports. Faces are written as PNG in the photograph's colours, named as it; `LISTING` in `out` says for every
    photograph what was found where. Hidden files and folders are ignored.

    Args:
      every_face: all faces of a photograph, else the largest, which is whom a label most likely means.
      size: side of the written squares in pixels, 0 keeps that of the photograph.

    Raises:
      UserError: `source` is no folder or has no files; `out` is within it, or is there and not empty.
    """
    if not source.is_dir():
        raise UserError(f"--source={source} is no folder: expected photographs, in a folder for each class")
    if out.resolve().is_relative_to(source.resolve()):
        raise UserError(f"--out={out} is within --source={source}: give a folder outside of it")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out={out} is there already and not empty: give another folder or remove it")
    photographs = list(_files(source))
    if not photographs:
        raise UserError(f"--source={source} has no files: expected photographs, in a folder for each class")
    policy = cropping.CropPolicy.of(cropping.CROP, detector.name)
    found: dict[str, list[str]] = {"face": [], "no face": [], "unreadable": []}
    written = set()
    with files.atomic_path(out) as tmp:
        tmp.mkdir(parents=True)
        with (tmp / LISTING).open("w", newline="", encoding="utf-8") as listing:
            rows = csv.writer(listing)
            rows.writerow(COLUMNS)
            for path in tqdm.tqdm(photographs, unit="photograph", disable=None):
                name = path.relative_to(source).as_posix()
                try:
                    photograph = np.ascontiguousarray(images.read(path)[..., ::-1])
                except UserError:
                    detected, finding = [], "unreadable"
                else:
                    detected = sorted(detector.detect(photograph), key=lambda face: -face.box[2] * face.box[3])
                    finding = "face" if detected else "no face"
                found[finding].append(name)
                if not detected:
                    rows.writerow((name, finding, *[""] * (len(COLUMNS) - 2)))
                for number, face in enumerate(detected if every_face else detected[:1], 1):
                    square = cropping.cut(photograph, face.box, policy, face.roll)
                    if size:
                        shrinks = size < len(square)
                        square = cv2.resize(
                            square, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
                        )
                    target = _target(path.relative_to(source), number, written)
                    (tmp / target).parent.mkdir(parents=True, exist_ok=True)
                    (tmp / target).write_bytes(cv2.imencode(".png", square)[1].tobytes())
                    rows.writerow(
                        (name, finding, target.as_posix(), *(f"{value:.1f}" for value in face.box), f"{face.roll:.1f}")
                    )
    return Extraction(tuple(found["face"]), tuple(found["no face"]), tuple(found["unreadable"]), len(written))


def _files(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    for entry in images.visible(folder):
        if entry.is_dir():
            yield from _files(entry)
        else:
            yield entry


def _target(photograph: pathlib.Path, number: int, written: set[pathlib.Path]) -> pathlib.Path:
    """Where a photograph's face goes: a.png; a_2.png for its second; a_jpg.png for a.jpg's where a.png has been."""
    suffix = "" if number == 1 else f"_{number}"
    target = photograph.with_name(f"{photograph.stem}{suffix}.png")
    if target in written:
        target = photograph.with_name(f"{photograph.stem}_{photograph.suffix[1:]}{suffix}.png")
    if target in written:
        raise UserError(f"{photograph}: its face would be {target}, which another photograph has: rename it")
    written.add(target)
    return target
