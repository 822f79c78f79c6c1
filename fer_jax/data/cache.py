"""What a source read, kept on disk as mapped arrays, so that decoding is done once."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
from typing import Any, cast

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fer_jax import files
from fer_jax.data import identity, lazy, mapped, preparation, sources
from fer_jax.data.examples import Examples
from fer_jax.errors import UserError

MAX_BYTES_IN_MEMORY = 1 << 30  # of the images, that are used without a cache where none can be written


def folder(cache_dir: str) -> pathlib.Path:
    """The folder of the caches: `cache_dir`, or "fer_jax" in the user's cache directory (XDG) when it is empty."""
    if cache_dir:
        return files.expand(cache_dir)
    return files.user_cache()


def path_of(data: ConfigDict, input: ConfigDict) -> pathlib.Path:
    """The cached folder of what `config.data.source` would read.

    Its name holds a hash of all that decides the content, and of the format, so that versions of this package that
    share a cache neither read nor replace what the other one wrote.
    """
    source = sources.find(data.source)
    read_by = [data.source, source.VERSION, source.fingerprint(data)]
    key = [mapped.FORMAT, *read_by, input.size, input.channels, input.resize]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    return folder(data.cache_dir) / f"{data.source}-{digest}"


def read(data: ConfigDict, input: ConfigDict) -> Examples:
    """What the source reads, from the cache where it is there and whole, else from the source and then kept.

    The images are mapped, see `fer_jax.data.mapped`. A cache that is not what was written is said in one line and made
    anew. Of several processes one prepares it while the others wait. Where nothing can be written, a set of at most
    `MAX_BYTES_IN_MEMORY` is used all the same. With `config.data.cache=false` no image is kept: they are decoded
    whenever a batch needs them.

    Raises:
      UserError: what the source raises, no room for a larger set, and a source whose images come in one order only and
        shall not be kept.
    """
    path = path_of(data, input)
    if not data.cache:
        return _unkept(data, input, path.with_name(f"{path.name}.digests.npy"))
    if (examples := _open(path)) is not None:
        return examples
    prepared = None
    try:
        with preparation.turn(path) as partial:
            if (examples := _open(path)) is not None:
                return examples
            logging.info("reading %s %s: later runs take it from the cache", data.source, data.path)
            prepared = sources.find(data.source).read(data, input)
            preparation.write(partial, path, prepared)
            return mapped.open_folder(path)
    except OSError as error:
        if prepared is None:
            prepared = sources.find(data.source).read(data, input)
        return _in_memory(prepared, path, error)


def _unkept(data: ConfigDict, input: ConfigDict, digests: pathlib.Path) -> Examples:
    """What the source reads, its images as they are stored; of these the digests alone are kept, in a file."""
    examples = sources.find(data.source).read(data, input)
    images = cast(Any, examples.images)
    if isinstance(images, lazy.Streamed):
        raise UserError(
            f"config.data.cache is false, but what {data.source} reads comes in one order only: leave it true, so that "
            "the images are kept where they can be read in any order"
        )
    if isinstance(images, lazy.Decoded):
        images.digests = _kept_digests(digests, len(images))
        if images.digests is None:
            logging.info("reading %s %s once, to know its images again", data.source, data.path)
            images.digests = identity.digests(cast(np.ndarray, images))
            try:
                with files.atomic_path(digests) as tmp:
                    np.save(tmp, images.digests, allow_pickle=False)
            except OSError as error:
                logging.warning("cannot keep %s (%s): the next run reads all images again", digests, error.strerror)
    return examples


def _kept_digests(path: pathlib.Path, count: int) -> np.ndarray | None:
    """uint64 (count,), or None where the file is not there or not whole."""
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == (count,) and found.dtype == np.uint64 else None


def _open(path: pathlib.Path) -> Examples | None:
    """The cached examples; None where there are none or where they are damaged, which is logged."""
    if not path.exists():
        return None
    try:
        return mapped.open_folder(path)
    except mapped.DamagedError as error:
        logging.warning("%s is damaged (%s): reading the data again", path, error)
        return None


def _in_memory(examples: Examples, path: pathlib.Path, error: OSError) -> Examples:
    """The examples with their images in memory, for `path` could not be written because of `error`."""
    reason = f"cannot keep the data as {path} ({error.strerror})"
    if examples.images.nbytes > MAX_BYTES_IN_MEMORY:
        raise UserError(
            f"{reason}, and {examples.images.nbytes / 1e6:.0f} MB are too much for memory: make room, or set "
            "config.data.cache_dir to a folder on another disk; the next run goes on where this one stopped"
        )
    preparation.discard(path)
    logging.warning("%s: set config.data.cache_dir", reason)
    return dataclasses.replace(examples, images=np.asarray(examples.images))
