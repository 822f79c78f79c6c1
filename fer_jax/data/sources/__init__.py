"""Sources: one module a data set layout, each turning files into one `Examples` record.

A source module has

    VERSION: int
        Raised whenever the same files would be read into something else: old cache files are then not used.

    def read(data: ConfigDict, input: Geometry) -> Examples
        Everything at `data.path` (`config.data`), in an order that does not depend on the file system, with images of
        the shape (N, input.size, input.size, input.channels). Images of files are `lazy.Decoded` (`lazy.of_files`):
        `fer_jax.data.cache` decodes them, and then those that cannot be read are found. Raises UserError for whatever
        else is wrong with the files.

    def fingerprint(data: ConfigDict) -> list
        What, besides `VERSION` and the input geometry, decides what `read` returns, as JSON values: `files.stamp` of
        the files and the keys of `data` that `read` looks at. Must be quick. Raises UserError where there is no such
        path.

A module may have `DATA_SET`, a `DataSet`; `known_labels(data)` where the names of the classes depend on its arguments;
and `image_files(data)`, the paths of the images in the order of `read`.

A data set with its own names of splits keeps them; train, validation and test become the names of these roles in the
config (`classes.split_named`). Where there are no splits every example's is `examples.UNSPLIT`, and
`fer_jax.data.splits` makes them. A source neither cleans nor splits: `fer_jax.data.loading` does, after the cache.
"""

import dataclasses
import importlib
import pathlib
from collections.abc import Callable
from types import ModuleType

from ml_collections import ConfigDict

from fer_jax import files
from fer_jax.errors import UserError

# each a module of this package, imported when asked for: tfds needs TensorFlow
SOURCES = ("fer2013", "ferplus", "jaffe", "ckplus", "folder", "list", "huggingface", "tfds", "synthetic")
# Those whose layout a folder or a file can have, the most particular first.
RECOGNIZED = ("list", "huggingface", "ckplus", "folder", "jaffe")


@dataclasses.dataclass(frozen=True)
class DataSet:
    """Facts known of a data set before it is read; nothing for sources of any data, such as a folder of images.

    Attributes:
      labels: names in the order of its numbers, () where the data itself names them.
      terms: where the images come from and on what terms, as a clause of a sentence; "" is unknown.
      real_people: whether the images show real people.
      words: what is said of the faces in a model card, a sentence; "" is nothing.
      recognizes: whether a file or folder has the data set's own layout.
    """

    labels: tuple[str, ...] = ()
    terms: str = ""
    real_people: bool = True
    words: str = ""
    recognizes: Callable[[pathlib.Path], bool] = lambda path: False


def folder_of(data: ConfigDict, expected: str) -> pathlib.Path:
    """The folder at `data.path`; UserError, with what is `expected` in it, where there is none."""
    path = files.expand(data.path)
    if not data.path or not path.is_dir():
        raise UserError(f"config.data.path is {data.path!r}, no folder: {expected}; --config=quickstart needs no data")
    return path


def find(name: str) -> ModuleType:
    """The source module of this name; UserError lists the names when there is none."""
    if name == "auto":
        raise UserError("config.data.source is 'auto' and config.data.path empty: give the folder or file of the data")
    if name not in SOURCES:
        raise UserError(f"config.data.source is {name!r}: expected one of {', '.join(SOURCES)}")
    return importlib.import_module(f"{__name__}.{name}")


def settle(data: ConfigDict, preferred: str = "fer2013") -> None:
    """Set the source of `config.data` by the layout of what lies at its path, and its arguments; see `recognized`."""
    path = files.expand(data.path)
    given, data.source = data.source, recognized(path, preferred)
    if data.source != "list" or given != "list":  # another list may have the columns of the run's own
        data.args = ConfigDict().unlock()
    if data.source == "list" and (layout := find("list").layout_of(path)):
        data.args = ConfigDict({"layout": layout}).unlock()


def data_set(name: str) -> DataSet:
    """Return what is known of the data set that a source reads; nothing where it reads any data."""
    return getattr(find(name), "DATA_SET", DataSet())


def known_labels(data: ConfigDict) -> tuple[str, ...]:
    """The names of the classes of `config.data` as far as they are known before the data is read, else ()."""
    source = find(data.source)
    return source.known_labels(data) if hasattr(source, "known_labels") else data_set(data.source).labels


def recognized(path: pathlib.Path, preferred: str = "fer2013") -> str:
    """The source that reads `path`, by its layout; UserError where nothing is there.

    Of FER2013's csv with FER+'s votes beside it, `preferred` tells which labels are meant.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder, expected FER2013's csv or a folder of images")
    for name in RECOGNIZED:
        if data_set(name).recognizes(path):
            return name
    if path.is_dir() and not any(path.glob("*.csv")):
        raise UserError(f"{path}: no data in it: expected a folder of images for each class, or a list of images")
    votes = importlib.import_module("fer_jax.data.ferplus_votes")
    meant = path.name == votes.FILE_NAME or (preferred == "ferplus" and votes.beside(str(path)).is_file())
    return "ferplus" if meant else "fer2013"
