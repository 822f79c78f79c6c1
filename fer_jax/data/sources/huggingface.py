"""Hugging Face data sets on disk: parquet or arrow files, as the Hub has them and as `datasets` saves or caches them.

    data/train-00000-of-00002.parquet      default/train/0000.parquet      train.parquet
    train/data-00000-of-00001.arrow        name-train.arrow

The split is in a file's name, or in that of a folder. An image column holds the bytes of image files, a label column
numbers whose names stand in the file's own schema, or names. `config.data.args.image` and `label` name the columns
where there are several. Needs pyarrow, the extra `huggingface`.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import pathlib
import re
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from ml_collections import ConfigDict

from fer_jax import fields, files, labels
from fer_jax.data import classes, lazy
from fer_jax.data.examples import Examples
from fer_jax.data.sources import DataSet
from fer_jax.errors import UserError
from fer_jax.fields import Field
from fer_jax.preprocess import images

if TYPE_CHECKING:
    import pyarrow

VERSION = 3
SUFFIXES = (".parquet", ".arrow")
ARGUMENTS = {
    "image": Field("", "Column of the image; empty is the only one that holds images."),
    "label": Field("", "Column of the label; empty is label, labels or the only one with names of classes."),
    "labels": Field((), "Names of the classes, in the order of their numbers, where the schema has none."),
}
DATA_SET = DataSet(recognizes=lambda path: any(_found(path)))

_SHARD = re.compile(r"-\d+-of-\d+(-[0-9a-f]+)?$")


def fingerprint(data: ConfigDict) -> list:
    """The files' paths, sizes and times, the arguments and the names of the splits."""
    given = [fields.value(data, ARGUMENTS, name) for name in ARGUMENTS]
    plain = [list(value) if isinstance(value, tuple) else value for value in given]
    return [plain, data.train_split, data.select_split, data.test_split, *map(files.stamp, _files(data))]


def read(data: ConfigDict, input: images.Geometry) -> Examples:
    """All rows with a label, in the order of the files' paths; images are read when they are prepared.

    Each file's numbers are translated by its own names of the classes. Splits that are called train, validation and
    test become those of the config, others keep their names; a single split is `examples.UNSPLIT`, unless it is called
    validation or test.

    Raises:
      UserError: no such files, or of two kinds or configurations; no or several columns that could be meant; labels
        that are numbers without names, or anything but names and whole numbers; no pyarrow.
    """
    root = files.expand(data.path)
    tables = [_Table(path, data) for path in _files(data)]
    texts = [text for table in tables for text in table.texts()]
    if not texts:
        raise UserError(f"{tables[0].path}: it has no rows: download it again")
    ends = np.cumsum([table.rows for table in tables])
    parts = functools.lru_cache(maxsize=8)(lambda which, part: tables[which].part(part, tables[which].image))
    lock = threading.Lock()  # one thread loads a part, others wait for it

    def place(number: int) -> tuple[int, int]:
        which = int(np.searchsorted(ends, number, "right"))
        return which, number - int(ends[which]) + tables[which].rows

    def where(number: int) -> str:
        which, row = place(number)
        return f"{tables[which].path}, row {row}"

    names = tuple(fields.value(data, ARGUMENTS, "labels")) or _all_names(tables, root)
    numbers, names = classes.numbered(texts, names, where)
    kept = np.flatnonzero(numbers != classes.UNLABELED)

    def decode(number: int) -> np.ndarray:
        which, row = place(int(kept[number]))
        part, row_of_part = tables[which].place(row)
        with lock:
            column = parts(which, part)
        value = column[row_of_part].as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        if content is None:
            raise UserError(f"{where(int(kept[number]))}: the image is not in the file: save the set with its images")
        return images.decode(content, where(int(kept[number])))

    splits = np.repeat([_split(table.path, root)[0] for table in tables], [t.rows for t in tables])[kept]
    named = classes.splits_named(set(splits), data)
    return Examples(
        images=cast(np.ndarray, lazy.Decoded(len(kept), decode, input)),
        labels=numbers[kept],
        split=np.array([named[name] for name in splits]),
        label_names=names,
        description=f"{len(kept)} images from {files.name_of(data.path)}{classes.left_out(len(numbers) - len(kept))}",
    )


class _Table:
    """One file.

    Attributes:
      path: the file.
      image, label: its columns.
      names: of its classes, () where its schema has none.
      rows: how many it has.
    """

    def __init__(self, path: pathlib.Path, data: ConfigDict):
        self.path = path
        self._batches: list[Any] = []  # of an arrow file, mapped into memory; of a parquet file none
        schema, lengths = self._open()
        self._ends = np.cumsum(lengths, dtype=np.int64)
        self.rows = sum(lengths)
        metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = (metadata.get("info") or {}).get("features") or {}
        named = {
            name: tuple(features[name]["names"])
            for name in schema.names
            if features.get(name, {}).get("_type") == "ClassLabel"
        }
        bytes_inside = [field.name for field in schema if "binary" in str(field.type)]
        usual = [name for name in ("label", "labels") if name in schema.names]
        self.image = _one("image", data, bytes_inside, schema.names, path)
        self.label = _one("label", data, usual[:1] or list(named), schema.names, path)
        self.names = named.get(self.label, ())

    def _open(self) -> tuple[pyarrow.Schema, list[int]]:
        """The schema and the rows of each row group or batch."""
        arrow = _arrow()
        try:
            if self.path.suffix.lower() == ".parquet":
                with arrow.parquet.ParquetFile(self.path) as file:
                    groups = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
                    return file.schema_arrow, groups
            source = arrow.memory_map(str(self.path))
            try:
                reader = arrow.ipc.open_stream(source)
                self._batches = list(reader)
            except arrow.ArrowInvalid:
                source.seek(0)
                reader = arrow.ipc.open_file(source)
                self._batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
            return reader.schema, [batch.num_rows for batch in self._batches]
        except (arrow.ArrowException, OSError) as error:
            kind, reason = self.path.suffix[1:], str(error).partition("\n")[0]
            raise UserError(f"{self.path}: not a readable {kind} file ({reason}): download it again") from error

    def part(self, number: int, column: str) -> Any:
        """A column of a row group or batch."""
        if self._batches:
            return self._batches[number].column(column)
        with _arrow().parquet.ParquetFile(self.path) as file:
            return file.read_row_group(number, columns=[column]).column(0)

    def place(self, row: int) -> tuple[int, int]:
        """The part of a row, and its place there."""
        part = int(np.searchsorted(self._ends, row, "right"))
        return part, row - int(self._ends[part - 1] if part else 0)

    def texts(self) -> list[str]:
        """The labels as names, or as numbers where the file has no names."""
        parts = (self.part(number, self.label).to_pylist() for number in range(len(self._ends)))
        return [self._text(value, row) for row, value in enumerate(itertools.chain.from_iterable(parts))]

    def _text(self, value: Any, row: int) -> str:
        if value is None or isinstance(value, str):
            return value or ""
        if isinstance(value, bool | int | float) and (math.isnan(value) or value == int(value)):
            if math.isnan(value) or value == -1:
                return ""
            if not self.names:
                return str(int(value))
            if 0 <= value < len(self.names):
                return self.names[int(value)]
        last = len(self.names) - 1
        expected = f"0 ({self.names[0]}) to {last} ({self.names[-1]})" if self.names else "a name or a whole number"
        raise UserError(f"{self.path}, row {row}: the label is {str(value)[:40]}, expected {expected}: correct it")


def _found(root: pathlib.Path) -> list[pathlib.Path]:
    """The files of a data set below a folder: not hidden ones, and none that `datasets` keeps beside it for itself."""
    if root.is_file():
        return [root] if root.suffix.lower() in SUFFIXES else []
    found = []
    for path in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if path.suffix.lower() in SUFFIXES and not hidden and not path.name.startswith("cache-"):
            saved = path.with_name("state.json")  # of `save_to_disk`, beside which `map` may have left others
            if not saved.is_file() or path.name in saved.read_text(encoding="utf-8"):
                found.append(path)
    return found


def _files(data: ConfigDict) -> list[pathlib.Path]:
    root = files.expand(data.path)
    if not data.path or not root.exists():
        raise UserError(f"config.data.path is {data.path!r}, no such folder: expected one with parquet or arrow files")
    found = _found(root)
    if not found:
        raise UserError(f"{root}: no parquet or arrow files in it: give the folder of a downloaded data set")
    if len(kinds := {path.suffix.lower() for path in found}) > 1:
        raise UserError(
            f"{root}: {' and '.join(sorted(kinds))} files, which may be one set twice: give a folder of one kind"
        )
    if len(places := {str(_split(path, root)[1]) for path in found}) > 1:
        listed = ", ".join(sorted(places))
        raise UserError(f"{root}: several data sets or configurations ({listed}): give the path of one")
    classes.refuse_links((path, path) for path in found)
    return found


def _role(name: str, path: pathlib.Path) -> str:
    """The word for a split such as train in the name of a file or folder, "" where there is none."""
    words = [word for word in re.split(r"[-._ \d]+", name.lower()) if word in classes.SPLIT_ROLES]
    last = name.rpartition("-")[2].lower()  # `datasets` caches the split train of a set my-test as my-test-train
    if last not in classes.SPLIT_ROLES and len({classes.SPLIT_ROLES[word] for word in words}) > 1:
        raise UserError(f"{path}: {name} names several splits: rename it")
    return last if last in classes.SPLIT_ROLES else words[0] if words else ""


def _split(path: pathlib.Path, root: pathlib.Path) -> tuple[str, pathlib.PurePath]:
    """The split of a file, and the folder of its configuration: without the folder that names the split.

    The split is what a name with a number of parts says (train-00000-of-00002), else what a folder or the name says by
    a word such as train, else the name.
    """
    name, folders = _SHARD.sub("", path.stem), path.relative_to(root).parts[:-1] if path != root else ()
    sharded, own = name != path.stem, _role(name, path)
    if sharded and name != "data":
        return own or name, pathlib.PurePath(*folders)
    for depth in reversed(range(len(folders))):
        if role := _role(folders[depth], path):
            if own and classes.SPLIT_ROLES[own] != classes.SPLIT_ROLES[role]:
                raise UserError(f"{path}: the file is named {own}, its folder {folders[depth]}: rename one of them")
            return role, pathlib.PurePath(*folders[:depth])
    bare = name if sharded else re.sub(r"[-_. ]?\d+$", "", name)  # part-00001
    if folders and bare in ("", "data") and not own:
        return folders[-1], pathlib.PurePath(*folders[:-1])
    return own or bare, pathlib.PurePath(*folders)


def _all_names(tables: Sequence[_Table], root: pathlib.Path) -> tuple[str, ...]:
    """The classes of all files, each meaning once: those of the training split's files first."""
    names: dict[str, str] = {}
    for table in sorted(tables, key=lambda table: not _split(table.path, root)[0].startswith("train")):
        for name in table.names:
            names.setdefault(labels.canonical(name), name)
    return tuple(names.values())


def _one(what: str, data: ConfigDict, candidates: list[str], there: list[str], path: pathlib.Path) -> str:
    given = fields.value(data, ARGUMENTS, what)
    if given in there:
        return given
    if given or len(candidates) != 1:
        found = f"no column {given}" if given else f"{len(candidates)} columns that could be the {what}"
        raise UserError(f"{path}: {found} among {', '.join(there)}: give one as config.data.args.{what}")
    return candidates[0]


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError:
        raise UserError(
            "data sets of Hugging Face are read by pyarrow, which is not installed: pip install 'fer_jax[huggingface]'"
        ) from None
    return pyarrow
