"""Data sets in the layouts in which they are distributed, made small."""

import numpy as np
import pytest

from fer_jax.data import tables
from fer_jax.data.sources import list as source
from fer_jax.errors import UserError
from tests import datasets
from tests.datasets import draw


def read(path, layout):
    return datasets.read("list", path, layout=layout)


def write(folder, text, name):
    (folder / name).write_text(text, encoding="utf-8")


def test_raf_db(tmp_path):
    stems = "train_00001", "train_00002", "test_0001"
    draw(tmp_path / "Image" / "aligned", *(f"{stem}_aligned.jpg" for stem in stems))
    (tmp_path / "EmoLabel").mkdir()
    write(tmp_path / "EmoLabel", "train_00001.jpg 5\ntrain_00002.jpg 1\ntest_0001.jpg 7\n", "list_patition_label.txt")
    examples = read(tmp_path, layout="raf-db")
    assert [examples.label_names[i] for i in examples.labels] == ["sad", "surprise", "neutral"]
    assert examples.split.tolist() == ["Training", "Training", "PrivateTest"]


def test_affectnet_from_its_csv_files(tmp_path):
    head = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"
    draw(tmp_path / "Manually_Annotated_Images" / "1", *(f"{number}.jpg" for number in range(4)))
    write(
        tmp_path,
        head + "1/0.jpg,2,2,10,10,1;2,1,0,0\n1/1.jpg,2,2,10,10,1;2,10,0,0\n1/2.jpg,2,2,10,10,1;2,7,0,0\n",
        "training.csv",
    )
    write(tmp_path, head + "1/3.jpg,2,2,10,10,1;2,6,0,0\n", "validation.csv")
    examples = read(tmp_path, layout="affectnet")
    assert [examples.label_names[i] for i in examples.labels] == ["happy", "contempt", "angry"]
    assert examples.split.tolist() == ["Training", "Training", "PublicTest"]


def test_affectnet_from_its_annotations(tmp_path):
    for split, number, label in (("train", 0, "3"), ("train", 11, "2"), ("val", 5, "0")):
        draw(tmp_path / f"{split}_set" / "images", f"{number}.jpg")
        (tmp_path / f"{split}_set" / "annotations").mkdir(exist_ok=True)
        np.save(tmp_path / f"{split}_set" / "annotations" / f"{number}_exp.npy", label)
        np.save(tmp_path / f"{split}_set" / "annotations" / f"{number}_val.npy", "0.5")
    examples = read(tmp_path, layout="affectnet")
    assert [examples.label_names[i] for i in examples.labels] == ["surprise", "sad", "neutral"]
    assert examples.split.tolist() == ["Training", "Training", "PublicTest"]


def test_expw(tmp_path):
    draw(tmp_path / "origin", "angry_actor_104.jpg")
    write(tmp_path, "angry_actor_104.jpg 0 2 3 15 12 89.1 3\n", "label.lst")
    examples = read(tmp_path, layout="expw")
    assert [examples.label_names[i] for i in examples.labels] == ["happy"]
    assert examples.split_names == ("all",)


@pytest.mark.parametrize("layout", source.LAYOUTS)
def test_a_layout_is_recognized_by_each_of_its_signs(tmp_path, layout):
    for number, sign in enumerate(source.LAYOUTS[layout].signs):
        (tmp_path / str(number) / sign).mkdir(parents=True)
        assert source.layout_of(tmp_path / str(number)) == layout
    assert source.layout_of(tmp_path) == ""


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("file,label", True),
        ('"label";"Image_Path"', True),
        ("\ufefflabel\tpath\n", True),
        ("filename emotion", True),
        ("emotion,pixels,Usage", False),
        ("emotion,pixels,file", False),
        ("name,age", False),
        ("", False),
    ],
)
def test_a_list_is_known_by_a_column_of_files(tmp_path, header, expected):
    (tmp_path / "a.csv").write_text(header, encoding="utf-8")
    assert tables.lists_images(tmp_path / "a.csv") == expected
    assert not tables.lists_images(tmp_path)


@pytest.mark.parametrize("layout", ["raf-db", "affectnet", "expw"])
def test_a_folder_that_is_not_the_data_set(tmp_path, layout):
    with pytest.raises(UserError, match=r"no list of .*: expected one of"):
        read(tmp_path, layout=layout)
