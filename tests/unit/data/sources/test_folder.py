"""A folder of images: classes and splits by the folders' names."""

import functools

import pytest

from fer_jax.data.sources import folder
from fer_jax.errors import UserError
from tests import datasets
from tests.datasets import draw

read = functools.partial(datasets.read, "folder")


def test_classes_are_the_sorted_names_of_the_folders(tmp_path):
    draw(tmp_path, "sad/1.png", "happy/2.jpg", "angry/b.tiff", "angry/a.png")
    examples = read(tmp_path)
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


def test_hidden_files_and_files_beside_the_classes_are_ignored(tmp_path, caplog):
    draw(tmp_path, "sad/1.png", "happy/2.png")
    for name in (".DS_Store", "sad/.DS_Store", "sad/._1.png", "README.txt"):
        (tmp_path / name).write_text("no image", encoding="utf-8")
    (tmp_path / ".git").mkdir()
    assert len(read(tmp_path)) == 2
    assert "1 files in no class folder are ignored (README.txt" in caplog.text


def test_images_of_any_size_are_brought_to_the_input(tmp_path):
    draw(tmp_path, "sad/1.png", "happy/2.png", size=100)
    assert read(tmp_path, size=32).images.shape == (2, 32, 32, 1)


def test_the_fingerprint_sees_the_names_of_splits(tmp_path):
    data = datasets.config_of("folder", draw(tmp_path, "train/sad/1.png", "train/happy/2.png")).data
    before = folder.fingerprint(data)
    data.train_split = "train"
    assert folder.fingerprint(data) != before


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["sad/1.png"], r"1 class folders \(sad\): expected one folder a class"),
        (["train/sad/1.png"], r"train: 1 class folders \(sad\)"),
        ([], r"0 class folders \(none\)"),
        (
            ["train/sad/1.png", "train/happy/1.png", "test/sad/1.png", "test/fear/1.png"],
            r"test: classes fear, sad, expected those of .*train, happy, sad: give every split the same class folders",
        ),
        (["train/sad/1.png", "train/happy/1.png", "fear/1.png"], "folders fear, train, splits beside others"),
    ],
)
def test_a_layout_that_is_not_meant(tmp_path, files, message):
    draw(tmp_path, *files)
    with pytest.raises(UserError, match=message):
        read(tmp_path)


def test_folders_without_images(tmp_path):
    (tmp_path / "sad").mkdir()
    (tmp_path / "happy").mkdir()
    with pytest.raises(UserError, match="no images in the folders happy, sad"):
        read(tmp_path)
    draw(tmp_path, "sad/1.png")
    with pytest.raises(UserError, match="no images of class happy: add some or remove the folder"):
        read(tmp_path)


def test_a_file_that_is_no_image_is_named(tmp_path):
    draw(tmp_path, "sad/1.png", "happy/2.png")
    (tmp_path / "sad" / "notes.txt").write_text("about the faces", encoding="utf-8")
    with pytest.raises(UserError, match=r"sad/notes.txt: not an image that OpenCV can read"):
        read(tmp_path)


def test_a_folder_in_a_class_folder_is_named(tmp_path):
    draw(tmp_path, "faces/sad/1.png", "faces/happy/2.png", "more/sad/1.png", "more/happy/1.png")
    with pytest.raises(UserError, match=r"faces/happy: Is a directory, expected an image: move or remove it"):
        read(tmp_path)


def test_what_systems_leave_in_folders_is_ignored(tmp_path):
    draw(tmp_path, "sad/1.png", "happy/2.png", "__MACOSX/sad/1.png")
    for name in ("Thumbs.db", "desktop.ini", "sad/Thumbs.db", "happy/desktop.ini", "happy/._2.png"):
        (tmp_path / name).write_bytes(b"no image")
    assert read(tmp_path).label_names == ("happy", "sad")


def test_all_unreadable_files_are_named_at_once(tmp_path):
    draw(tmp_path, "sad/1.png", "happy/2.png")
    for name in ("sad/notes.txt", "happy/a.doc", "happy/b.doc"):
        (tmp_path / name).write_text("no image", encoding="utf-8")
    with pytest.raises(
        UserError, match=r"happy/a.doc: not an image .*; 2 others cannot be read either: b.doc, notes.t"
    ):
        read(tmp_path)


@pytest.mark.parametrize("one", ["Sad", "sadness", "sad "])
def test_two_folders_of_one_class_are_refused(tmp_path, one):
    draw(tmp_path, "sad/1.png", f"{one}/1.png", "happy/1.png")
    with pytest.raises(
        UserError, match=rf"({one} and sad|sad and {one}) mean the same class: put their images into one"
    ):
        read(tmp_path)


def test_links(tmp_path, caplog):
    draw(tmp_path, "sad/1.png", "happy/1.png")
    (tmp_path / "sad" / "loop.png").symlink_to("loop.png")
    with pytest.raises(UserError, match=r"sad/loop.png: Too many levels of symbolic links"):
        read(tmp_path)
    (tmp_path / "sad" / "loop.png").unlink()
    for target in ("nowhere", "fear"):  # the second is a loop
        (tmp_path / "fear").symlink_to(target)
        with pytest.raises(UserError, match="fear: a link that leads nowhere: mend or remove it"):
            read(tmp_path)
        (tmp_path / "fear").unlink()


def test_files_beside_the_classes_are_said_once(tmp_path, caplog):
    draw(tmp_path, "sad/1.png", "happy/2.png")
    (tmp_path / "README.txt").write_text("", encoding="utf-8")
    read(tmp_path)
    read(tmp_path)
    assert caplog.text.count("in no class folder are ignored") == 1


def test_a_class_whose_name_is_not_utf8(tmp_path):
    draw(tmp_path, "sad/1.png", "happy/1.png")
    (tmp_path / "happy").rename(tmp_path / "caf\udce9")
    with pytest.raises(UserError, match="the name is not UTF-8"):
        read(tmp_path)


def test_names_that_systems_compose_otherwise_are_one_class(tmp_path):
    names = ["w\u00fctend", "wu\u0308tend", " Froh", "froh"]  # one letter, and a letter with a mark, as macOS writes
    draw(tmp_path, *(f"{split}/{name}/1.png" for split, name in zip(("train", "test") * 2, names, strict=True)))
    examples = read(tmp_path)
    assert examples.label_names == (" Froh", "w\u00fctend")
    assert examples.labels.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("val", "train"),
        ("val/sad", "../train/sad"),
        ("val/sad/2.png", "../../train/sad/1.png"),
        ("train/sad/2.png", "../happy/1.png"),
    ],
)
def test_a_link_does_not_bring_an_image_into_two_splits_or_classes(tmp_path, link, target):
    draw(tmp_path, "train/sad/1.png", "train/happy/1.png")
    if link != "val":
        draw(tmp_path, "val/happy/1.png", *(["val/sad/1.png"] if link != "val/sad" else []))
    (tmp_path / link).symlink_to(target)
    with pytest.raises(UserError, match=r"1.png by a link, which would be used twice: remove one of them"):
        read(tmp_path)


def test_the_same_image_twice_in_a_class_may_be_a_link(tmp_path):
    draw(tmp_path, "sad/1.png", "happy/1.png")
    (tmp_path / "sad" / "2.png").hardlink_to(tmp_path / "sad" / "1.png")
    assert len(read(tmp_path)) == 3
