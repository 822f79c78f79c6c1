"""Lists of image files: columns given and guessed, data sets in the layouts they come in, and what is refused."""

import cv2
import numpy as np
import pytest

from fer_jax.data import cache, tables
from fer_jax.data.sources import folder
from fer_jax.data.sources import list as source
from fer_jax.errors import UserError
from tests import datasets
from tests.datasets import draw

MISSING = "".join(f"no{i}.png,a\n" for i in range(15))


@pytest.fixture
def pictures(tmp_path):
    draw(tmp_path, *(f"{value}.png" for value in range(6)), size=20)
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.png").symlink_to("1.png")
    return tmp_path


def config_of(path, **args):
    return datasets.config_of("list", path, 8, **args)


def read(path, **args):
    return datasets.read("list", path, 8, **args)


def write(folder, text, name="faces.csv"):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def raf_db(root):
    draw(root / "Image/aligned", *(f"{stem}_aligned.jpg" for stem in ("train_00001", "train_00002", "test_0001")))
    write(root, "train_00001.jpg 5\ntrain_00002.jpg 1\ntest_0001.jpg 7\n", "EmoLabel/list_patition_label.txt")


def affectnet(root):
    head = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"
    draw(root / "Manually_Annotated_Images" / "1", *(f"{number}.jpg" for number in range(4)))
    rows = [f"1/{number}.jpg,2,2,10,10,1;2,{label},0,0\n" for number, label in enumerate((1, 10, 7, 6))]
    write(root, head + "".join(rows[:3]), "training.csv")
    write(root, head + rows[3], "validation.csv")


def affectnet_annotations(root):
    for split, number, label in (("train", 0, "3"), ("train", 11, "2"), ("val", 5, "0")):
        draw(root / f"{split}_set" / "images", f"{number}.jpg")
        (root / f"{split}_set" / "annotations").mkdir(exist_ok=True)
        np.save(root / f"{split}_set" / "annotations" / f"{number}_exp.npy", label)
        np.save(root / f"{split}_set" / "annotations" / f"{number}_val.npy", "0.5")


def expw(root):
    draw(root / "origin", "angry_actor_104.jpg")
    write(root, "angry_actor_104.jpg 0 2 3 15 12 89.1 3\n", "label.lst")


TRAINED = ["Training", "Training"]


@pytest.mark.parametrize(
    ("layout", "make", "names", "splits"),
    [
        ("raf-db", raf_db, ["sad", "surprise", "neutral"], [*TRAINED, "PrivateTest"]),
        ("affectnet", affectnet, ["happy", "contempt", "angry"], [*TRAINED, "PublicTest"]),
        ("affectnet", affectnet_annotations, ["surprise", "sad", "neutral"], [*TRAINED, "PublicTest"]),
        ("expw", expw, ["happy"], ["all"]),
    ],
)
def test_a_data_set_as_it_comes(tmp_path, layout, make, names, splits):
    with pytest.raises(UserError, match=r"no list of .*: expected one of"):
        read(tmp_path, layout=layout)
    make(tmp_path)
    examples = read(tmp_path, layout=layout)
    assert [examples.label_names[i] for i in examples.labels] == names
    assert examples.split.tolist() == splits


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
    assert tables.lists_images(write(tmp_path, header)) == expected
    assert not tables.lists_images(tmp_path)


@pytest.mark.parametrize("separator", [",", "\t", ";", " ", "|"])
def test_columns_are_guessed_by_their_names_and_logged(pictures, caplog, separator):
    table = "Image,Emotion,Usage,person\n1.png,happy,train,A\n0.png,angry,val,B\n3.png,happy,other,A\n"
    examples = read(write(pictures, table.replace(",", separator)))
    assert examples.images[:, 0, 0, 0].tolist() == [1, 0, 3]
    assert (examples.label_names, examples.labels.tolist()) == (("angry", "happy"), [1, 0, 1])
    assert examples.split.tolist() == ["Training", "PublicTest", "other"]
    assert examples.subjects.tolist() == ["A", "B", "A"]
    assert "file Image, label Emotion, split Usage, subject person" in caplog.text


def test_given_columns_and_names_of_numbers(pictures):
    table = write(pictures / "..", "a,b,label\n1.png,1,x\n2.png,3,x\n")
    examples = read(table, root=str(pictures), file="a", label="b", labels=("fear", "happy", "sad"), first_label=1)
    assert (examples.label_names, examples.labels.tolist()) == (("fear", "happy", "sad"), [0, 2])
    assert examples.split_names == ("all",)


@pytest.fixture
def boxed(tmp_path):
    """A folder with a.png, black, with a white square of 8 pixels at (10, 4)."""
    picture = np.zeros((20, 30), np.uint8)
    picture[4:12, 10:18] = 200
    assert cv2.imwrite(str(tmp_path / "a.png"), picture)
    return tmp_path


def test_a_box_is_cut_by_the_crop_policy(boxed):
    table = write(boxed, "file,label,x,y,w,h\na.png,happy,10,4,8,8\na.png,sad,0,12,8,8\n")
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
        ("file,x\n1.png,1\n", {}, "no column for the label among file, x: name it label, or give its name as"),
        ("file,label,emotion\n1.png,a,b\n", {}, "columns label and emotion could each be the label: give one as"),
        ("file,label\n1.png,a\n", {"label": "lable"}, "no column lable: it has file, label"),
        ("file,label\n1.png,1\n2.png,7\n", {}, r"line 2: labels are numbers \(1 to 7\), expected names"),
        ("file,label\n1.png,0\n2.png,1\n3.png,-1\n", {}, r"labels are numbers \(0 to 1\)"),
        ("file,label\n1.png,happy\n2.png,3\n", {}, r"line 3: labels are numbers \(3 to 3\)"),
        ("file,label\n1.png,0\n2.png,7\n", {"labels": ("a", "b")}, r"line 3: the label is '7', expected 0 .* to 1 \(b"),
        ("file,label\n1.png,a\n9.png,a\n8.png,b\n", {}, r"2 of 3 listed files are not there: .*9.png, .*8.png: give"),
        ("file,label\n1.png\n", {}, "line 2: 1 fields, expected 2"),
        ("file,label\n1.png,\n2.png,nan\n", {}, "line 2: no image has a label"),
        ("file,label,split\n1.png,a\n2.png,b,train,x\n", {}, "line 2: 2 fields, expected 3"),
        ("file,label\n0,1.png,a\n1,2.png,b\n", {}, "line 2: 3 fields, expected 2"),
        ("file,label\n/no/1.png,a\n", {}, "1 of 1 listed files are not there: /no/1.png: correct the list"),
        ("file,label\n,a\n", {}, "line 2: the file is empty"),
        ('file,label,note\n1.png,a,"nice\n2.png,b,fine\n3.png,a,"ok\n', {}, "line 2: .*quotes"),
        ('file,label,note\n1.png,a,"nice\n2.png,b,fine"\n', {}, "line 2: a quote is closed in another line"),
        ('file,label\n1.png,"a\n', {}, "line 2: .*quotes"),
        ("file,label\nhttp://x.org/1.png,a\n", {}, "line 2: a web address, expected a file"),
        ("file,label,person\n1.png,a,x\n2.png,b,\n", {}, "line 3: no person, as in 1 of 2 lines"),
        ("file,label\n1.png,a\n2.png,b\n1.png,b\n", {}, "line 4: 1.png has another label in .*line 2: remove one"),
        ("file,label\n1.png,a\n2.png,b\n1.png,a\n", {}, "line 4: 1.png is in .*line 2 too, and would be trained on"),
        (f"file,label\n1.png,a\n{MISSING}", {}, "15 of 16 listed files .*no9.png and 5 more: give"),
        ("file,label,split\n1.png,a,train\n./1.png,a,test\n2.png,b,train\n", {}, r"line 3: \w+.png is in .*line 2 too"),
        ("file,label,split\n1.png,a,train\nsub/../1.png,a,test\n2.png,b,train\n", {}, "line 3: .* is in .*line 2 too"),
        ("file,label,split\n1.png,a,train\nlink.png,a,test\n2.png,b,train\n", {}, "line 3: .* is in .*line 2 too"),
        ("file,label,split\n1.png,a,train\n1.png,a,test\n", {}, "line 3: 1.png is in .*line 2 too"),
        ("file,label\n", {}, "it lists no images"),
        ("file,label,x,y,w,h\n1.png,a,0,0,0,5\n", {}, "line 2: a box of 0 x 5, expected at least 4"),
        ("file,label,x,y,w,h\n1.png,a,0.1,0.1,0.8,0.8\n", {}, "box of 0.8 x 0.8, .*: give pixels, not fractions"),
        ("file,label,x,y,w,h\n1.png,a,nan,0,9,9\n", {}, "line 2: x is 'nan', expected a number"),
        ("file,label,x1,y1,x2,y2\n1.png,a,9,9,1,1\n", {}, "a box of -8 x -8"),
        ("file,label,left,top,r,b\n1.png,a,0,0,9,9\n", {}, "a box in a notation that is not known here"),
        ("file,label\n1.png,a\n", {"labels": ("a", "A ")}, "name one twice"),
        ("file,label,bbox\n1.png,a,[0 0 9 9]\n", {}, "a box in a notation that is not known here"),
        ("file,label,x,y,w,h,width,height\n1.png,a,0,0,9,9,20,20\n", {}, "a box in a notation that is not known here"),
        ("file,label,x,y,w,h\n1.png,a,0,0,five,5\n", {}, "line 2: w is 'five', expected a number"),
        ("file,label,x,y,w,h\n1.png,a,50,0,5,5\n", {}, r"1.png: its box .* lies outside the picture of 20x20 pixels"),
        ("file,happy,sad\n1.png,0,0\n", {}, "line 2: votes .*, expected at least one"),
        ("file,happy,sad\n1.png,nan,0\n", {}, "line 2: happy is 'nan', expected a number"),
        ("file,label,happy,sad\n1.png,1,0,9\n", {}, r"labels are numbers \(1 to 1\), expected names"),
        ("file,label,happy,sad\n1.png,sad,9,0\n2.png,happy,9,0\n3.png,happy,1,2\n", {}, "line 2: .* in 2 of 3 lines"),
        ("file,label,happy,sad\n1.png,0,9,0\n", {"labels": ("sad", "fear")}, "give a column for each class"),
        ("file,label\n1.png,a\n", {"layout": "fer"}, "layout is 'fer': expected one of raf-db, affectnet, expw"),
        ("file,label\n1.png,a\n", {"layout": "expw"}, "is a file, expected the folder of expw"),
        ("file,label\n1.png,a\n", {"box": ("x",)}, "box has 1 columns, expected left, top, width, height"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(pictures, table, args, message):
    with pytest.raises(UserError, match=message) as caught:
        read(write(pictures, table), **args)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "row", "args"),
    [
        ("x,y,w,h", "10,4,8,8", {}),
        ("face_x,face_y,face_width,face_height", "10,4,8,8", {}),
        ("bbox_left,bbox_top,bbox_w,bbox_h", "10,4,8,8", {}),
        ("left,top,right,bottom", "10,4,18,12", {}),
        ("x1,y1,x2,y2", "10,4,18,12", {}),
        ("x0,y0,x1,y1", "10,4,18,12", {}),
        ("xmin,ymin,xmax,ymax", "10,4,18,12", {}),
        ("width,height,x_min,y_min,x_max,y_max", "30,20,10,4,18,12", {}),
        ("x_center,y_center,width,height", "14,8,8,8", {}),
        ("xtl,ytl,xbr,ybr", "10,4,18,12", {}),
        ("top_left_x,top_left_y,bottom_right_x,bottom_right_y", "10,4,18,12", {}),
        ("FaceRectX,FaceRectY,FaceRectW,FaceRectH", "10,4,8,8", {}),
        ("a,b,c,d", "10,4,8,8", {"box": ("a", "b", "c", "d")}),
        ("p,y2,x2,y1,x1", "0,12,18,4,10", {"box": ("x1", "y1", "x2", "y2")}),
    ],
)
def test_boxes_are_read_in_the_notation_that_their_names_say(boxed, header, row, args):
    assert (read(write(boxed, f"file,label,{header}\na.png,happy,{row}\n"), **args).images[0] == 200).all()


@pytest.mark.parametrize("missing", ["", "-1", "nan", "NaN", "N/A", "-1.0", "None"])
def test_what_has_no_label_is_left_out_and_counted(pictures, caplog, missing):
    examples = read(write(pictures, f"file,label\n1.png,b\n2.png,{missing}\n3.png,a\n4.png,{missing}\n"))
    assert (examples.label_names, examples.labels.tolist()) == (("a", "b"), [1, 0])
    assert examples.images[:, 0, 0, 0].tolist() == [1, 3]
    assert "line 3: no label, as for 2 of 4 images, which are left out" in caplog.text
    assert examples.description.endswith("2 without a label left out")


def test_names_that_mean_the_same_are_one_class(pictures, caplog):
    words = ["Happy", "happy ", "happy", "joy", "w\u00fctend", "wu\u0308tend"]
    rows = "".join(f"{number}.png,{word}\n" for number, word in enumerate(words))
    examples = read(write(pictures, f"file,label\n{rows}"))
    assert examples.label_names == ("happy", "wu\u0308tend") and examples.labels.tolist() == [0, 0, 0, 0, 1, 1]
    assert "Happy and happy and joy are one class" in caplog.text


def test_lines_without_a_split_beside_others_are_of_no_split(pictures):
    examples = read(write(pictures, "file,label,split\n1.png,a,TRAIN\n2.png,b,\n3.png,b,dev\n4.png,a,Eval\n"))
    assert examples.split.tolist() == ["Training", source.NO_SPLIT, "PublicTest", "PrivateTest"]


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("file,label\n1.png,w\u00fctend\n", "utf-8-sig"),
        ("file\tlabel\n1.png\tw\u00fctend\n", "utf-16"),
        ("sep=;\r\nfile;label\r\n1.png;w\u00fctend\r\n", "utf-8"),
        ("file,label\r1.png,w\u00fctend\r", "utf-8"),
        ("file,label\n1.png,w\u00fctend,\n", "utf-8"),
        ("file,label\nx\\..\\1.png,w\u00fctend\n", "utf-8"),
    ],
)
def test_what_programs_write_is_read(pictures, content, encoding):
    (pictures / "x").mkdir()
    (pictures / "faces.csv").write_bytes(content.encode(encoding))
    assert tables.lists_images(pictures / "faces.csv")
    examples = read(pictures / "faces.csv")
    assert examples.label_names == ("w\u00fctend",) and examples.images[0, 0, 0, 0] == 1


def test_another_encoding_is_refused_with_its_line(pictures):
    (pictures / "faces.csv").write_bytes("file,label\n1.png,a\n2.png,w\u00fctend\n".encode("latin-1"))
    with pytest.raises(UserError, match="line 3: not text in UTF-8"):
        read(pictures / "faces.csv")


def test_a_home_folder_is_meant_by_its_sign(pictures, monkeypatch):
    monkeypatch.setenv("HOME", str(pictures))
    assert read(write(pictures / "..", "file,label\n~/2.png,a\n")).images[0, 0, 0, 0] == 2


def test_votes_beside_labels_are_in_the_order_of_the_classes(pictures, caplog):
    table = write(pictures, "file,label,sad,happy\n1.png,1,1,3\n2.png,0,9,1\n3.png,0,1,9\n")
    examples = read(table, labels=("sad", "happy"))
    assert examples.labels.tolist() == [1, 0, 0] and examples.votes[0].tolist() == [0.25, 0.75]
    assert "for another class than the label in 1 of 3 lines" in caplog.text
    examples = read(table, labels=("happy", "sad"), votes=("happy", "sad"))
    assert examples.votes[0].tolist() == [0.75, 0.25]


def test_a_face_may_be_listed_twice_within_a_split_and_a_picture_with_two_boxes(pictures):
    assert len(read(write(pictures, "file,label,split\n1.png,a,train\n1.png,a,train\n2.png,b,train\n"))) == 3
    assert len(read(write(pictures, "file,label,x,y,w,h\n1.png,a,0,0,9,9\n1.png,b,9,9,9,9\n"))) == 2


def test_caer_s_is_read_by_the_source_folder(tmp_path):
    names = ("Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
    draw(tmp_path, *(f"{split}/{name}/0001.png" for split in ("train", "test") for name in names))
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
