"""The square that is cut around a face."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_jax.errors import UserError
from fer_jax.faces import cropping

FRAME = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
FAR = 200  # pixels of padding: further than any square below reaches


@settings(deadline=None, max_examples=200)
@given(left=st.integers(-60, 60), top=st.integers(-60, 60), width=st.integers(1, 50), height=st.integers(1, 50))
def test_a_cut_is_the_square_of_the_frame_with_repeated_edges(left, top, width, height):
    cut = cropping.cut(FRAME, np.array([left, top, width, height], float))
    side = max(width, height)
    x, y = round(left + width / 2 - side / 2) + FAR, round(top + height / 2 - side / 2) + FAR
    padded = np.pad(FRAME, ((FAR, FAR), (FAR, FAR), (0, 0)), mode="edge")
    np.testing.assert_array_equal(cut, padded[y : y + side, x : x + side])


@settings(deadline=None, max_examples=50)
@given(
    box=st.tuples(*[st.floats(-100, 100)] * 2, *[st.floats(0, 100)] * 2),
    enlarge=st.floats(0.1, 3),
    offset=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
    roll=st.floats(-45, 45),
)
def test_a_cut_is_a_square_of_the_policy_s_size_wherever_the_box_lies(box, enlarge, offset, roll):
    cut = cropping.cut(FRAME, np.array(box), cropping.CropPolicy(enlarge, offset), roll)
    side = max(round(max(box[2:]) * enlarge), 1)
    assert cut.shape == (side, side, 3)
    assert cut.dtype == np.uint8


def test_the_policy_moves_and_enlarges_the_square():
    frame = np.zeros((100, 100), np.uint8)
    frame[20:50, 40:70] = 255
    cut = cropping.cut(frame, np.array([44, 10, 16, 20], float), cropping.CropPolicy(1.5, (0.15, 0.75)))
    assert cut.shape == (30, 30)
    assert cut.min() == 255


def test_no_policy_takes_the_frame_as_it_is():
    assert cropping.cut(FRAME, np.array([3, 4, 5, 6.0]), None) is FRAME


def test_roll_levels_what_slopes():
    upright = np.zeros((200, 200), np.uint8)
    cv2.circle(upright, (80, 90), 6, 255, cv2.FILLED)
    cv2.circle(upright, (120, 90), 6, 255, cv2.FILLED)
    # positive angles of OpenCV turn against the clock: eyes that slope down to the right by 20 degrees
    sloping = cv2.warpAffine(upright, cv2.getRotationMatrix2D((100, 100), -20, 1), (200, 200))
    box = np.array([50, 50, 100, 100], float)
    level = cropping.cut(sloping, box, roll=20)
    assert np.abs(level.astype(int) - cropping.cut(upright, box)).mean() < 2
    unturned = cropping.cut(sloping, box)
    assert np.abs(unturned.astype(int) - cropping.cut(upright, box)).mean() > 5
    for roll in (None, 0.9 * cropping.MIN_ROLL_DEGREES):
        np.testing.assert_array_equal(cropping.cut(sloping, box, roll=roll), unturned)


def test_policies_come_from_the_bundle():
    assert cropping.CropPolicy.of(cropping.CROP, "haar") == cropping.CropPolicy(1.03, (0.0, 0.0))
    assert cropping.CropPolicy.of(cropping.CROP, "none") is None
    with pytest.raises(UserError, match="no crop policy for the detector yunet, only for haar"):
        cropping.CropPolicy.of({"detectors": {"haar": cropping.CROP["detectors"]["haar"]}}, "yunet")
