"""Hugging Face data sets on disk, as the Hub lays them out and as `datasets` saves and caches them."""

import json

import cv2
import numpy as np
import pytest

from fer_jax.data import cache, loading
from fer_jax.data.sources import huggingface
from fer_jax.errors import UserError
from tests import datasets

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

NAMES = ("angry", "happy", "sad")
ONE = "data/train-00000-of-00001.parquet"


def table(values, labels, names=NAMES, label="label", image="image", features=True):
    """A table of flat pictures of the given values; None is a picture that lies elsewhere."""

    def png(value):
        return cv2.imencode(".png", np.full((12, 10), value, np.uint8))[1].tobytes()

    rows = [{"bytes": None if value is None else png(value), "path": "a.png"} for value in values]
    column = pyarrow.array(rows, pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())]))
    made = pyarrow.table({image: column, label: pyarrow.array(labels)})
    about = {image: {"_type": "Image"}, label: {"names": names, "_type": "ClassLabel"}} if names else {}
    information = {"info": {"features": about if features else None}}
    return made.replace_schema_metadata({"huggingface": json.dumps(information)})


def write(path, made, kind="stream"):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        parquet.write_table(made, path, row_group_size=2)
        return
    new = pyarrow.ipc.new_stream if kind == "stream" else pyarrow.ipc.new_file
    with pyarrow.OSFile(str(path), "wb") as sink, new(sink, made.schema) as writer:
        writer.write_table(made)


def config_of(root, **args):
    config = datasets.config_of("huggingface", root, 8, **args)
    config.data.cache_dir = str(root.parent / "cache")
    return config


def read(root, **args):
    config = config_of(root, **args)
    return cache.read(config.data, config.input)


def found(examples):
    """{split: [(first pixel, name of the class)]}"""
    rows = {split: [] for split in examples.split_names}
    for split, image, label in zip(examples.split, examples.images, examples.labels, strict=True):
        rows[split].append((int(image[0, 0, 0]), examples.label_names[label]))
    return rows


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (ONE, "data/test-00000-of-00001.parquet"),
        ("train/data-00000-of-00001.arrow", "test/data-00000-of-00001.arrow"),
        ("default/train/0000.parquet", "default/test/0000.parquet"),
        ("default/partial-train/0000.parquet", "default/test/0000.parquet"),
        ("train.parquet", "eval.parquet"),
        ("fer_train.parquet", "fer_test.parquet"),
        ("training/part.parquet", "testing/part.parquet"),
        ("x/default/0.0.0/4f/x-train.arrow", "x/default/0.0.0/4f/x-test.arrow"),
        ("my-test-train.arrow", "my-test-test.arrow"),
        ("my-test-train-00000-of-00001.arrow", "my-test-eval-00000-of-00001.arrow"),
        ("data/train-00000-of-00001-2a1b3c4d5e6f7a8b.parquet", "data/test-00000-of-00001-9a1b3c4d5e6f7a8b.parquet"),
        ("eval/train-00000-of-00001.parquet", "eval/test-00000-of-00001.parquet"),
        ("train-small/train/0000.parquet", "train-small/test/0000.parquet"),
        ("plain/train-00000-of-00001.parquet", "plain/test-00000-of-00001.parquet"),
    ],
)
def test_splits_are_told_by_files_and_folders(tmp_path, train, test):
    write(tmp_path / "in" / test, table([30], [0]))
    write(tmp_path / "in" / train, table([10, 20, 99], [1, 2, -1]))
    examples = read(tmp_path / "in")
    assert examples.label_names == NAMES
    assert found(examples) == {"Training": [(10, "happy"), (20, "sad")], "PrivateTest": [(30, "angry")]}
    assert examples.description.endswith("1 without a label left out")


@pytest.mark.parametrize(
    ("paths", "splits"),
    [
        (["default/train/0000.parquet", "default/train/0001.parquet", "default/test/0000.parquet"], [2, 1]),
        (["part-00000.parquet", "part-00001.parquet"], [2]),
        (["0000.parquet", "0001.parquet"], [2]),
        (["data/fold1-00000-of-00001.parquet", "data/fold2-00000-of-00001.parquet"], [1, 1]),
        (["a/data-00000-of-00001.arrow", "b/data-00000-of-00001.arrow"], [1, 1]),
        (["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"], [2]),
    ],
)
def test_parts_are_joined_and_other_splits_keep_their_names(tmp_path, paths, splits):
    for number, path in enumerate(paths):
        write(tmp_path / "in" / path, table([number], [1]))
    examples = read(tmp_path / "in")
    assert sorted(len(examples.of_split(name)) for name in examples.split_names) == sorted(splits)
    assert sorted(examples.images[:, 0, 0, 0].tolist()) == list(range(len(paths)))
    if len(splits) == 1:
        assert examples.split_names == ("all",)


@pytest.mark.parametrize(("name", "split"), [("test", "PrivateTest"), ("validation", "PublicTest"), ("extra", "all")])
def test_a_single_split_is_split_anew_unless_it_is_for_scoring(tmp_path, name, split):
    write(tmp_path / "in" / f"{name}-00000-of-00001.parquet", table([1, 2], [0, 1]))
    assert read(tmp_path / "in").split_names == (split,)
    config = config_of(tmp_path / "elsewhere")
    config.data.source = "folder"
    assert len(loading.load_split(config, name, str(tmp_path / "in"))) == 2  # evaluation recognizes the folder


def test_numbers_are_translated_by_the_names_of_each_file(tmp_path):
    write(tmp_path / "in" / ONE, table([10, 20, 30], [0, 1, 2]))
    other = ("sad", "Fear", "Happy", "angry")
    write(tmp_path / "in" / "data/test-00000-of-00001.parquet", table([11, 21, 31, 41], [3, 2, 0, 1], other))
    examples = read(tmp_path / "in")
    assert examples.label_names == (*NAMES, "Fear")
    assert found(examples) == {
        "Training": [(10, "angry"), (20, "happy"), (30, "sad")],
        "PrivateTest": [(11, "angry"), (21, "happy"), (31, "sad"), (41, "Fear")],
    }


@pytest.mark.parametrize(
    ("labels", "args", "names", "expected"),
    [
        (["sad", "happy"], {}, ("happy", "sad"), [1, 0]),
        (["Sad ", "sadness", "happy"], {}, ("Sad", "happy"), [0, 0, 1]),
        (["", "sad", "happy", None, "nan"], {}, ("happy", "sad"), [1, 0]),
        ([1.0, float("nan"), 0.0], {"labels": ("a", "b")}, ("a", "b"), [1, 0]),
        ([True, False], {"labels": ("no", "yes")}, ("no", "yes"), [1, 0]),
    ],
)
def test_labels_are_names_or_whole_numbers(tmp_path, labels, args, names, expected):
    write(tmp_path / "in" / ONE, table(range(len(labels)), labels, names=None))
    examples = read(tmp_path / "in", **args)
    assert sorted(map(str.strip, examples.label_names)) == sorted(names)
    by_name = [examples.label_names[label].strip() for label in examples.labels]
    assert by_name == [names[label] for label in expected]


@pytest.mark.parametrize("kind", ["parquet", "stream", "file"])
def test_images_are_read_in_any_order_without_a_copy(tmp_path, kind):
    suffix = "parquet" if kind == "parquet" else "arrow"
    write(tmp_path / "in" / f"train.{suffix}", table(range(9), [0, 1, 2] * 3), kind)
    config = config_of(tmp_path / "in")
    kept = cache.read(config.data, config.input)
    config.data.cache = False
    uncached = cache.read(config.data, config.input)
    np.testing.assert_array_equal(uncached.images[[8, 0, 3]], kept.images[[8, 0, 3]])


def test_what_datasets_keeps_for_itself_is_not_read(tmp_path):
    for split in ("train", "test"):
        folder = tmp_path / "in" / split
        write(folder / "data-00000-of-00001.arrow", table([10], [1]))
        write(folder / "cache-8f2a.arrow", table([10], [1]))
        write(folder / "old-00000-of-00001.arrow", table([10], [1]))
        state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": split}
        (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")
    write(tmp_path / "in" / ".cache" / "train.parquet", table([10], [1]))
    assert len(read(tmp_path / "in")) == 2


GOOD, UNLABELED = table([1], [0]), table([1], [0], image="p").drop_columns(["label"])


@pytest.mark.parametrize(
    ("files", "args", "word"),
    [
        ({ONE: table([1, 2], [0, 1], names=None)}, {}, r"numbers \(0 to 1\), expected names"),
        ({ONE: table([1, 2], [0, 1], features=False)}, {}, "expected names"),
        ({ONE: table([1, 2], [0, 7])}, {}, r"row 1: the label is 7, expected 0 \(angry\) to 2 \(sad\)"),
        ({ONE: table([1, 2], [1.6, 3.2], names=None)}, {}, "the label is 1.6, expected a name or a whole number"),
        ({ONE: table([1, 2], [[0], [1]], names=None)}, {}, r"the label is \[0\]"),
        ({ONE: table([1, 2], [None, None], names=None)}, {}, "no image has a label"),
        ({ONE: table([1, 2], [0, 1], label="x", names=None)}, {}, "0 columns that could be the label among image, x"),
        ({ONE: table([1, 2], [0, 1])}, {"image": "picture"}, "no column picture among image, label"),
        ({ONE: table([1], [0]), "data/test.parquet": UNLABELED}, {}, "test.parquet: 0 columns that could be the label"),
        ({ONE: table([1], [0]).slice(0, 0)}, {}, "no rows"),
        ({ONE: table([None, None], [0, 1])}, {}, "row 0: the image is not in the file"),
        ({"a/train.parquet": table([1], [0]), "b/train.parquet": table([1], [0])}, {}, r"several .* \(a, b\)"),
        ({"train.parquet": table([1], [0]), "train.arrow": table([1], [0])}, {}, ".arrow and .parquet files"),
        ({"train_test.parquet": table([1], [0])}, {}, "names several splits"),
        ({"test-set/train.parquet": table([1], [0])}, {}, "the file is named train, its folder test-set"),
        (dict.fromkeys((f"{name}/train-00000-of-00001.parquet" for name in ("eval", "dev")), GOOD), {}, r"\(dev, eval"),
        (dict.fromkeys((f"snapshots/{name}/data/train.parquet" for name in "ab"), GOOD), {}, "several"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, files, args, word):
    for path, made in files.items():
        write(tmp_path / "in" / path, made)
    with pytest.raises(UserError, match=word) as error:
        read(tmp_path / "in", **args)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_link_to_another_split_a_damaged_file_and_an_empty_folder(tmp_path, suffix):
    with pytest.raises(UserError, match="no parquet or arrow files in it"):
        huggingface.fingerprint(config_of(tmp_path).data)
    write(tmp_path / "in" / f"train.{suffix}", table([1, 2], [0, 1]))
    (tmp_path / "in" / f"test.{suffix}").symlink_to(f"train.{suffix}")
    with pytest.raises(UserError, match="by a link, which would be used twice"):
        read(tmp_path / "in")
    (tmp_path / "in" / f"test.{suffix}").unlink()
    path = tmp_path / "in" / f"train.{suffix}"
    write(path, table(range(50), [1] * 50))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match=f"not a readable {suffix} file"):
        read(tmp_path / "in")
