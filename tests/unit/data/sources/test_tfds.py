"""TFDS data sets by name, with this project's own FER2013 builder on a small csv in the manual directory."""

import sys

import numpy as np
import pytest

from fer_jax import labels
from fer_jax.data import cache
from fer_jax.data.sources import fer2013
from fer_jax.data.sources import tfds as source
from fer_jax.errors import UserError
from tests import datasets

ROWS = [("Training", 3), ("PublicTest", 6), ("Training", 1), ("PrivateTest", 0), ("Training", 5)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A cache directory whose manual downloads hold a csv; each row's pixels count up from the row's number."""
    folder = tmp_path_factory.mktemp("cache")
    manual = folder / "tensorflow_datasets" / "downloads" / "manual"
    manual.mkdir(parents=True)
    lines = [
        f"{emotion},{usage},{' '.join(str((row + i) % 256) for i in range(48 * 48))}"
        for row, (usage, emotion) in enumerate(ROWS)
    ]
    (manual / "icml_face_data.csv").write_text("\n".join(["emotion, Usage, pixels", *lines, ""]), encoding="utf-8")
    return folder


def config_of(folder, name="fer2013", **geometry):
    config = datasets.config_of("tfds", name, **geometry)
    config.data.cache_dir = str(folder)
    return config


def test_fer2013_is_a_data_set_by_its_name(folder, monkeypatch):
    """Every row arrives with its pixels, label and split, as the csv's parser reads them."""
    import tensorflow_datasets as tfds

    import fer_jax.data.tfds_builder  # noqa: F401

    config = config_of(folder)
    config.data.select_split = "select"
    examples = cache.read(config.data, config.input)
    assert examples.label_names == labels.FER2013
    faces, emotions, usage = fer2013.parse(fer2013.locate(str(folder / "tensorflow_datasets/downloads/manual")))
    rows = zip(faces, emotions, np.where(usage == "PublicTest", "select", usage), strict=True)
    found = zip(examples.images[..., 0], examples.labels, examples.split, strict=True)
    assert {(x.tobytes(), *more) for x, *more in found} == {(x.tobytes(), *more) for x, *more in rows}
    info = tfds.builder("fer2013", data_dir=folder / "tensorflow_datasets").info
    assert set(info.splits) == {"train", "validation", "test"}
    assert (str(info.version), info.supervised_keys) == ("1.0.0", ("image", "label"))
    assert info.features["label"].names == list(labels.FER2013) and "Goodfellow" in info.citation
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    np.testing.assert_array_equal(cache.read(config.data, config.input).images, examples.images)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_data_set", r"'no_such_data_set' \(DatasetNotFoundError.*tensorflow.org/datasets"),
        ("fer2013:9.9.9", "'fer2013:9.9.9' .*9.9.9"),
        ("fer2013", r"'fer2013' \(AssertionError: Manual directory .* empty"),
    ],
)
def test_what_tfds_cannot_give(tmp_path, name, words):
    config = config_of(tmp_path, name)
    with pytest.raises(UserError, match=f"TFDS cannot give {words}"):
        source.read(config.data, config.input)
    with pytest.raises(UserError, match=r"config\.data\.path is empty, expected the name of a TFDS"):
        source.fingerprint(config_of("", "").data)


def data_set(name, features, examples):
    """Make a data set of one split known to TFDS."""
    import tensorflow_datasets as tfds

    def info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    content = {
        "VERSION": tfds.core.Version("1.0.0"),
        "_info": info,
        "_split_generators": lambda self, dl_manager: {"train": enumerate(examples)},
        "_generate_examples": None,
        "__module__": __name__,
    }
    return type(name, (tfds.core.GeneratorBasedBuilder,), content)


def test_a_single_split_and_examples_without_label(tmp_path):
    from tensorflow_datasets import features

    kinds = {"picture": features.Image(shape=(None, None, 3)), "kind": features.ClassLabel(names=["cat", "dog"])}
    pictures = [np.full((10 + i, 20, 3), (i, i, 200), np.uint8) for i in range(3)]  # the second without a label
    rows = [{"picture": p, "kind": k} for p, k in zip(pictures, (1, -1, 0), strict=True)]
    OneSplit = data_set("OneSplit", kinds, rows)
    config = config_of(tmp_path, OneSplit.name, channels=3)
    examples = source.read(config.data, config.input)
    assert examples.label_names == ("cat", "dog")
    assert examples.split.tolist() == ["all", "all"]
    assert examples.description.endswith(": 2 images, 1 without a label left out")
    found = zip(examples.labels.tolist(), examples.images[:, 0, 0].tolist(), strict=True)
    assert sorted(found) == [(0, [2, 2, 200]), (1, [0, 0, 200])]


def test_a_data_set_that_is_no_image_classification(tmp_path):
    config = config_of(tmp_path, data_set("OnlyNumbers", {"number": np.int64}, [{"number": 0}, {"number": 1}]).name)
    with pytest.raises(UserError, match="has the features number, expected a uint8 image and a class label"):
        source.read(config.data, config.input)
