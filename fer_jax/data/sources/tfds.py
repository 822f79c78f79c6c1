"""Any image classification data set by its TFDS name: `config.data.path = "mnist"`, "name:1.2.3" or "name/config".

The only source that needs TensorFlow, which is imported when the data is first read; later runs take the cache.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from ml_collections import ConfigDict

from fer_jax import files
from fer_jax.data import lazy
from fer_jax.data.examples import UNSPLIT, Examples
from fer_jax.errors import UserError

if TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder

VERSION = 1
# Without a network a file is given up after a minute: a wait for an answer, and as many again as there are retries.
ANSWER_SECONDS = 20
RETRIES = 2
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
    import tensorflow_datasets

    builder = _prepared(data)
    image_key, label_key = _keys(builder)
    labels, splits = [], []
    for name in builder.info.splits:
        split = UNSPLIT if len(builder.info.splits) == 1 else data[ROLES[name]] if name in ROLES else name
        undecoded = builder.as_dataset(split=name, decoders={image_key: tensorflow_datasets.decode.SkipDecoding()})
        numbers = [example[label_key] for example in tensorflow_datasets.as_numpy(undecoded)]
        labels += [number for number in numbers if number >= 0]  # TFDS numbers what has no label -1
        splits += [split] * sum(number >= 0 for number in numbers)

    def stream() -> Iterator[np.ndarray]:
        for name in builder.info.splits:
            for example in tensorflow_datasets.as_numpy(builder.as_dataset(split=name)):
                if example[label_key] >= 0:
                    yield example[image_key][..., :3]

    if not labels:
        raise UserError(f"TFDS {builder.info.full_name} has no labelled images: choose another data set")
    return Examples(
        images=cast(np.ndarray, lazy.Streamed(len(labels), stream, input)),
        labels=np.array(labels, np.int32),
        split=np.array(splits),
        label_names=tuple(builder.info.features[label_key].names),
        description=f"TFDS {builder.info.full_name}: {len(labels)} images",
    )


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


def _keys(builder: DatasetBuilder) -> tuple[str, str]:
    """The keys of the image and of the class label among the data set's features."""
    from tensorflow_datasets import features

    def first(kind: type) -> str | None:
        # the pair a data set names for supervised learning comes before whatever else it has
        keys = [*(builder.info.supervised_keys or ()), *sorted(builder.info.features)]
        return next((key for key in keys if type(builder.info.features[key]) is kind), None)

    image, label = first(features.Image), first(features.ClassLabel)
    if image is None or label is None or builder.info.features[image].np_dtype != np.uint8:
        raise UserError(
            f"TFDS {builder.info.full_name} has the features {', '.join(builder.info.features)}, expected "
            "a uint8 image and a class label: choose another data set"
        )
    return image, label
