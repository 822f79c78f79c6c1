"""Cache of what a source read, kept on disk as plain arrays, so that decoding is done once.

    images.npy     uint8 (N, H, W, C)          labels.npy    int32 (N,)
    split.npy      str (N,)                    subjects.npy  str (N,), where people are known
    votes.npy      float32 (N, classes), where there are votes
    digests.npy    uint64 (N,), a hash of each image, see `fer_jax.data.identity`
    manifest.json  the rest

The images are mapped into memory: the operating system reads the pages that a batch needs and forgets them when it
needs room. A set is written beside the place where it will appear, and renamed when it is whole.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import pathlib
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import filelock
import numpy as np
from absl import logging
from ml_collections import ConfigDict
from tqdm import tqdm

from fer_jax import files
from fer_jax.data import identity, lazy, sources
from fer_jax.data.examples import PER_EXAMPLE, Examples
from fer_jax.errors import UserError

FORMAT = 5  # a part of the folder's name, see `path_of`
MANIFEST, IMAGES = "manifest.json", "images.npy"
SPARE_BYTES = 64 << 20  # that stay free on the disk
MAX_BYTES_IN_MEMORY = 1 << 30  # of the images, that are used without a cache where none can be written


def folder(cache_dir: str) -> pathlib.Path:
    """The folder of the caches: `cache_dir`, or "fer_jax" in the user's cache directory (XDG) when it is empty."""
    return files.expand(cache_dir) if cache_dir else files.user_cache()


def path_of(data: ConfigDict, input: ConfigDict) -> pathlib.Path:
    """The cached folder of what `config.data.source` would read.

    Its name holds a hash of all that decides the content, and of the format, so that versions of this package that
    share a cache neither read nor replace what the other one wrote.
    """
    source = sources.find(data.source)
    read_by = [data.source, source.VERSION, source.fingerprint(data), *([] if data.cache else ["without images"])]
    key = [FORMAT, *read_by, input.size, input.channels, input.resize]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    return folder(data.cache_dir) / f"{data.source}-{digest}"


def read(data: ConfigDict, input: ConfigDict) -> Examples:
    """Read the source's examples, from the cache where it is there and whole, else from the source and then kept.

    A damaged cache is logged and made anew. Of several processes one prepares it while the others wait. Where nothing
    can be written, a set of at most `MAX_BYTES_IN_MEMORY` is used all the same. With `config.data.cache=false` all but
    the images is kept: they are decoded whenever a batch needs them.

    Raises:
      UserError: what the source raises, unreadable images, no room for a larger set.
    """
    path, source = path_of(data, input), sources.find(data.source)
    if (examples := _open(path)) is not None:
        return examples if data.cache else dataclasses.replace(examples, images=source.read(data, input).images)
    prepared = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path):
            if data.cache and (examples := _open(path)) is not None:
                return examples
            where = f"{data.source} {data.path}".strip()
            logging.info("reading %s%s", where, ", which is kept for later runs" if data.cache else "")
            prepared = source.read(data, input)
            files.remove_leftovers(path.parent, path.name)
            _write(path, prepared, data.cache)
        return _opened(path) if data.cache else dataclasses.replace(_opened(path), images=prepared.images)
    except OSError as error:
        return _in_memory(source.read(data, input) if prepared is None else prepared, path, error)


def _open(path: pathlib.Path) -> Examples | None:
    """The cached examples; None where there are none or where they are damaged, which is logged."""
    if not path.exists():
        return None
    try:
        return _opened(path)
    except Exception as error:  # damage of JSON or of a header raises anything
        logging.warning("%s is damaged (%s: %s): reading the data again", path, type(error).__name__, error)
        return None


def _opened(path: pathlib.Path) -> Examples:
    """The examples in a folder, their images mapped; black ones where the images are not kept."""
    manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    if manifest["images"]:
        images = np.asarray(np.load(path / IMAGES, mmap_mode="r", allow_pickle=False))
    else:
        images = np.broadcast_to(np.uint8(0), manifest["shape"])
    arrays: dict[str, Any] = {name: np.load(path / f"{name}.npy", allow_pickle=False) for name in manifest["arrays"]}
    if list(images.shape) != manifest["shape"]:
        raise ValueError(f"{IMAGES} has the shape {images.shape}, expected {manifest['shape']}")
    return Examples(images, label_names=tuple(manifest["label_names"]), description=manifest["description"], **arrays)


def _write(path: pathlib.Path, examples: Examples, images: bool) -> None:
    """Write the examples to `path`, whole or not at all.

    Raises:
      UnreadableError: images cannot be decoded.
      OSError: with ENOSPC where there is no room.
    """
    with files.atomic_path(path) as folder:
        folder.mkdir()
        if images:
            needed, free = examples.images.nbytes, shutil.disk_usage(folder).free
            if needed + SPARE_BYTES > free:
                reason = f"{needed / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free on its disk"
                raise OSError(errno.ENOSPC, reason, str(folder))
        digests = _write_images(folder / IMAGES, examples.images) if images else identity.digests(examples)
        examples = dataclasses.replace(examples, digests=digests)
        arrays = [name for name in PER_EXAMPLE if getattr(examples, name) is not None]
        for name in arrays:
            np.save(folder / f"{name}.npy", getattr(examples, name), allow_pickle=False)
        manifest = {
            "label_names": examples.label_names,
            "description": examples.description,
            "shape": examples.images.shape,
            "images": images,
            "arrays": arrays,
        }
        files.write_json(folder / MANIFEST, manifest)


def _write_images(path: pathlib.Path, images: np.ndarray) -> np.ndarray:
    """Write images.npy; uint64 (N,), the digests of the images."""
    header = {"descr": "|u1", "fortran_order": False, "shape": tuple(images.shape)}
    bar = tqdm(total=len(images), desc="preparing", unit="img", unit_scale=True, delay=1, disable=None, file=sys.stderr)
    digests = [np.empty(0, np.uint64)]
    with path.open("wb") as file, bar:
        np.lib.format.write_array_header_1_0(file, header)
        for block, of_block in lazy.map_blocks(images, lambda block: (block, identity.hashes(block))):
            file.write(np.ascontiguousarray(block).data)
            digests.append(of_block)
            bar.update(len(block))
    return np.concatenate(digests)


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[None]:
    """Let one process at a time prepare `path`; where the file system has no locks, each prepares its own."""
    lock = filelock.FileLock(path.with_name(f".{path.name}.lock"))
    try:
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            logging.info("another process prepares %s: waiting for it", path)
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        logging.warning("%s cannot be locked (%s): other processes may prepare it too", path, error)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            pathlib.Path(lock.lock_file).unlink()
        lock.release()


def _in_memory(examples: Examples, path: pathlib.Path, error: OSError) -> Examples:
    """The examples with their images in memory, for `path` could not be written because of `error`."""
    reason = f"cannot keep the data as {path} ({error.strerror})"
    if examples.images.nbytes > MAX_BYTES_IN_MEMORY:
        raise UserError(
            f"{reason}, and {examples.images.nbytes / 1e6:.0f} MB are too much for memory: make room, or set "
            "config.data.cache_dir to a folder on another disk"
        )
    logging.warning("%s: set config.data.cache_dir", reason)
    return dataclasses.replace(examples, images=np.asarray(examples.images))
