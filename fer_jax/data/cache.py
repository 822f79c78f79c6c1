"""What a source read, kept on disk, so that parsing is done once."""

from __future__ import annotations

import hashlib
import json
import pathlib

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fer_jax import files
from fer_jax.data import sources
from fer_jax.data.examples import Examples

FORMAT = 2  # of the cache file itself


def folder(cache_dir: str) -> pathlib.Path:
    """The folder of cache files: `cache_dir`, or "fer_jax" in the user's cache directory (XDG) when it is empty."""
    if cache_dir:
        return files.expand(cache_dir)
    return files.user_cache()


def path_of(data: ConfigDict, input: ConfigDict) -> pathlib.Path:
    """The cache file of what `config.data.source` would read: its name holds a hash of all that decides the content."""
    source = sources.find(data.source)
    key = [FORMAT, data.source, source.VERSION, source.fingerprint(data), input.size, input.channels, input.resize]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    return folder(data.cache_dir) / f"{data.source}-{digest}.npz"


def read(data: ConfigDict, input: ConfigDict) -> Examples:
    """What the source reads, from the cache where it is there and whole, else from the source and then kept.

    The cache file appears whole, so two processes that start together both parse and the second rename wins. A file
    that does not load (the zip's CRC-32 covers every byte of the arrays) is said in one line and made anew. Where no
    file can be written the data is used all the same.
    """
    path = path_of(data, input)
    if path.exists():
        try:
            return _load(path)
        except Exception as error:  # one flipped byte gives anything from BadZipFile to NotImplementedError
            logging.warning("%s is damaged (%s): reading the data again", path, error)
    logging.info("reading %s %s: later runs take it from the cache", data.source, data.path)
    examples = sources.find(data.source).read(data, input)
    try:
        _save(path, examples)
    except OSError as error:
        logging.warning("cannot keep the data as %s (%s): set config.data.cache_dir", path, error.strerror)
    return examples


def _save(path: pathlib.Path, examples: Examples) -> None:
    arrays = {name: value for name, value in vars(examples).items() if value is not None}
    with files.atomic_path(path) as tmp:
        np.savez(tmp, **arrays)


def _load(path: pathlib.Path) -> Examples:
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["label_names"] = tuple(arrays["label_names"].tolist())
    arrays["description"] = arrays["description"].item()
    return Examples(**arrays)
