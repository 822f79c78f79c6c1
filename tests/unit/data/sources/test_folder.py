"""A folder of images: classes and splits by the folders' names."""

import functools

import pytest

from fer_jax.data.sources import folder
from fer_jax.errors import UserError
from tests import datasets
from tests.datasets import draw

read = functools.partial(datasets.read, "folder")


def test_classes_are_the_sorted_names_of_the_folders(tmp_path):
    draw(tmp_path, "sad/1.png", "happy/2.jpg", "angry/b.tiff", "angry/a.png", size=100)
    examples = read(tmp_path, size=32)
    assert examples.images.shape == (4, 32, 32, 1)
    assert examples.label_names == ("angry", "happy", "sad")
    assert examples.labels.tolist() == [0, 0, 1, 2]
    assert examples.images[:, 0, 0, 0].tolist() == [3, 2, 1, 0]
    assert examples.split_names == ("all",)


@pytest.mark.parametrize(
    ("train", "select", "test"),
    [("train", "val", "test"), ("Training", "PublicTest", "PrivateTest"), ("train", "validation", "Testing")],
)
def test_splits_get_the_names_of_their_roles_in_the_config(tmp_path, train, select, test):
    draw(tmp_path, *(f"{split}/{name}/1.png" for split in (test, train, select) for name in ("sad", "happy")))
    examples = read(tmp_path)
    assert examples.split.tolist() == ["Training"] * 2 + ["PublicTest"] * 2 + ["PrivateTest"] * 2
    assert examples.of_split("Training").images[:, 0, 0, 0].tolist() == [3, 2]


def test_files_beside_the_classes_and_what_systems_leave_are_ignored_and_said_once(tmp_path, caplog):
    draw(tmp_path, "sad/1.png", "happy/2.png", "__MACOSX/sad/1.png")
    hidden = [".DS_Store", "sad/.DS_Store", "sad/._1.png", "happy/._2.png", "README.txt"]
    for name in (*hidden, "Thumbs.db", "desktop.ini", "sad/Thumbs.db", "happy/desktop.ini"):
        (tmp_path / name).write_text("no image", encoding="utf-8")
    (tmp_path / ".git").mkdir()
    assert len(read(tmp_path)) == 2
    assert read(tmp_path).label_names == ("happy", "sad")
    assert caplog.text.count("1 files in no class folder are ignored (README.txt") == 1


def test_the_fingerprint_sees_the_names_of_splits(tmp_path):
    data = datasets.config_of("folder", draw(tmp_path, "train/sad/1.png", "train/happy/2.png")).data
    before = folder.fingerprint(data)
    data.train_split = "train"
    assert folder.fingerprint(data) != before


TRAIN, TWO = ["train/sad/1.png", "train/happy/1.png"], ["sad/1.png", "happy/1.png"]


def text(*names):
    """A change of a folder: files of these names that are no images."""
    return lambda root: [(root / name).write_text("no image", encoding="utf-8") for name in names]


def link(name, target):
    """A change of a folder: a link."""
    return lambda root: (root / name).symlink_to(target)


@pytest.mark.parametrize(
    ("files", "change", "words"),
    [
        (["sad/1.png"], None, r"1 class folders \(sad\): expected one folder a class"),
        (["train/sad/1.png"], None, r"train: 1 class folders \(sad\)"),
        ([], None, r"0 class folders \(none\)"),
        ([*TRAIN, "test/sad/1.png", "test/fear/1.png"], None, "test: classes fear, sad, .*train, happy, sad: give"),
        ([*TRAIN, "fear/1.png"], None, "folders fear, train, splits beside others"),
        ([], lambda root: [(root / name).mkdir() for name in ("sad", "happy")], "no images in the folders happy, sad"),
        (["sad/1.png"], lambda root: (root / "happy").mkdir(), "no images of class happy: add some or remove the fold"),
        (TWO, text("sad/notes.txt"), "sad/notes.txt: not an image that OpenCV can read"),
        (TWO, text("sad/notes.txt", "happy/a.doc", "happy/b.doc"), "happy/a.doc: .*; 2 others .*: b.doc, notes.t"),
        (["a/sad/1.png", "a/happy/1.png", "b/sad/1.png", "b/happy/1.png"], None, "a/happy: Is a directory, expected"),
        ([*TWO, "Sad/1.png"], None, "(Sad and sad|sad and Sad) mean the same class: put their images into one"),
        ([*TWO, "sadness/1.png"], None, "(sadness and sad|sad and sadness) mean the same class"),
        ([*TWO, "sad /1.png"], None, "(sad  and sad|sad and sad ) mean the same class"),
        (TWO, link("sad/loop.png", "loop.png"), "sad/loop.png: Too many levels of symbolic links"),
        (TWO, link("fear", "nowhere"), "fear: a link that leads nowhere: mend or remove it"),
        (TWO, link("fear", "fear"), "fear: a link that leads nowhere: mend or remove it"),
        (TWO, lambda root: (root / "happy").rename(root / "caf\udce9"), "the name is not UTF-8"),
        # an image by a link in two splits or classes
        (TRAIN, link("val", "train"), "1.png by a link, which would be used twice: remove one of them"),
        ([*TRAIN, "val/happy/1.png"], link("val/sad", "../train/sad"), "1.png by a link, which would be used twice"),
        (
            [*TRAIN, "val/happy/1.png", "val/sad/1.png"],
            link("val/sad/2.png", "../../train/sad/1.png"),
            "1.png by a link",
        ),
        (TRAIN, link("train/sad/2.png", "../happy/1.png"), "1.png by a link, which would be used twice"),
    ],
)
def test_a_layout_that_is_not_meant(tmp_path, files, change, words):
    draw(tmp_path, *files)
    if change:
        change(tmp_path)
    with pytest.raises(UserError, match=words):
        read(tmp_path)


def test_names_that_systems_compose_otherwise_are_one_class(tmp_path):
    names = ["w\u00fctend", "wu\u0308tend", " Froh", "froh"]  # one letter, and a letter with a mark, as macOS writes
    draw(tmp_path, *(f"{split}/{name}/1.png" for split, name in zip(("train", "test") * 2, names, strict=True)))
    examples = read(tmp_path)
    assert examples.label_names == (" Froh", "w\u00fctend")
    assert examples.labels.tolist() == [0, 1, 0, 1]


def test_the_same_image_twice_in_a_class_may_be_a_link(tmp_path):
    draw(tmp_path, "sad/1.png", "happy/1.png")
    (tmp_path / "sad" / "2.png").hardlink_to(tmp_path / "sad" / "1.png")
    assert len(read(tmp_path)) == 3
