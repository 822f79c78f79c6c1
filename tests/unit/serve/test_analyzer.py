"""One call from a picture or video to its faces."""

import io
import json
import os
import pickle
import subprocess
import sys
import typing

import cv2
import numpy as np
import pytest
from PIL import Image

import fer_jax
from fer_jax.errors import UserError
from fer_jax.labels import FER2013
from fer_jax.preprocess import images
from fer_jax.serve import analyzer
from tests import serving
from tests.conftest import run_python

HAPPY, SAD = (serving.brightness_of(FER2013.index(name)) for name in ("happy", "sad"))


@pytest.fixture(scope="module")
def whole_pictures(brightness_bundle):
    """An analyzer for which every picture is a face that is named by its brightness."""
    return fer_jax.Analyzer(brightness_bundle, "none")


def _png(image):
    return cv2.imencode(".png", image)[1].tobytes()


def test_a_picture_in_every_form_gives_the_same_face(whole_pictures, tmp_path):
    gray = np.full((30, 40), HAPPY, np.uint8)
    color = np.repeat(gray[..., None], 3, -1)
    path = tmp_path / "a.png"
    path.write_bytes(_png(gray))
    forms = [path, str(path), _png(gray), gray, color, cv2.cvtColor(color, cv2.COLOR_BGR2BGRA), Image.fromarray(gray)]
    for faces in [whole_pictures(form) for form in forms] + whole_pictures(forms):
        (face,) = faces
        assert face.label == "happy"
        assert face.box == (0, 0, 40, 30)
        assert sum(face.probabilities.values()) == pytest.approx(1)
        assert face.probability == max(face.probabilities.values()) == face.probabilities["happy"]
        assert (face.frame, face.time, face.track) == (0, 0.0, 0)
    assert whole_pictures(path)[0].source == str(path)
    assert whole_pictures(gray)[0].source == "<memory>"


def test_colors_are_those_of_opencv_unless_rgb_is_said(whole_pictures):
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 2] = 255
    by_bgr = whole_pictures(red)[0].probabilities
    assert whole_pictures(red[..., ::-1].copy(), rgb=True)[0].probabilities == by_bgr
    assert whole_pictures(Image.fromarray(red[..., ::-1]))[0].probabilities == by_bgr
    assert whole_pictures(red, rgb=True)[0].probabilities != by_bgr


def test_a_pil_image_is_turned_upright_keeps_its_gray_and_is_refused_if_it_is_half(whole_pictures, tmp_path):
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.new("L", (40, 30), HAPPY).save(file, "jpeg", exif=exif)
    assert whole_pictures(Image.open(file))[0].box == whole_pictures(file.getvalue())[0].box == (0, 0, 30, 40)
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((30, 40), HAPPY * 257, np.uint16))
    deep = Image.open(tmp_path / "deep.png")
    assert deep.mode.startswith("I;16")
    assert whole_pictures(deep)[0].probabilities == whole_pictures(tmp_path / "deep.png")[0].probabilities
    data = _png(np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8))
    with pytest.raises(UserError, match="<memory>: a PIL image that cannot be decoded"):
        whole_pictures(Image.open(io.BytesIO(data[: len(data) // 2])))


def test_pictures_are_drawn_and_saved_but_not_onto_themselves(whole_pictures, tmp_path):
    path = tmp_path / "a.png"
    images.write(path, np.full((80, 80), SAD, np.uint8))
    before = path.read_bytes()
    faces = whole_pictures(path)
    assert faces.draw().shape == (80, 80, 3)
    assert (faces.draw() != SAD).any()
    whole_pictures(np.full((80, 80), SAD, np.uint8)).save(tmp_path / "drawn.png")
    assert (images.read(tmp_path / "drawn.png")[..., ::-1] == faces.draw()).all()
    (tmp_path / "link.png").symlink_to("a.png")
    for place in (path, tmp_path / "link.png"):
        with pytest.raises(UserError, match=r"would overwrite the input .*a.png: name another place"):
            faces.save(place)
    assert path.read_bytes() == before


def test_a_video_gives_the_faces_of_all_frames(whole_pictures, tmp_path):
    clip = serving.write_clip(tmp_path / "clip.mp4", [HAPPY] * 10 + [SAD] * 30)
    faces = whole_pictures(clip)
    assert [face.frame for face in faces] == list(range(40))
    assert {face.track for face in faces} == {faces[0].track}
    assert (faces[0].label, faces[-1].label) == ("happy", "sad")
    assert 0.0 == faces[0].time < faces[1].time < faces[-1].time
    with pytest.raises(ValueError, match=r"use Analyzer\.stream"):
        faces.draw()
    assert [frame.draw().shape for frame in whole_pictures.stream(clip)] == [(48, 64, 3)] * 40


def test_a_folder_gives_the_faces_of_all_pictures_and_videos(whole_pictures, tmp_path):
    serving.write_clip(tmp_path / "a.mp4", [HAPPY] * 3)
    for name, gray in (("b", SAD), ("c", HAPPY)):
        images.write(tmp_path / f"{name}.png", np.full((20, 20), gray, np.uint8))
    faces = whole_pictures(tmp_path)
    names = ["a.mp4"] * 3 + ["b.png", "c.png"]
    assert [face.source for face in faces] == [str(tmp_path / name) for name in names]
    assert [face.label for face in faces] == ["happy"] * 3 + ["sad", "happy"]
    assert [face.frame for face in faces] == [0, 1, 2, 3, 4]
    assert [face.time > 0 for face in faces] == [False, True, True, False, False], "a picture has no time"
    assert [face.track for face in faces[3:]] == [0, 0], "and counts its own faces"


def test_faces_as_json_rows_and_table(whole_pictures, monkeypatch):
    pandas = pytest.importorskip("pandas")
    faces = whole_pictures(np.full((20, 20), SAD, np.uint8))
    (face,) = json.loads(faces.to_json())
    assert face["label"] == "sad"
    assert face["box"] == [0, 0, 20, 20]
    table = faces.to_pandas()
    assert isinstance(table, pandas.DataFrame)
    assert list(table.columns) == analyzer.columns(FER2013)
    assert table.loc[0, "label"] == "sad"
    assert table.loc[0, "sad"] == face["probabilities"]["sad"]
    assert "sad" in repr(faces)
    empty = fer_jax.Analyzer(whole_pictures.classifier.bundle.path, "haar")(np.full((60, 60), SAD, np.uint8))
    assert not empty
    assert empty.to_json() == "[]"
    assert list(empty.to_pandas().columns) == analyzer.columns(FER2013)
    assert empty.draw().shape == (60, 60, 3)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match="to_pandas needs pandas, which is not installed: pip install pandas"):
        faces.to_pandas()


def test_mirror_images_count_for_pictures_and_not_for_videos(brightness_bundle, tmp_path, monkeypatch):
    asked, original = [], analyzer.Classifier.classify

    def classify(self, crops, tta="none"):
        asked.append(tta)
        return original(self, crops, tta)

    monkeypatch.setattr(analyzer.Classifier, "classify", classify)
    picture = np.full((20, 20), SAD, np.uint8)
    clip = serving.write_clip(tmp_path / "clip.mp4", [HAPPY] * 3)
    for tta, of_picture, of_clip in (("auto", "flip", "none"), ("none", "none", "none"), ("flip", "flip", "flip")):
        for source, expected in ((picture, of_picture), (clip, of_clip)):
            asked.clear()
            fer_jax.Analyzer(brightness_bundle, "none", tta=tta)(source)
            assert set(asked) == {expected}


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("nowhere.jpg", UserError, "nowhere.jpg: no such file"),
        (b"no image", UserError, "<memory>: not an image that OpenCV can read"),
        (b"", UserError, "<memory>: not an image"),
        (7, TypeError, "cannot analyze a int"),
        (np.zeros((4, 4)), ValueError, "expected uint8 pixels .* got float64"),
        (np.zeros((2, 4, 4, 3), np.uint8), ValueError, r"of shape \(2, 4, 4, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, "has no pixels"),
        ({"tta": "x"}, UserError, "unknown test-time augmentation 'x': expected one of auto"),
        ({"threads": 0}, UserError, "threads is 0"),
    ],
)
def test_what_is_no_picture_and_no_choice_is_refused(brightness_bundle, whole_pictures, source, error, message):
    with pytest.raises(error, match=message):
        fer_jax.Analyzer(brightness_bundle, "none", **source) if isinstance(source, dict) else whole_pictures(source)


def test_the_model_in_the_box_is_loaded_once_for_a_prior():
    assert analyzer._default("auto", "") is analyzer._default("auto", "")
    for options in ({}, {"prior": {"happy": 0.3}}):
        assert fer_jax.analyze(np.full((60, 60), SAD, np.uint8), **options).labels == FER2013
    text, named = (fer_jax.Analyzer(prior=prior).classifier.shift for prior in ("happy:0.3", {"happy": 0.3}))
    np.testing.assert_array_equal(text, named)


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, fer_jax\n"
        "assert not {'numpy', 'cv2', 'jax', 'absl'} & set(sys.modules)\n"
        "print(dir(fer_jax), fer_jax.Analyzer)"
    )
    assert "analyze" in run_python("-c", code, check=True).stdout
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        _ = fer_jax.absent
    assert analyzer._name("rtsp://me:secret@camera/live") == "rtsp://camera/live"
    assert "source" in typing.get_type_hints(fer_jax.analyze)
    assert "source" in typing.get_type_hints(fer_jax.Analyzer.__call__)


def test_results_and_analyzers_are_hashed_pickled_and_copied(whole_pictures, tmp_path):
    images.write(tmp_path / "a.png", np.full((20, 20), HAPPY, np.uint8))
    faces = whole_pictures(tmp_path / "a.png")
    assert len({*faces, *whole_pictures(tmp_path / "a.png")}) == 1
    again = pickle.loads(pickle.dumps(faces))
    assert again.to_json() == faces.to_json()
    np.testing.assert_array_equal(again.draw(), faces.draw())
    assert again.summary() == faces.summary()
    assert pickle.loads(pickle.dumps(whole_pictures))(tmp_path / "a.png").to_json() == faces.to_json()


def test_a_thousand_pictures_keep_no_pixels_and_are_read_again_to_be_drawn(whole_pictures, tmp_path):
    images.write(tmp_path / "a.png", np.full((900, 900), HAPPY, np.uint8))
    many = whole_pictures([tmp_path / "a.png"] * 20)
    assert len(pickle.dumps(many)) < 100_000
    assert many[7].draw().shape == (900, 900, 3)
    assert "<image" in many[7].plot(thumbnails=True).svg()
    images.write(tmp_path / "a.png", np.full((800, 900), HAPPY, np.uint8))
    with pytest.raises(UserError, match="the file changed since it was analyzed"):
        many[7].draw()


def test_results_show_themselves_in_two_lines_and_as_pictures(whole_pictures, tmp_path):
    clip = serving.write_clip(tmp_path / "<clip>.mp4", [HAPPY] * 10 + [SAD] * 30)
    for faces, picture in (
        (whole_pictures(np.full((900, 20), HAPPY, np.uint8)), "<img"),
        (whole_pictures(clip), "<svg"),
    ):
        for shown in (faces, faces[0], faces.summary(), faces.summary().people[0]):
            assert len(repr(shown)) < 240 + len(faces.source)
        assert "happy" in repr(faces) and "happy" in repr(faces[0])
        assert picture in faces._repr_html_()
        assert "<clip>" not in faces._repr_html_()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_answers_as_its_parent_does(brightness_bundle):
    """In a process of its own: JAX, which other tests import, warns of forks."""
    code = (
        "import multiprocessing, sys, numpy as np\nfrom fer_jax.serve.classifier import Classifier\n"
        "classify, crops = Classifier(sys.argv[1]).probabilities, [np.full((8, 8), 9, np.uint8)] * 40\n"
        "expected, context = classify(crops), multiprocessing.get_context('fork')\n"
        "child = context.Process(target=lambda: sys.exit(not (classify(crops) == expected).all()))\n"
        "child.start(); child.join(60); child.kill(); sys.exit(child.exitcode)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, brightness_bundle]).returncode == 0
