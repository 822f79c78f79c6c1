"""Any image classification data set by its TFDS name: `config.data.path = "mnist"`, "name:1.2.3" or "name/config".

The only source that needs TensorFlow, which is imported when the data is first read; later runs take the cache.
"""

import sys
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fer_jax import files
from fer_jax.data import classes
from fer_jax.data.examples import Examples
from fer_jax.errors import UserError
from fer_jax.preprocess import images

VERSION = 2


def fingerprint(data: ConfigDict) -> list:
    """The name as given (what TFDS has prepared once stays as it is) and the config's names of the splits."""
    if not data.path:
        raise UserError('config.data.path is empty, expected the name of a TFDS data set such as "mnist"')
    return [data.path, data.train_split, data.select_split, data.test_split]


def read(data: ConfigDict, input: images.Geometry) -> Examples:
    """All splits of the data set, each in the order TFDS reads its files in; the fitted images are in memory.

    train, validation and test become `data.train_split`, `data.select_split` and `data.test_split`, other splits keep
    their names, and a single split that is neither validation nor test is `examples.UNSPLIT`. Examples without a label,
    which TFDS numbers -1, are left out. TFDS downloads and prepares what is not there yet, in
    `data.cache_dir`/tensorflow_datasets or its own default directory.

    Raises:
      UserError: a name TFDS does not know, a data set that cannot be had, or one without a uint8 image and a class
        label.
    """
    builder = _prepared(data)
    keys = _keys(builder)
    sizes = {name: split.num_examples for name, split in builder.info.splits.items()}
    fitted = np.empty((sum(sizes.values()), input.size, input.size, input.channels), np.uint8)
    labels, splits = [], []
    for name, split in classes.splits_named(sizes, data).items():
        examples = builder.as_dataset(split=name).map(lambda one: tuple(one[key] for key in keys))
        for image, label in examples.as_numpy_iterator():
            if label >= 0:
                fitted[len(labels)] = images.fit(image[..., :3], input)
                labels.append(label)
                splits.append(split)
    if not labels:
        raise UserError(f"TFDS {builder.info.full_name} has no labeled images: choose another data set")
    return Examples(
        images=fitted[: len(labels)],
        labels=np.array(labels, np.int32),
        split=np.array(splits),
        label_names=tuple(builder.info.features[keys[1]].names),
        description=f"TFDS {builder.info.full_name}: {len(labels)} images{classes.left_out(len(fitted) - len(labels))}",
    )


def _prepared(data: ConfigDict) -> Any:
    """The data set's builder, its files in place; TFDS' own types know nothing of its features."""
    import tensorflow_datasets

    from fer_jax.data import tfds_builder  # noqa: F401 (makes fer2013 known to TFDS)

    if not sys.stderr.isatty():
        tensorflow_datasets.disable_progress_bar()
    directory = files.expand(data.cache_dir) / "tensorflow_datasets" if data.cache_dir else None
    try:
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


def _keys(builder: Any) -> tuple[str, str]:
    """The keys of the image and of the class label among the data set's features."""
    from tensorflow_datasets import features

    there = builder.info.features
    # the pair a data set names for supervised learning comes before whatever else it has
    keys = [*(builder.info.supervised_keys or ()), *sorted(there)]
    image, label = (
        next((key for key in keys if type(there[key]) is kind), None) for kind in (features.Image, features.ClassLabel)
    )
    if image is None or label is None or there[image].np_dtype != np.uint8:
        raise UserError(
            f"TFDS {builder.info.full_name} has the features {', '.join(there)}, expected "
            "a uint8 image and a class label: choose another data set"
        )
    return image, label
