"""Any image classification data set by its TFDS name: `config.data.path = "mnist"`, "name:1.2.3" or "name/config".

The only source that needs TensorFlow, which is imported when the data is first read; later runs take the cache. With
`config.data.cache=false` the images are read from TFDS' own files whenever a batch needs them.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from ml_collections import ConfigDict

from fer_jax import files
from fer_jax.data import lazy, tfrecords
from fer_jax.data.examples import UNSPLIT, Examples
from fer_jax.errors import UserError
from fer_jax.preprocess.images import Geometry

if TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder

VERSION = 1
# Without a network a file is given up after a minute: a wait for an answer, and as many again as there are retries.
ANSWER_SECONDS = 20
RETRIES = 2
LABELS_AT_ONCE = 4096
ID = "tfds_id"  # key of an example's place: its file, and its number there
ROLES = {"train": "train_split", "validation": "select_split", "test": "test_split"}


def fingerprint(data: ConfigDict) -> list:
    """The name as given (what TFDS has prepared once stays as it is) and the config's names of the splits."""
    if not data.path:
        raise UserError('config.data.path is empty, expected the name of a TFDS data set such as "mnist"')
    return [data.path, data.train_split, data.select_split, data.test_split]


def read(data: ConfigDict, input: ConfigDict) -> Examples:
    """All splits of the data set, each in the order TFDS reads its files in, which are read twice: first the labels.

    train, validation and test become `data.train_split`, `data.select_split` and `data.test_split`, other splits keep
    their names, and a single split is `examples.UNSPLIT`. TFDS downloads and prepares what is not there yet, in
    `data.cache_dir`/tensorflow_datasets or its own default directory. Raises UserError for a name TFDS does not know,
    a data set that cannot be had (without a network after a minute), and one without a uint8 image and a class label.
    """

    builder = _prepared(data)
    image_key, label_key = _keys(builder)
    labels, splits, ids = [], [], []
    for name in builder.info.splits:
        split = UNSPLIT if len(builder.info.splits) == 1 else data[ROLES[name]] if name in ROLES else name
        for numbers, places in _labels(builder, name, image_key, label_key):
            labelled = numbers >= 0  # TFDS numbers what has no label -1
            labels += numbers[labelled].tolist()
            splits += [split] * int(labelled.sum())
            ids += [place.decode() for place in places[labelled]]
    if not labels:
        raise UserError(f"TFDS {builder.info.full_name} has no labelled images: choose another data set")
    return Examples(
        images=cast(np.ndarray, _images(builder, image_key, label_key, ids, cast(Geometry, input))),
        labels=np.array(labels, np.int32),
        split=np.array(splits),
        label_names=tuple(_features(builder)[label_key].names),
        description=f"TFDS {builder.info.full_name}: {len(labels)} images",
    )


def _labels(
    builder: DatasetBuilder, split: str, image_key: str, label_key: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Labels int64 (n,) and `ID`s, an array (n,) of bytes, of a split's examples in their order, many at a time."""
    examples = _undecoded(builder, split, image_key)
    yield from examples.map(lambda one: (one[label_key], one[ID])).batch(LABELS_AT_ONCE).as_numpy_iterator()


def _undecoded(builder: DatasetBuilder, split: str, image_key: str) -> Any:
    """The examples of a split as a tf.data set, their images as they are stored, each with its `ID`."""
    import tensorflow_datasets

    return cast(Any, builder).as_dataset(
        split=split,
        decoders={image_key: tensorflow_datasets.decode.SkipDecoding()},
        read_config=tensorflow_datasets.ReadConfig(add_tfds_id=True),
    )


def _images(
    builder: DatasetBuilder, image_key: str, label_key: str, ids: list[str], input: Geometry
) -> lazy.Decoded | lazy.Streamed:
    """The images of the examples with these `ID`s: read in any order where TFDS keeps them as TFRecord files."""
    feature = _features(builder)[image_key]

    def decode(stored: bytes) -> np.ndarray:
        try:
            return feature.decode_example(stored).numpy()[..., :3]
        except Exception as error:  # TensorFlow's own kinds
            reason = str(error).strip().partition("\n")[0]
            name = builder.info.full_name
            raise UserError(f"{name}: an image that TensorFlow cannot decode ({reason}): prepare it again") from error

    def stream() -> Iterator[bytes]:
        for name in builder.info.splits:
            for example in _undecoded(builder, name, image_key).as_numpy_iterator():
                if example[label_key] >= 0:
                    yield example[image_key]

    if builder.info.file_format is None or builder.info.file_format.value != "tfrecord":
        return lazy.Streamed(len(ids), stream, decode, input)
    records = tfrecords.Records(builder.data_path, ids)
    return lazy.Decoded(len(ids), lambda number: decode(records.image(number, image_key)), input)


def _prepared(data: ConfigDict) -> DatasetBuilder:
    """The data set's builder, its files in place."""
    import tensorflow_datasets

    from fer_jax.data import tfds_builders  # noqa: F401 (makes fer2013 known to TFDS)

    if not sys.stderr.isatty():
        tensorflow_datasets.disable_progress_bar()
    directory = files.expand(data.cache_dir) / "tensorflow_datasets" if data.cache_dir else None
    try:
        with _impatient():
            builder = tensorflow_datasets.builder(data.path, data_dir=directory)
            builder.download_and_prepare()
    except UserError:
        raise
    except Exception as error:  # a data set's own code may raise anything: no network, no manual download, no version
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"TFDS cannot give {data.path!r} ({type(error).__name__}: {reason}): see "
            "tensorflow.org/datasets/catalog for names and for what must be downloaded by hand"
        ) from error
    return builder


@contextlib.contextmanager
def _impatient() -> Iterator[None]:
    """Downloads that give up: TFDS itself tries ten times and waits for every answer for ever."""
    from requests.adapters import HTTPAdapter
    from tensorflow_datasets.core.download import downloader

    send, tries = HTTPAdapter.send, downloader.MAX_RETRIES

    def with_timeout(self: Any, request: Any, stream: bool = False, timeout: Any = None, **others: Any) -> Any:
        return send(self, request, stream, timeout or ANSWER_SECONDS, **others)

    HTTPAdapter.send, downloader.MAX_RETRIES = with_timeout, RETRIES
    try:
        yield
    finally:
        HTTPAdapter.send, downloader.MAX_RETRIES = send, tries


def _features(builder: DatasetBuilder) -> Any:
    """The features by their keys, of which TFDS' own types know nothing."""
    return builder.info.features


def _keys(builder: DatasetBuilder) -> tuple[str, str]:
    """The keys of the image and of the class label among the data set's features."""
    from tensorflow_datasets import features

    def first(kind: type) -> str | None:
        # the pair a data set names for supervised learning comes before whatever else it has
        keys = [*(builder.info.supervised_keys or ()), *sorted(_features(builder))]
        return next((key for key in keys if type(_features(builder)[key]) is kind), None)

    image, label = first(features.Image), first(features.ClassLabel)
    if image is None or label is None or _features(builder)[image].np_dtype != np.uint8:
        raise UserError(
            f"TFDS {builder.info.full_name} has the features {', '.join(_features(builder))}, expected "
            "a uint8 image and a class label: choose another data set"
        )
    return image, label
