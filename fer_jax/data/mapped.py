"""Examples as a folder of plain arrays, which is opened without reading the images.

    images.npy     uint8 (N, H, W, C)          labels.npy    int32 (N,)
    split.npy      str (N,)                    subjects.npy  str (N,), where people are known
    votes.npy      float32 (N, classes), where there are votes
    digests.npy    uint64 (N,), a hash of each image, see `fer_jax.data.identity`
    manifest.json  the rest, with the size and the CRC-32 of everything

The images are mapped into memory: the operating system reads the pages that a batch needs and forgets them when it
needs room. What is checked at each opening is said at `open_folder`.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import zlib
from typing import Any, BinaryIO

import numpy as np

from fer_jax import files
from fer_jax.data import lazy
from fer_jax.data.examples import Examples

FORMAT = 4  # a part of the folder's name, see `cache.path_of`
MANIFEST, IMAGES = "manifest.json", "images.npy"
ARRAYS = ("labels", "split", "subjects", "votes")
DIGESTS = "digests"
CHECKED_BLOCKS = 32  # of the images, at each opening; all of FER2013


class DamagedError(Exception):
    """A folder that is not what was written."""


def create_images(folder: pathlib.Path, shape: tuple[int, ...]) -> int:
    """Make images.npy of black images, which takes no room on the disk yet; the place in the file where they begin."""
    return np.lib.format.open_memmap(folder / IMAGES, "w+", np.uint8, shape).offset


def offset_of_images(folder: pathlib.Path) -> int:
    """The place in images.npy where the first image begins."""
    return np.lib.format.open_memmap(folder / IMAGES, "r").offset


def map_images(folder: pathlib.Path) -> np.ndarray:
    """The images in a folder, read-only."""
    return np.asarray(np.load(folder / IMAGES, mmap_mode="r", allow_pickle=False))


def digests_of(images: np.ndarray) -> np.ndarray | None:
    """uint64 (N,), the kept digests of mapped images or of a selection of them; None where none are kept."""
    source, rows = (images.source, images.rows) if isinstance(images, lazy.Selection) else (images, slice(None))
    if isinstance(source, lazy.Decoded):
        return None if source.digests is None else source.digests[rows]
    mapping = getattr(source, "base", None)
    if not isinstance(mapping, np.memmap) or mapping.shape != source.shape or mapping.filename is None:
        return None
    path = pathlib.Path(mapping.filename).with_name(f"{DIGESTS}.npy")
    return np.load(path, allow_pickle=False)[rows] if path.exists() else None


def write_rest(folder: pathlib.Path, examples: Examples, checksums: list[int], digests: np.ndarray) -> None:
    """Write everything but images.npy, the manifest last.

    `checksums` are the CRC-32 of each block of the images, `digests` a hash of each image.
    """
    arrays = {}
    for name in (*ARRAYS, DIGESTS):
        if (value := digests if name == DIGESTS else getattr(examples, name)) is not None:
            path = folder / f"{name}.npy"
            np.save(path, value, allow_pickle=False)
            arrays[name] = {"bytes": path.stat().st_size, "crc32": zlib.crc32(path.read_bytes())}
    stat = (folder / IMAGES).stat()
    images = {"shape": list(examples.images.shape), "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    manifest = {
        "format": FORMAT,
        "label_names": list(examples.label_names),
        "description": examples.description,
        "arrays": arrays,
        "images": images | {"rows_of_block": lazy.rows_of_block(examples.images.shape), "crc32": checksums},
    }
    files.write_json(folder / MANIFEST, manifest)


def open_folder(folder: pathlib.Path) -> Examples:
    """The examples in a folder, their images mapped.

    Of the images, `CHECKED_BLOCKS` blocks of about 4 MB at even distances are compared with their checksums, which are
    all of a small set; all are where the file's time is not the one it was written at, as after a copy. The other
    arrays are compared whole.

    Raises:
      DamagedError: anything is missing, shorter, or other than what was written.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise DamagedError(f"format {manifest['format']}, expected {FORMAT}")
        _check_images(folder / IMAGES, manifest["images"])
        arrays: dict[str, Any] = {
            name: _array(folder / f"{name}.npy", about) for name, about in manifest["arrays"].items()
        }
        arrays.pop(DIGESTS, None)  # are looked for when a run's data is identified
        return Examples(
            images=map_images(folder),
            label_names=tuple(manifest["label_names"]),
            description=manifest["description"],
            **arrays,
        )
    except DamagedError:
        raise
    except Exception as error:  # one flipped byte of JSON or of a header gives anything
        raise DamagedError(f"{type(error).__name__}: {error}") from error


def digest(folder: pathlib.Path) -> str:
    """SHA-256 of the manifest's checksums, names and shapes, which stands for all that the folder holds."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest["images"].pop("mtime_ns")
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def checksum_of_block(file: BinaryIO, offset: int, shape: tuple[int, ...], block: int) -> int:
    """The CRC-32 of a block of the images in `file`, that begin at `offset`."""
    row, rows = int(np.prod(shape[1:], dtype=np.int64)), lazy.rows_of_block(shape)
    file.seek(offset + block * rows * row)
    return zlib.crc32(file.read(min(rows, shape[0] - block * rows) * row))


def _array(path: pathlib.Path, about: dict[str, Any]) -> np.ndarray:
    content = path.read_bytes()
    if len(content) != about["bytes"] or zlib.crc32(content) != about["crc32"]:
        raise DamagedError(f"{path.name} is not what was written")
    return np.load(path, allow_pickle=False)


def _check_images(path: pathlib.Path, about: dict[str, Any]) -> None:
    stat, shape, checksums = path.stat(), tuple(about["shape"]), about["crc32"]
    if stat.st_size != about["bytes"]:
        raise DamagedError(f"{path.name} has {stat.st_size} bytes, expected {about['bytes']}")
    if about["rows_of_block"] != lazy.rows_of_block(shape) or len(checksums) != len(list(lazy.blocks(shape))):
        raise DamagedError("its checksums are of other blocks")
    chosen = np.arange(len(checksums))
    if stat.st_mtime_ns == about["mtime_ns"] and len(chosen) > CHECKED_BLOCKS:
        chosen = np.linspace(0, len(chosen) - 1, CHECKED_BLOCKS).round().astype(int)
    offset = stat.st_size - int(np.prod(shape, dtype=np.int64))
    with path.open("rb") as file:
        for block in chosen:
            if checksum_of_block(file, offset, shape, int(block)) != checksums[block]:
                raise DamagedError(f"{path.name} is not what was written")
