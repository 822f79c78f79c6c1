"""Exact and near duplicates among synthetic faces that were changed as photographs on the web are."""

import cv2
import numpy as np
import pytest

from fer_jax.data import duplicates
from fer_jax.data.examples import Examples
from fer_jax.data.sources import synthetic


@pytest.fixture(scope="module")
def faces():
    return synthetic.draw(np.arange(140) % 7, 48, seed=3)


def moved(image, across, down):
    matrix = np.float32([[1, 0, across], [0, 1, down]])
    return cv2.warpAffine(image, matrix, (48, 48), borderMode=cv2.BORDER_REPLICATE)[..., None]


def recompressed(image):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_GRAYSCALE)[..., None]


def brighter(image):
    return np.clip(image * 0.8 + 40, 0, 255).astype(np.uint8)


def stamped(image):
    stamp = cv2.putText(np.zeros((48, 48), np.uint8), "stock", (10, 44), cv2.FONT_HERSHEY_SIMPLEX, 0.3, 30)
    return np.clip(image + stamp[..., None].astype(int), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        lambda image: image[:, ::-1],
        recompressed,
        brighter,
        stamped,
        lambda image: moved(image, 1, -1),
        lambda image: moved(image[:, ::-1], -1, 0),
    ],
)
def test_changed_copies_are_found_and_nothing_else(faces, change):
    images = np.concatenate([faces, np.stack([change(image) for image in faces[:9]])])
    pairs, correlation = duplicates.near_pairs(images)
    assert pairs.tolist() == [[i, 140 + i] for i in range(9)]
    assert correlation.min() > duplicates.NEAR_CORRELATION


def test_pairs_between_two_sets_are_those_within_their_union(faces):
    copies = np.stack([brighter(image) for image in faces[:5]])
    assert duplicates.near_pairs(faces, copies)[0].tolist() == [[i, i] for i in range(5)]
    assert duplicates.near_pairs(copies, faces)[0].tolist() == [[i, i] for i in range(5)]


def test_rows_of_the_correlation_matrix_are_done_in_parts(faces, monkeypatch):
    images = np.concatenate([faces, faces[:9]])
    whole = duplicates.near_pairs(images)
    monkeypatch.setattr(duplicates, "_ROWS_AT_ONCE", 7)
    np.testing.assert_array_equal(duplicates.near_pairs(images)[0], whole[0])


def test_other_sizes_and_color(faces):
    large = np.stack([cv2.resize(image, (100, 100)) for image in faces[:20]])
    colored = np.repeat(large[..., None], 3, axis=-1)
    assert duplicates.near_pairs(np.concatenate([colored, colored[3:4]]))[0].tolist() == [[3, 20]]
    np.testing.assert_array_equal(duplicates.gray(colored), large)


def test_blank_images_are_no_near_duplicates_but_may_be_exact_ones(faces):
    blank = np.full((3, 48, 48, 1), 7, np.uint8)
    frame = np.zeros((2, 48, 48, 1), np.uint8)
    frame[:, :3] = 255  # nothing in the middle to compare
    images = np.concatenate([blank, faces[:5], frame])
    assert duplicates.near_pairs(images)[0].shape == (0, 2)
    examples = Examples(images, np.zeros(10, np.int32), np.full(10, "all"), ("angry", "happy"))
    assert duplicates.first_same(examples).tolist() == [0, 0, 0, 3, 4, 5, 6, 7, 8, 8]


def test_groups_follow_chains_of_pairs():
    assert duplicates.groups(6, np.array([[1, 3], [3, 5], [2, 4]])).tolist() == [0, 1, 2, 1, 2, 1]
    assert duplicates.groups(3, np.empty((0, 2), int)).tolist() == [0, 1, 2]


def frames(count, seed=0):
    """So many frames of two faces in turn before one camera: shifted by a pixel, with noise."""
    faces, rng = synthetic.draw([3, 4], 48, seed=1).astype(float), np.random.default_rng(seed)
    shown = [np.roll(faces[i % 2], rng.integers(-1, 2), 1) + rng.normal(0, 4, faces[0].shape) for i in range(count)]
    return np.clip(shown, 0, 255).astype(np.uint8)


def test_frames_that_are_all_alike_take_linear_time_and_are_connected(monkeypatch):
    calls = []
    correlation = duplicates._correlation
    monkeypatch.setattr(duplicates, "_correlation", lambda *images: calls.append(1) or correlation(*images))
    images = np.concatenate([frames(200), synthetic.draw(np.arange(20) % 7, 48, seed=9)])
    pairs, _ = duplicates.near_pairs(images)
    assert len(calls) <= 200 * duplicates.MAX_PAIRS * 1.1
    assert duplicates.groups(len(images), pairs).tolist() == [0, 1] * 100 + list(range(200, 220))


def test_every_frame_that_leaks_is_found():
    pairs, _ = duplicates.near_pairs(frames(100), frames(100, seed=1))
    assert set(pairs[:, 0]) == set(range(100))
