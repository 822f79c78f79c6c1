"""Lists of image files: columns given and guessed, data sets in the layouts they come in, and what is refused."""

import absl.logging
import cv2
import numpy as np
import pytest

from fer_jax.data import cache
from fer_jax.data.sources import folder
from fer_jax.data.sources import list as source
from fer_jax.errors import UserError
from fer_jax.recipes import default
from tests import datasets


def draw(path, value, size=20):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((size, size), value, np.uint8))


@pytest.fixture
def pictures(tmp_path):
    for value in range(6):
        draw(tmp_path / f"{value}.png", 10 * value)
    return tmp_path


def config_of(path, **args):
    config = default.get_config()
    config.data.source, config.data.path = "list", str(path)
    config.input.size = 8
    config.data.args.update(args)
    return config


def read(path, **args):
    config = config_of(path, **args)
    return datasets.in_memory(source.read(config.data, config.input))


def write(folder, text, name="faces.csv"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@pytest.mark.parametrize("separator", [",", "\t", ";", " "])
def test_columns_are_guessed_by_their_names_and_logged(pictures, caplog, separator):
    absl.logging.get_absl_logger().propagate = True
    caplog.set_level("INFO")
    table = "Image,Emotion,Usage,person\n1.png,happy,train,A\n0.png,angry,val,B\n3.png,happy,other,A\n"
    examples = read(write(pictures, table.replace(",", separator)))
    assert examples.images[:, 0, 0, 0].tolist() == [10, 0, 30]
    assert (examples.label_names, examples.labels.tolist()) == (("angry", "happy"), [1, 0, 1])
    assert examples.split.tolist() == ["Training", "PublicTest", "other"]
    assert examples.subjects.tolist() == ["A", "B", "A"]
    assert "file Image, label Emotion, split Usage, subject person" in caplog.text


def test_given_columns_and_names_of_numbers(pictures):
    table = write(pictures / "..", "a,b,label\n1.png,1,x\n2.png,3,x\n")
    examples = read(table, root=str(pictures), file="a", label="b", labels=("fear", "happy", "sad"), first_label=1)
    assert (examples.label_names, examples.labels.tolist()) == (("fear", "happy", "sad"), [0, 2])
    assert examples.split_names == ("all",)


def test_a_box_is_cut_by_the_crop_policy(tmp_path):
    picture = np.zeros((20, 30), np.uint8)
    picture[4:12, 10:18] = 200
    assert cv2.imwrite(str(tmp_path / "a.png"), picture)
    table = write(tmp_path, "file,label,x,y,w,h\na.png,happy,10,4,8,8\na.png,sad,0,12,8,8\n")
    examples = read(table)
    assert (examples.images[0] == 200).all() and (examples.images[1] == 0).all()
    assert 0 < (read(table, enlarge=2.0).images[0] == 0).mean() < 1


def test_votes_become_distributions_and_their_maximum_the_label(pictures):
    examples = read(write(pictures, "file,anger,happiness\n1.png,1,3\n2.png,5,0\n"))
    assert examples.label_names == ("anger", "happiness")
    assert examples.labels.tolist() == [1, 0]
    assert examples.votes.tolist() == [[0.25, 0.75], [1, 0]]


@pytest.mark.parametrize(
    ("table", "args", "message"),
    [
        ("file,x\n1.png,1\n", {}, "no column for the label among file, x: give its name as config.data.args.label"),
        ("file,label,emotion\n1.png,a,b\n", {}, "columns label and emotion could each be the label: give one as"),
        ("file,label\n1.png,a\n", {"label": "lable"}, "no column lable: it has file, label"),
        ("file,label\n1.png,1\n2.png,7\n", {}, "labels are the numbers 1 to 7: give their names in that order"),
        (
            "file,label\n1.png,0\n2.png,7\n",
            {"labels": ("a", "b")},
            r"line 3: the label is '7', expected 0 \(a\) to 1 \(b\)",
        ),
        ("file,label\n1.png,a\n9.png,a\n8.png,b\n", {}, r"2 of 3 listed files are not there: .*9.png, .*8.png: give"),
        ("file,label\n1.png\n", {}, "line 2: 1 fields, expected 2"),
        ("file,label\n1.png,a\n2.png,\n3.png,\n", {}, "line 3: the label is empty; 2 of 3 lines are so: add it or"),
        ("file,label\n1.png,a\n2.png,b\n1.png,b\n", {}, "line 4: 1.png has another label in .*line 2: remove one"),
        (
            "file,label\n1.png,a\n2.png,b\n1.png,a\n",
            {},
            "line 4: 1.png is in .*line 2 too, and would be trained on and",
        ),
        ("file,label,split\n1.png,a,train\n1.png,a,test\n", {}, "line 3: 1.png is in .*line 2 too"),
        ("file,label\n", {}, "it lists no images"),
        ("file,label,x,y,w,h\n1.png,a,0,0,0,5\n", {}, "line 2: the box .* has no area"),
        ("file,label,x,y,w,h\n1.png,a,0,0,five,5\n", {}, "line 2: w is 'five', expected a number"),
        ("file,label,x,y,w,h\n1.png,a,50,0,5,5\n", {}, r"1.png: its box .* lies outside the picture of 20x20 pixels"),
        ("file,happy,sad\n1.png,0,0\n", {}, "line 2: votes .*, expected at least one"),
        ("file,label\n1.png,a\n", {"layout": "fer"}, "layout is 'fer': expected one of raf-db, affectnet, expw"),
        ("file,label\n1.png,a\n", {"layout": "expw"}, "is a file, expected the folder of expw"),
        ("file,label\n1.png,a\n", {"box": ("x",)}, "box has 1 columns, expected left, top, width, height"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(pictures, table, args, message):
    with pytest.raises(UserError, match=message) as caught:
        read(write(pictures, table), **args)
    assert "\n" not in str(caught.value)


def test_a_face_may_be_listed_twice_within_a_split_and_a_picture_with_two_boxes(pictures):
    assert len(read(write(pictures, "file,label,split\n1.png,a,train\n1.png,a,train\n2.png,b,train\n"))) == 3
    assert len(read(write(pictures, "file,label,x,y,w,h\n1.png,a,0,0,9,9\n1.png,b,9,9,9,9\n"))) == 2


def test_more_than_ten_missing_files_are_counted(pictures):
    rows = "".join(f"no{i}.png,a\n" for i in range(15))
    with pytest.raises(UserError, match=r"15 of 16 listed files .*no9.png and 5 more: give"):
        read(write(pictures, f"file,label\n1.png,a\n{rows}"))


def test_caer_s_is_read_by_the_source_folder(tmp_path):
    names = ("Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
    for split in ("train", "test"):
        for value, name in enumerate(names):
            draw(tmp_path / split / name / "0001.png", value)
    config = config_of(tmp_path)
    examples = folder.read(config.data, config.input)
    assert examples.label_names == names and examples.split_names == ("Training", "PrivateTest")


def test_the_cache_follows_the_list_and_the_arguments(pictures):
    table = write(pictures, "file,label,emotion\n1.png,a,b\n2.png,b,a\n")
    config = config_of(table, label="label")
    config.data.cache_dir = str(pictures / "cache")
    assert cache.read(config.data, config.input).labels.tolist() == [0, 1]
    config.data.args.label = "emotion"
    assert cache.read(config.data, config.input).labels.tolist() == [1, 0]
    write(pictures, "file,label,emotion\n1.png,a,b\n")
    assert cache.read(config.data, config.input).labels.tolist() == [0]
