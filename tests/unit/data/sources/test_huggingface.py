"""Hugging Face data sets on disk, made as `datasets` writes them."""

import json

import cv2
import numpy as np
import pytest

from fer_jax.data import cache
from fer_jax.errors import UserError
from fer_jax.recipes import default

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

NAMES = ("angry", "happy", "sad")


def table(values, labels, names=NAMES, label="label"):
    encoded = [cv2.imencode(".png", np.full((12, 10), value, np.uint8))[1].tobytes() for value in values]
    features = {"image": {"_type": "Image"}, label: {"names": names, "_type": "ClassLabel"}} if names else {}
    arrays = {"image": [{"bytes": data, "path": None} for data in encoded], label: labels}
    made = pyarrow.table(arrays)
    return made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def write(path, made):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        parquet.write_table(made, path)
        return
    with pyarrow.OSFile(str(path), "wb") as sink, pyarrow.ipc.new_stream(sink, made.schema) as writer:
        writer.write_table(made)


def config_of(root, **args):
    config = default.get_config()
    config.data.source, config.data.path, config.input.size = "huggingface", str(root), 8
    config.data.cache_dir = str(root / ".cache")
    config.data.args.update(args)
    return config


def read(root, **args):
    config = config_of(root, **args)
    return cache.read(config.data, config.input)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"),
        ("train/data-00000-of-00001.arrow", "test/data-00000-of-00001.arrow"),
    ],
)
def test_splits_labels_and_images(tmp_path, train, test):
    write(tmp_path / test, table([30], [0]))
    write(tmp_path / train, table([10, 20, 99], [1, 2, -1]))
    examples = read(tmp_path)
    assert examples.label_names == NAMES
    by_split = {name: examples.of_split(name) for name in examples.split_names}
    assert by_split["Training"].images[:, 0, 0, 0].tolist() == [10, 20]
    assert by_split["Training"].labels.tolist() == [1, 2]
    assert by_split["PrivateTest"].images[:, 0, 0, 0].tolist() == [30]


def test_one_file_has_no_splits_and_names_may_be_given(tmp_path):
    write(tmp_path / "train-00000-of-00001.parquet", table([10, 20], [1, 0], names=None, label="emotion"))
    examples = read(tmp_path, label="emotion", labels=("a", "b"))
    assert (examples.label_names, examples.labels.tolist(), examples.split_names) == (("a", "b"), [1, 0], ("all",))


def test_labels_may_be_names(tmp_path):
    write(tmp_path / "train.parquet", table([10, 20], ["sad", "happy"], names=None))
    assert read(tmp_path).label_names == ("happy", "sad")


@pytest.mark.parametrize(
    ("labels", "options", "args", "message"),
    [
        ([0, 1], {"names": None}, {}, "are numbers without names: give the names in order as config.data.args.labels"),
        ([0, 7], {}, {}, "the label 7 is none of the 3 names angry, happy, sad"),
        ([0, 1], {"label": "x", "names": None}, {}, "0 columns that could be the label among image, x: give one as"),
        ([0, 1], {}, {"image": "picture"}, "no column picture among image, label"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, labels, options, args, message):
    write(tmp_path / "train.parquet", table([1, 2], labels, **options))
    with pytest.raises(UserError, match=message):
        read(tmp_path, **args)


def test_a_damaged_file_and_an_empty_folder(tmp_path):
    with pytest.raises(UserError, match="no parquet or arrow files in it"):
        read(tmp_path)
    (tmp_path / "train.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="not a readable parquet file"):
        read(tmp_path)


def test_a_set_that_is_read_in_one_order_cannot_be_used_without_a_copy(tmp_path):
    write(tmp_path / "train.parquet", table([10, 20], [1, 2]))
    config = config_of(tmp_path)
    config.data.cache = False
    with pytest.raises(UserError, match="what huggingface reads comes in one order only: leave it true"):
        cache.read(config.data, config.input)
