"""Detectors compared on composites whose faces are known."""

import cv2
import numpy as np
import pytest

from fer_jax.faces import comparison, detection

FACES = np.random.default_rng(0).integers(0, 256, (5, 48, 48), np.uint8)


class Told:
    """A detector that returns the boxes it is given, one list for each picture in turn."""

    name = "told"

    def __init__(self, *boxes, score=0.9):
        self.boxes = list(boxes)
        self.score = score

    def detect(self, frame):
        return [detection.Face(np.array(box, float), score=self.score) for box in self.boxes.pop(0)]


def _boxes(*rows):
    return np.array(rows, float).reshape(-1, 4)


@pytest.mark.parametrize(
    ("box", "is_it"),
    [
        ((10, 10, 40, 40), True),
        ((4, 6, 50, 60), True),
        ((30, 10, 40, 40), False),
        ((25, 25, 10, 10), False),
        ((-40, -40, 140, 140), False),
    ],
)
def test_a_box_is_at_a_face_by_its_centre_and_its_size(box, is_it):
    found, true = comparison.matches(_boxes(box), _boxes((10, 10, 40, 40)))
    assert (found.tolist(), true.tolist()) == ([is_it], [is_it])


def test_a_face_found_twice_counts_once_and_nothing_matches_nothing():
    found, true = comparison.matches(
        _boxes((10, 10, 40, 40), (12, 12, 40, 40), (200, 0, 9, 9)), _boxes((10, 10, 40, 40))
    )
    assert (found.tolist(), true.tolist()) == ([True], [True, True, False])
    found, true = comparison.matches(_boxes(), _boxes((0, 0, 1, 1)))
    assert (found.tolist(), true.tolist()) == ([False], [])
    found, true = comparison.matches(_boxes((0, 0, 1, 1)), _boxes())
    assert (found.tolist(), true.tolist()) == ([], [False])


def test_outcomes_are_counts_over_all_pictures():
    image = np.zeros((60, 80, 3), np.uint8)
    pictures = [comparison.Picture(image, _boxes((10, 10, 40, 40), (60, 0, 9, 9))), comparison.Picture(image, _boxes())]
    told = Told([(10, 10, 40, 40)], [(0, 0, 20, 20), (30, 0, 20, 20)])
    seen = []
    threads = cv2.getNumThreads()
    outcome = comparison.measure(told, pictures, lambda picture, box, score, is_face: seen.append((score, is_face)))
    assert (outcome.pictures, outcome.faces, outcome.found, outcome.false) == (2, 2, 1, 2)
    assert outcome.seconds >= 0
    assert seen == [(0.9, True), (0.9, False), (0.9, False)]
    assert cv2.getNumThreads() == threads


def test_what_any_detector_finds_counts_once():
    image = np.zeros((60, 80, 3), np.uint8)
    (picture,) = comparison.agreed([image], [Told([(10, 10, 40, 40)]), Told([(12, 9, 40, 40), (60, 0, 9, 9)])])
    np.testing.assert_array_equal(picture.boxes, _boxes((10, 10, 40, 40), (60, 0, 9, 9)))


def test_composites_have_their_faces_where_they_say():
    plain = list(comparison.composites(FACES[:0], 4, seed=3))
    assert [picture.boxes.shape for picture in plain] == [(0, 4)] * 4
    white = np.full((1, 48, 48), 255, np.uint8)
    for picture in comparison.composites(white, 4, seed=3):
        assert picture.image.shape == (960, 1280, 3)
        assert len(picture.boxes) == comparison.FACES_PER_COMPOSITE
        for left, top, width, height in picture.boxes.astype(int):
            middle = picture.image[top + height // 3 : top + height * 2 // 3, left + width // 3 : left + width * 2 // 3]
            assert middle.min() >= 254
            assert left >= 0 and top >= 0 and left + width <= 1280 and top + height <= 960


def test_a_seed_is_a_set_of_composites():
    first, again, other = (next(comparison.composites(FACES, 1, seed)).image for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
