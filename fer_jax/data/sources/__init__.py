"""Sources: one module a data set layout, each turning files into one `Examples` record.

A source module has

    VERSION: int
        Raised whenever the same files would be read into something else: old cache files are then not used.

    def read(data: ConfigDict, input: ConfigDict) -> Examples
        Everything there is to read at `data.path` (`config.data`), in an order that does not depend on the file
        system, with images already brought to uint8 (N, input.size, input.size, input.channels) by
        `fer_jax.preprocess.images`. Images of files are `lazy.Decoded` (`lazy.of_files`), or `lazy.Streamed` where they
        come in one order only: `fer_jax.data.preparation` decodes them, and only then those that cannot be read are
        found. Raises UserError for whatever else is wrong with the files.

    def fingerprint(data: ConfigDict) -> list
        What, besides `VERSION` and the input geometry, decides what `read` returns, as JSON values: paths, sizes and
        modification times of the files (`fer_jax.files.stamp` gives them) and the keys of `data` that `read`
        looks at. Must be quick. Raises UserError where there is no such path.

A module may have `DATA_SET`, a `fer_jax.data.dataset.DataSet` with what is known of the data set before it is read, and
`known_labels(data)` where the names of the classes depend on its arguments.

Names of splits: a data set with its own names keeps them (FER2013: Training, PublicTest, PrivateTest). Where folders or
splits are called train, validation and test, examples get the names the config gives these roles
(`data.train_split`, `data.select_split`, `data.test_split`). Where there are no splits every example's is
`examples.UNSPLIT`, and `fer_jax.data.splits` makes them. A source neither cleans nor splits: `fer_jax.data.loading`
does, after the cache.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from ml_collections import ConfigDict

from fer_jax.data.dataset import DataSet
from fer_jax.errors import UserError

# each a module of this package, imported when asked for: tfds needs TensorFlow
SOURCES = ("fer2013", "ferplus", "jaffe", "ckplus", "folder", "list", "huggingface", "tfds", "synthetic")


def find(name: str) -> ModuleType:
    """The source module of this name; UserError lists the names when there is none."""
    if name not in SOURCES:
        raise UserError(f"config.data.source is {name!r}: expected one of {', '.join(SOURCES)}")
    return importlib.import_module(f"{__name__}.{name}")


def data_set(name: str) -> DataSet:
    """What is known of the data set that a source reads; nothing where it reads anybody's."""
    return getattr(find(name), "DATA_SET", DataSet())


def known_labels(data: ConfigDict) -> tuple[str, ...]:
    """The names of the classes of `config.data` as far as they are known before the data is read, else ()."""
    source = find(data.source)
    return source.known_labels(data) if hasattr(source, "known_labels") else data_set(data.source).labels
