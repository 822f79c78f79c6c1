"""Hugging Face data sets on disk: parquet files as they are downloaded, or arrow files of `save_to_disk`.

    data/train-00000-of-00002.parquet        the split is in the file's name, or the name of its folder
    train/data-00000-of-00001.arrow

An image column holds the bytes of image files, a label column numbers whose names stand in the schema that `datasets`
writes, or names. `config.data.args.image` and `label` name the columns where there are several. Needs pyarrow, the
extra `huggingface`.
"""

from __future__ import annotations

import functools
import json
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from ml_collections import ConfigDict

from fer_jax import files
from fer_jax.data import arguments, lazy
from fer_jax.data.arguments import Argument
from fer_jax.data.examples import UNSPLIT, Examples
from fer_jax.data.sources.folder import SPLIT_FOLDERS
from fer_jax.errors import UserError
from fer_jax.preprocess import images

if TYPE_CHECKING:
    import pyarrow

VERSION = 1
SUFFIXES = (".parquet", ".arrow")
ROWS_AT_ONCE = 64  # of a parquet file, that are in memory together
ARGUMENTS = {
    "image": Argument("", "Column of the image; empty is the only one that holds images."),
    "label": Argument("", "Column of the label; empty is label, labels or the only one with names of classes."),
    "labels": Argument((), "Names of the classes, in the order of their numbers, where the schema has none."),
}


def fingerprint(data: ConfigDict) -> list:
    """The files' paths, sizes and times, the arguments and the names of the splits."""
    given = [arguments.value(data, ARGUMENTS, name) for name in ARGUMENTS]
    plain = [list(value) if isinstance(value, tuple) else value for value in given]
    return [plain, data.train_split, data.select_split, data.test_split, *map(files.stamp, _files(data))]


def read(data: ConfigDict, input: ConfigDict) -> Examples:
    """All rows with a label, in the order of the files' paths; images are read when they are prepared.

    Splits that are called train, validation and test become those of the config, others keep their names; a single
    split is `examples.UNSPLIT`.

    Raises:
      UserError: no such files, no or several columns that could be meant, numbers without names, no pyarrow.
    """
    paths = _files(data)
    image, label, names = _columns(paths[0], data)
    of_file = [np.asarray(_column(path, label), dtype=object) for path in paths]
    found = np.concatenate(of_file)
    labelled = np.array([value is not None and value != -1 for value in found])
    if not names:
        if any(isinstance(value, int) for value in found[labelled]):
            raise UserError(
                f"{paths[0]}: the labels of the column {label} are numbers without names: give the names in order as "
                "config.data.args.labels"
            )
        names = tuple(sorted(set(found[labelled])))
    numbers = {name: number for number, name in enumerate(names)}
    labels = [numbers.get(value, value) if isinstance(value, str) else int(value) for value in found[labelled]]
    if wrong := [value for value in labels if isinstance(value, str) or not 0 <= value < len(names)]:
        raise UserError(f"{paths[0]}: the label {wrong[0]!r} is none of the {len(names)} names {', '.join(names)}")
    splits = np.concatenate(
        [np.full(len(part), _split(path), object) for path, part in zip(paths, of_file, strict=True)]
    )
    return Examples(
        images=cast(np.ndarray, lazy.Streamed(len(labels), lambda: _stream(paths, image, labelled), _decoded, input)),
        labels=np.array(labels, np.int32),
        split=_named(splits[labelled], data),
        label_names=names,
        description=f"{len(labels)} images from {files.name_of(data.path)}",
    )


def _files(data: ConfigDict) -> list[pathlib.Path]:
    root = files.expand(data.path)
    if not data.path or not root.exists():
        raise UserError(f"config.data.path is {data.path!r}, no such folder: expected one with parquet or arrow files")
    found = [root] if root.is_file() else sorted(path for suffix in SUFFIXES for path in root.rglob(f"*{suffix}"))
    if not found or any(path.suffix not in SUFFIXES for path in found):
        raise UserError(f"{root}: no parquet or arrow files in it: give the folder of a downloaded data set")
    return found


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


def _batches(path: pathlib.Path, columns: list[str] | None = None) -> Iterator[pyarrow.RecordBatch]:
    """The rows of a file, a few at a time."""
    arrow = _arrow()
    try:
        if path.suffix == ".parquet":
            with arrow.parquet.ParquetFile(path) as file:
                yield from file.iter_batches(ROWS_AT_ONCE, columns=columns)
            return
        with arrow.memory_map(str(path)) as source:
            try:
                reader: Any = arrow.ipc.open_stream(source)
            except arrow.ArrowInvalid:
                source.seek(0)
                opened = arrow.ipc.open_file(source)
                reader = (opened.get_batch(number) for number in range(opened.num_record_batches))
            for batch in reader:
                yield batch.select(columns) if columns else batch
    except arrow.ArrowException as error:
        raise UserError(f"{path}: not a readable {path.suffix[1:]} file ({error}): download it again") from error


def _schema(path: pathlib.Path) -> pyarrow.Schema:
    if path.suffix == ".parquet":
        arrow = _arrow()
        try:
            return arrow.parquet.read_schema(path)
        except arrow.ArrowException as error:
            raise UserError(f"{path}: not a readable parquet file ({error}): download it again") from error
    first = next(_batches(path), None)
    if first is None:
        raise UserError(f"{path}: it has no rows: download it again")
    return first.schema


def _columns(path: pathlib.Path, data: ConfigDict) -> tuple[str, str, tuple[str, ...]]:
    """The columns of image and label, and the names of the classes, () where the schema has none."""
    schema = _schema(path)
    metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = metadata.get("info", {}).get("features", {})
    bytes_inside = [field.name for field in schema if "binary" in str(field.type)]
    named = {name: tuple(about["names"]) for name, about in features.items() if about.get("_type") == "ClassLabel"}
    usual = [name for name in ("label", "labels") if name in schema.names]
    image = _one("image", data, bytes_inside, schema.names, path)
    label = _one("label", data, usual[:1] or list(named), schema.names, path)
    return image, label, tuple(arguments.value(data, ARGUMENTS, "labels")) or named.get(label, ())


def _one(what: str, data: ConfigDict, candidates: list[str], there: list[str], path: pathlib.Path) -> str:
    given = arguments.value(data, ARGUMENTS, what)
    if given in there:
        return given
    if given or len(candidates) != 1:
        found = f"no column {given}" if given else f"{len(candidates)} columns that could be the {what}"
        raise UserError(f"{path}: {found} among {', '.join(there)}: give one as config.data.args.{what}")
    return candidates[0]


def _column(path: pathlib.Path, name: str) -> list[Any]:
    return [value for batch in _batches(path, [name]) for value in batch.column(0).to_pylist()]


def _stream(paths: list[pathlib.Path], column: str, labelled: np.ndarray) -> Iterator[tuple[Any, str]]:
    """What the column holds for each labelled row, and where that is."""
    number = 0
    for path in paths:
        for batch in _batches(path, [column]):
            for value in batch.column(0).to_pylist():
                if labelled[number]:
                    yield value, f"{path}, row {number}"
                number += 1


def _decoded(stored: tuple[Any, str]) -> np.ndarray:
    value, where = stored
    content = value.get("bytes") if isinstance(value, dict) else value
    if content is None:
        raise UserError(f"{where}: the image is not in the file: save the data set with its images embedded")
    return images.decode(content, where)


@functools.cache
def _split(path: pathlib.Path) -> str:
    """The split that a file's name, such as train-00000-of-00002.parquet, or else its folder's tells."""
    name = path.stem.partition("-")[0]
    return path.parent.name if name == "data" else name


def _named(splits: np.ndarray, data: ConfigDict) -> np.ndarray:
    if len(set(splits)) == 1:
        return np.full(len(splits), UNSPLIT)
    names = {name: data[SPLIT_FOLDERS[name.lower()]] if name.lower() in SPLIT_FOLDERS else name for name in set(splits)}
    return np.array([names[name] for name in splits])
