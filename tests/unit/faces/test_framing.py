"""The calibration of crop policies finds the square that a data set was framed by."""

import cv2
import numpy as np
import pytest

from fer_jax.errors import UserError
from fer_jax.faces import cropping, detection, framing, registry


class Spot:
    """A detector whose box is the bright rectangle of a picture."""

    name = "spot"

    def detect(self, frame):
        x, y, w, h = cv2.boundingRect((frame[..., 0] > 128).astype(np.uint8))
        return [detection.Face(np.array([x, y, w, h], float))] if w else []


def _images(left, top, width, height, count=3):
    images = np.zeros((count, 48, 48, 1), np.uint8)
    images[:, top : top + height, left : left + width] = 255
    return images


@pytest.mark.parametrize("channels", [1, 3])
def test_the_policy_leads_from_the_box_back_to_the_frame(channels):
    images = np.repeat(_images(12, 6, 24, 32), channels, axis=-1)
    measured = framing.calibrate(Spot(), images)
    policy = framing.policy(measured)
    assert measured["found"] == 1
    assert policy["enlarge"] == pytest.approx(48 / 32, abs=0.03)
    assert policy["offset"] == pytest.approx([0, 2 / 32], abs=0.02)
    square = cropping.cut(images[0], np.array([12, 6, 24, 32.0]), cropping.CropPolicy(48 / 32, (0, 2 / 32)))
    np.testing.assert_array_equal(square.squeeze(), images[0].squeeze())


def test_boxes_that_are_too_small_to_be_the_face_do_not_count():
    measured = framing.calibrate(Spot(), np.concatenate([_images(12, 6, 24, 32), _images(2, 2, 8, 8, 9)]))
    assert measured["found"] == 0.25
    assert framing.policy(measured)["enlarge"] == pytest.approx(48 / 32, abs=0.03)


def test_no_face_at_all():
    with pytest.raises(UserError, match=r"the detector spot found no face in 3 images: are they upright faces?"):
        framing.calibrate(Spot(), np.zeros((3, 48, 48, 1), np.uint8))


@pytest.mark.parametrize("name", ["haar", "yunet"])
def test_the_default_policy_is_what_fer2013_s_faces_say(name, fer2013_csv, request):
    images = []
    with fer2013_csv.open(encoding="utf-8") as file:
        next(file)
        for i, line in enumerate(file):
            if i % 30 == 0:
                images.append(np.array(line.split(",")[1].split(), np.uint8).reshape(48, 48, 1))
            if len(images) == 60:
                break
    detector = registry.create(name, str(request.getfixturevalue("yunet_model")) if name == "yunet" else "")
    policy = framing.policy(framing.calibrate(detector, np.array(images)))
    expected = cropping.CROP["detectors"][name]
    assert policy["enlarge"] == pytest.approx(expected["enlarge"], abs=0.04)
    assert policy["offset"] == pytest.approx(expected["offset"], abs=0.03)
