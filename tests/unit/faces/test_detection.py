import types

import cv2
import numpy as np
import pytest

from fer_jax.errors import UserError
from fer_jax.faces import cropping, detection

FRAME = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
FAR = 200  # pixels of padding: further than any square below reaches


@pytest.mark.parametrize(
    ("shape", "small", "scale"),
    [
        ((480, 640), (240, 320), 2),
        ((1000, 100), (320, 32), 3.125),
        ((100, 200), (100, 200), 1),
        ((10_000, 1), (320, 1), 31.25),
    ],
)
def test_shrinking_keeps_the_proportions_and_never_enlarges(shape, small, scale):
    image, factor = detection.shrink(np.zeros(shape, np.uint8), 320)
    assert image.shape == small
    assert factor == scale


def test_without_a_detector_the_picture_is_the_face():
    (face,) = detection.create("none").detect(FRAME)
    np.testing.assert_array_equal(face.box, [0, 0, 40, 30])


def test_detectors_that_cannot_be_had(tmp_path):
    with pytest.raises(UserError, match="unknown detector 'dlib': expected haar, yunet or none"):
        detection.create("dlib")
    with pytest.raises(UserError, match=r"yunet has no model file: get face_detection_yunet_2023mar.onnx"):
        detection.create("yunet")
    with pytest.raises(UserError, match=r"yunet.onnx: no such file"):
        detection.create("yunet", str(tmp_path / "yunet.onnx"))
    (tmp_path / "yunet.onnx").write_bytes(b"something else")
    with pytest.raises(UserError, match=r"yunet.onnx: not a YuNet model"):
        detection.create("yunet", str(tmp_path / "yunet.onnx"))


def test_an_opencv_without_cascades(monkeypatch):
    monkeypatch.setattr(cv2, "data", types.SimpleNamespace(haarcascades="/nowhere/"))
    with pytest.raises(UserError, match=r"carries no haarcascade_frontalface_alt2.xml: install opencv-python below 5"):
        detection.create("haar")


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 700, 3), (30, 30, 3), (480, 640, 3)])
def test_a_frame_without_faces(shape):
    assert detection.create("haar", align=True).detect(np.zeros(shape, np.uint8)) == []


def _detector(name, request, **kwargs):
    return detection.create(name, str(request.getfixturevalue("yunet_model")) if name == "yunet" else "", **kwargs)


@pytest.mark.parametrize(("name", "at_least"), [("haar", 5), ("yunet", 6)])
def test_the_group_is_found_in_its_picture(name, at_least, group_picture, request):
    found = _detector(name, request, search_side=detection.SEARCH_SIDE_STILL).detect(group_picture)
    assert at_least <= len(found) <= 7
    largest = max(found, key=lambda face: face.box[2])
    x, y = largest.box[:2] + largest.box[2:] / 2
    assert 640 < x < 1000
    assert 600 < y < 920


@pytest.mark.parametrize("name", ["haar", "yunet"])
def test_eyes_tell_the_roll(name, group_picture, request):
    detector = _detector(name, request, align=True)
    upright = cv2.resize(group_picture[230:363, 324:457], (300, 300), interpolation=cv2.INTER_CUBIC)
    rolls = []
    for degrees in (-15, 0, 15):  # clockwise, which OpenCV counts backwards
        turned = cv2.warpAffine(
            upright, cv2.getRotationMatrix2D((150, 150), -degrees, 1), (300, 300), borderMode=cv2.BORDER_REPLICATE
        )
        (face,) = detector.detect(turned)
        rolls.append(face.roll)
    assert rolls == sorted(rolls)
    assert rolls[2] - rolls[0] == pytest.approx(30, abs=14)


@pytest.mark.parametrize("name", ["haar", "yunet"])
def test_a_face_that_the_frame_cuts_off_is_found_and_completed(name, group_picture, request):
    picture = group_picture[:810]  # through the large face, below the nose
    found = _detector(name, request).detect(picture)
    largest = max(found, key=lambda face: face.box[2]).box
    assert largest[2] > 200
    square = cropping.cut(picture, largest, cropping.CropPolicy.of(cropping.CROP, name))
    assert square.shape[0] == square.shape[1]
    assert largest[1] + largest[3] > 800
