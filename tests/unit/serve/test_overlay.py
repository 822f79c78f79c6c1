"""What is drawn on a frame, and where."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_jax.faces.cropping import Region
from fer_jax.labels import FER2013
from fer_jax.serve import overlay
from fer_jax.serve.analysis import Activation, FrameResult
from fer_jax.serve.tracker import overlap
from tests import serving


def _face(track, box, label=3, **known):
    shares = np.full(7, 0.05)
    shares[label] = 0.7
    return serving.tracked(track, box, label, shares, **known)


def _result(faces, shape=(480, 640)):
    return FrameResult(serving.frame(image=np.full((*shape, 3), 90, np.uint8)), faces)


def _shows(image, label, tolerance=12):
    """How many pixels have a label's color."""
    color = np.array(overlay.COLORS[FER2013[label]])
    return int((np.abs(image.astype(int) - color).max(axis=-1) <= tolerance).sum())


@pytest.mark.parametrize("view", overlay.VIEWS)
def test_the_frame_itself_is_left_alone(view):
    result = _result([_face(1, [100, 100, 80, 80])])
    drawn = overlay.Overlay(FER2013).draw(result, view)
    assert drawn.shape == result.frame.image.shape
    assert (result.frame.image == 90).all()
    assert _shows(drawn, 3) > 500
    with pytest.raises(ValueError, match="unknown view 'both': expected one of multi, single"):
        overlay.Overlay(FER2013).draw(result, "both")


def test_multi_shows_all_faces_and_single_the_largest_with_bars():
    result = _result([_face(1, [300, 100, 60, 60], 0), _face(2, [400, 250, 120, 120], 3)])
    drawing = overlay.Overlay(FER2013)
    multi, single = drawing.draw(result, "multi"), drawing.draw(result, "single")
    assert min(_shows(multi, 0), _shows(multi, 3)) > 400
    assert _shows(single[:, 250:], 0) == 0
    assert _shows(single[:, 250:], 3) > 400
    panel = single[:200, :250]
    bars = [_shows(panel, label) for label in range(7)]
    assert bars[3] == max(bars), "the longest bar is the likeliest name's"
    assert min(bars) > 0, "every name has a bar"
    np.testing.assert_array_equal(multi[:50, :200], result.frame.image[:50, :200])


@pytest.mark.parametrize("shape", [(20, 1920), (70, 300), (300, 60), (85, 100), (300, 95)])
def test_bars_are_shown_for_every_name_or_for_none(shape):
    result = _result([_face(1, [shape[1] - 20, shape[0] - 20, 18, 18], 3)], shape)
    multi, single = (overlay.Overlay(FER2013).draw(result, view) for view in ("multi", "single"))
    bars = [_shows(single, label) for label in range(7) if label != 3]
    assert min(bars) > 0 or (multi == single).all()


@pytest.mark.parametrize("view", overlay.VIEWS)
def test_what_is_hardly_a_face_gets_no_name(view):
    faces = [_face(1, [300, 100, 90, 90], uncertain=True, doubtful=doubtful) for doubtful in (False, True)]
    with_name, without = (overlay.Overlay(FER2013).draw(_result([face]), view)[:, 250:] for face in faces)
    assert _shows(with_name, 3) > 400
    assert _shows(without, 3) == 0, "neither the name's color nor its label"
    assert (without != 90).any(), "but a box"


def test_two_faces_of_a_size_do_not_take_turns_in_the_single_view():
    drawing, seen = overlay.Overlay(FER2013), set()
    for i in range(10):
        wobble = 3 if i % 2 else -3
        faces = [_face(1, [100, 200, 100, 100 + wobble], 0), _face(2, [400, 200, 100, 100 - wobble], 3)]
        seen.add(_shows(drawing.draw(_result(faces), "single")[150:, 350:], 3) > 0)
    assert len(seen) == 1


def test_a_missed_face_shows_corners_only_and_an_uncertain_name_a_question_mark():
    drawing = overlay.Overlay(FER2013)
    box = [200, 200, 200, 200]
    found, missed, unsure = (
        drawing.draw(_result([_face(1, box, **kwargs)]), "multi")
        for kwargs in ({}, {"found": False}, {"uncertain": True})
    )
    assert _shows(found[300:301, 190:210], 3) > 0
    assert _shows(missed[300:301, 190:210], 3) == 0
    assert _shows(missed[198:260, 190:210], 3) > 0
    assert _shows(unsure, 3) > _shows(found, 3), "its label is longer"


def _activation(values, region):
    """With these values, the largest of which is one."""
    return Activation(np.multiply.outer(np.float32(values), np.float32([1, -1])), 0, region)


def _tinted(values, region, shape=(100, 200)):
    """Where a gray frame became redder and where bluer, bool (H, W) each."""
    image = np.full((*shape, 3), 90, np.uint8)
    overlay._Pen(image).tint(_activation(values, region))
    red_over_blue = image[..., 2].astype(int) - image[..., 0]
    return red_over_blue > 20, red_over_blue < -20


def test_what_speaks_for_a_name_is_red_and_what_speaks_against_it_blue():
    red, blue = _tinted([[1, -1]], Region(100, 50, 80, 40))
    assert red[30:70, 60:80].all()
    assert blue[30:70, 120:140].all()
    outside = np.ones((100, 200), bool)
    outside[30:70, 60:140] = False
    assert not (red | blue)[outside].any()
    assert not (red | blue)[:, 99:101].any(), "where nothing speaks nothing is tinted"


@pytest.mark.parametrize("roll", [-90, 90, 180])
def test_a_turned_face_has_a_turned_map(roll):
    red, _ = _tinted([[1, 0], [0, 0]], Region(100, 50, 40, 40, roll))
    y, x = (axis.mean() for axis in np.nonzero(red))
    # clockwise from the upper left
    assert (x > 100, y > 50) == {90: (True, False), 180: (True, True), -90: (False, True)}[roll]


@settings(deadline=None, max_examples=50)
@given(x=st.floats(-300, 300), y=st.floats(-300, 300), side=st.floats(0.1, 500), roll=st.floats(-45, 45))
def test_a_map_may_lie_anywhere(x, y, side, roll):
    red, _ = _tinted(np.ones((3, 3)), Region(x, y, side, side, roll))
    visible = np.prod([np.diff(np.clip((c - side / 2, c + side / 2), 0, limit)) for c, limit in ((x, 200), (y, 100))])
    assert abs(red.sum() - visible) <= 2 * 300 + 4


def test_the_activation_is_drawn_when_asked_for():
    activation = _activation(np.ones((4, 4)), Region(140, 140, 80, 80))
    result = _result([_face(1, [100, 100, 80, 80], activation=activation)])
    plain, tinted = (overlay.Overlay(FER2013).draw(result, "multi", explain) for explain in (False, True))
    assert tuple(plain[140, 140]) == (90, 90, 90)
    assert tinted[140, 140, 2] > tinted[140, 140, 0] + 50


def test_names_do_not_cover_each_other():
    boxes = np.array([[150 + 70 * (i % 4), 100 + 90 * (i // 4), 60, 60] for i in range(12)], np.float64)
    pen = overlay._Pen(np.zeros((480, 640, 3), np.uint8))
    placed, covering = overlay._arrange(pen, boxes, ["happy 50%"] * 12)
    assert placed.shape == (12, 4)
    assert (overlap(placed, placed) - np.eye(12)).max() < 0.35
    assert 0 < covering < 12
    assert overlay._arrange(pen, boxes[:1], ["happy 50%"])[1] == 0


def test_a_crowd_gets_smaller_names(monkeypatch):
    def scales(count):
        seen = set()
        monkeypatch.setattr(overlay._Pen, "label", lambda pen, *args: seen.add(pen.scale))
        faces = [_face(i, [100 * (i % 20), 140 * (i // 20), 40, 40]) for i in range(count)]
        overlay.Overlay(FER2013).draw(_result(faces, (1440, 2000)), "multi")
        return seen

    assert scales(1) == {3.0}
    [small] = scales(200)
    assert overlay._MIN_SCALE <= small < 1.5


@settings(deadline=None, max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    boxes=st.lists(st.tuples(*[st.floats(-300, 300)] * 2, *[st.floats(1, 400)] * 2), max_size=4),
    view=st.sampled_from(overlay.VIEWS),
    found=st.booleans(),
)
def test_any_box_in_any_frame_can_be_drawn(shape, boxes, view, found):
    result = _result([_face(i + 1, box, i % 7, found=found) for i, box in enumerate(boxes)], shape)
    drawn = overlay.Overlay(FER2013).draw(result, view)
    overlay.lines(drawn, ["31 frames/s"], corner=True)
    overlay.lines(drawn, ["q: quit", "h: help"])
    assert drawn.shape == (*shape, 3)


def test_names_beyond_the_font_and_beyond_the_palette():
    drawing = overlay.Overlay(("glücklich", "悲しい", "anger"))
    assert drawing._names == ["glucklich", "class 1", "anger"]
    assert drawing._colors[2] == overlay.COLORS["angry"]
    assert len(set(drawing._colors)) == 3


def test_every_name_can_be_read_on_its_color():
    def luminance(color):  # of WCAG 2
        linear = [(c / 255 / 12.92 if c / 255 <= 0.03928 else ((c / 255 + 0.055) / 1.055) ** 2.4) for c in color]
        return 0.0722 * linear[0] + 0.7152 * linear[1] + 0.2126 * linear[2]

    for color in overlay.COLORS.values():
        image = np.full((40, 120, 3), 128, np.uint8)
        pen = overlay._Pen(image)
        inks = []
        pen.write = lambda text, corner, ink, inks=inks: inks.append(ink)
        pen.label("x", (0, 0), color)
        dark, light = sorted((luminance(color), luminance(inks[0])))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, f"contrast on {color}"


def test_lines_darken_what_is_behind_them():
    image = np.full((480, 640, 3), 250, np.uint8)
    overlay.lines(image, ["q: quit"])
    assert image[240, 320].max() < 255
    assert cv2.minMaxLoc(image[..., 0])[0] < 120
