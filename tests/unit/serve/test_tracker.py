"""Faces keep their numbers from frame to frame."""

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from fer_jax.errors import UserError
from fer_jax.faces.detection import Face
from fer_jax.serve import tracker
from fer_jax.serve.analyzer import Analyzer
from fer_jax.serve.tracker import History, Pixels, Tracker

SIZE = (640, 480)
RATE = 25.0


def _face(x, y, side=50):
    return Face(np.array([x, y, side, side], float))


def _play(frames, rate=RATE, images=None):
    """The boxes of the tracks shown after each frame, by id; `images`, uint8 gray, are what the frames show."""
    following, before, shown = Tracker(), None, []
    for i, found in enumerate(frames):
        pixels = Pixels(images[i], 1.0, before) if images else None
        following.update(found, i / rate, SIZE, pixels)
        shown.append({track.id: track.box for track in following.tracks})
        before = images[i] if images else None
    return shown


boxes = st.lists(st.tuples(*[st.integers(0, 60)] * 2, *[st.integers(10, 50)] * 2), max_size=4)


@settings(deadline=None, max_examples=150)
@given(boxes, boxes)
def test_the_assignment_has_the_largest_sum_of_overlaps(first, second):
    a, b = (np.array(value, float).reshape(-1, 4) for value in (first, second))
    overlaps = tracker.overlap(tracker.grow(a), tracker.grow(b))
    overlaps[overlaps < tracker.MIN_OVERLAP] = 0
    pairs = tracker.assign(a, b)
    assert len({t for t, _ in pairs}) == len({f for _, f in pairs}) == len(pairs)
    assert all(overlaps[pair] > 0 for pair in pairs)
    few, many = sorted((overlaps, overlaps.T), key=len)[0], max(a.shape[0], b.shape[0])
    best = max(
        (sum(few[i, j] for i, j in enumerate(columns)) for columns in itertools.permutations(range(many), len(few))),
        default=0,
    )
    assert sum(overlaps[pair] for pair in pairs) == pytest.approx(best)


@settings(deadline=None, max_examples=200)
@given(arrays(float, st.tuples(st.integers(0, 7), st.integers(0, 7)), elements=st.sampled_from([0, 0.2, 0.25, 0.7, 1])))
def test_the_matching_has_the_gain_of_scipys(gain):
    columns = tracker.matching(gain)
    taken = [column for column in columns if column >= 0]
    assert len(columns) == len(gain)
    assert len(taken) == len(set(taken)) == min(gain.shape)
    ours = sum(gain[row, column] for row, column in enumerate(columns) if column >= 0)
    assert ours == pytest.approx(gain[linear_sum_assignment(gain, maximize=True)].sum())


def test_overlap_of_known_boxes():
    result = tracker.overlap(np.array([[0, 0, 10, 10.0]]), np.array([[0, 0, 10, 10], [5, 0, 10, 10], [20, 0, 5, 5.0]]))
    np.testing.assert_allclose(result, [[1, 1 / 3, 0]])


def test_faces_that_pass_each_other_keep_their_numbers():
    shown = _play([[_face(100 + 10 * i, 200), _face(500 - 10 * i, 240)] for i in range(40)])
    assert all(set(boxes) == {1, 2} for boxes in shown)
    small = _play([[_face(20 * i, 100, 20)] for i in range(30)])
    assert all(set(boxes) == {1} for boxes in small), "a fast small face meets itself"
    assert shown[-1][1][0] > 450
    assert shown[-1][2][0] < 150


def test_a_short_miss_is_survived_where_the_motion_leads_and_a_long_one_is_not():
    path = [[_face(100 + 5 * i, 100)] for i in range(60)]
    missed = path[:20] + [[]] * 12 + path[32:]
    shown = _play(missed)
    assert all(set(boxes) == {1} for boxes in shown)
    assert shown[31][1][0] == pytest.approx(100 + 5 * 31, abs=8)
    gone = _play(path[:20] + [[]] * 40)
    assert set(gone[20]) == {1}
    assert gone[-1] == {}


def test_a_face_that_comes_again_later_is_a_new_one_and_one_that_left_is_forgotten():
    still = [[_face(100, 100)]]
    shown = _play(still * 5 + [[]] * 40 + still * 5)
    assert set(shown[4]) == {1}
    assert set(shown[-1]) == {2}
    shown = _play([[_face(600 + 8 * i, 100)] for i in range(6)] + [[]] * 6)
    assert set(shown[5]) == {1}
    assert shown[-1] == {}


def test_what_is_found_once_only_is_not_shown_except_at_the_start():
    still = [_face(100, 100)]
    shown = _play([still, [*still, _face(400, 300)], still, [*still, _face(400, 300)], [*still, _face(400, 300)]])
    assert [set(boxes) for boxes in shown] == [{1}, {1}, {1}, {1}, {1, 2}]


def test_trembling_boxes_become_calmer():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 3, (200, 2))
    shown = _play([[_face(200 + x, 200 + y)] for x, y in noise])
    filtered = np.array([boxes[1][:2] for boxes in shown[10:]])
    assert np.diff(filtered, axis=0).std() < 0.75 * np.diff(noise[10:], axis=0).std()
    assert abs(filtered.mean() - 200) < 1


def test_a_restart_forgets_a_crowd_and_counts_on():
    following = Tracker()
    crowd = [_face(30 * (i % 20), 40 * (i // 20), 25) for i in range(200)]
    for i in range(3):
        following.update(crowd, i / RATE, SIZE)
        assert [track.id for track in following.tracks] == list(range(1, 201))
    following.restart()
    assert following.tracks == []
    following.update([_face(100, 100)], 1.0, SIZE)
    assert [track.id for track in following.tracks] == [201]


def _moving(count):
    """A texture that moves by (3, -2) a frame, half as large as its frame."""
    texture = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (240, 320), np.uint8), (0, 0), 3)
    return [cv2.warpAffine(texture, np.float32([[1, 0, 3 * i], [0, 1, -2 * i]]), (320, 240)) for i in range(count)]


@pytest.mark.parametrize("found", [True, False])
def test_boxes_between_searches_and_of_missed_faces_move_with_the_pixels(found):
    following = Tracker()
    following.update([_face(200, 160, 80), _face(400, 200, 60)], 0.0, SIZE, Pixels(_moving(1)[0], 2.0))
    for i, (before, now) in enumerate(itertools.pairwise(_moving(6)), 1):
        # without a search, or with one that finds the second alone, which stays in its row
        following.update(None if found else [_face(400 - i, 200, 60)], i / RATE, SIZE, Pixels(now, 2.0, before))
    first, second = following.tracks
    assert (first.found, second.found) == (found, True)
    np.testing.assert_allclose(first.box[:2], [230, 140], atol=4)
    np.testing.assert_allclose(second.box[:2], [430, 180] if found else [395, 200], atol=4 if found else 1)


def test_pixels_that_cannot_be_followed():
    pixels = Pixels(np.zeros((24, 32), np.uint8), 1.0, np.zeros((24, 32), np.uint8))
    assert np.isnan(pixels.shifts(np.array([[5, 5, 10, 10], [-900, -900, 10, 10.0]]))[1]).all()


def _person(seed, side=60):
    """uint8 gray (side, side): a pattern that only this person has."""
    pattern = np.random.default_rng(seed).integers(0, 256, (6, 6), np.uint8)
    return cv2.resize(pattern, (side, side), interpolation=cv2.INTER_CUBIC)


def _people(frames):
    """What is found and seen where frames are {(x, y): person} and, in place of a person, the background's number."""
    found, images = [], []
    for people in frames:
        background = np.random.default_rng(people.get("background", 7)).integers(0, 256, (24, 32), np.uint8)
        image = cv2.resize(background, SIZE)
        places = [place for place in people if place != "background"]
        for x, y in places:
            image[y : y + 60, x : x + 60] = _person(people[x, y])
        found.append([_face(x, y, 60) for x, y in places])
        images.append(image)
    return found, images


@pytest.mark.parametrize(
    ("frames", "numbers"),
    [
        ([{(300, 200): 1}] * 10 + [{}] * 60 + [{(320, 190): 1}] * 10, {1}),  # hidden
        ([{(min(300 + 10 * i, 580), 200): 1} for i in range(40)] + [{}] * 99 + [{(575, 200): 1}] * 5, {1}),  # left
        ([{(300, 200): 1}] * 10 + [{}] * 60 + [{(320, 190): 2}] * 10, {2}),  # another face
        ([{(300, 200): 1}] * 10 + [{}] * 60 + [{(30, 190): 1}] * 10, {2}),  # another place
        ([{(300, 200): 1}] * 10 + [{}] * 500 + [{(320, 190): 1}] * 10, {2}),  # too late
        ([{(100, 200): 1, (400, 200): 2}] * 10 + [{}] * 30 + [{(410, 200): 2, (110, 200): 1}] * 9, {1, 2}),
        ([{(300, 200): 1}] * 10 + [{(300, 200): 2}] * 10, {2}),  # another face at once
    ],
)
def test_who_comes_back_has_the_old_number_and_who_is_new_does_not(frames, numbers):
    found, images = _people(frames)
    shown = _play(found, images=images)
    assert set(shown[5]) == set(range(1, 1 + len(frames[5])))
    assert set(shown[-1]) == numbers


def test_a_face_that_the_camera_passes_comes_back_with_the_scene():
    scene = cv2.resize(np.random.default_rng(0).integers(0, 256, (24, 80), np.uint8), (1600, 480))
    scene[200:260, 500:560] = _person(1)
    places = [*range(0, 700, 10), *range(700, 200, -10)]
    images = [np.ascontiguousarray(scene[:, left : left + 640]) for left in places]
    shown = _play([[_face(500 - left, 200, 60)] if left <= 480 else [] for left in places], images=images)
    assert {} in shown
    assert set(shown[-1]) == {1}


def test_after_a_cut_faces_are_others_and_shown_at_once():
    """But for one that is at its place again, as in an interview."""
    first, second = {"background": 1, (200, 200): 1}, {"background": 2, (210, 200): 2, (400, 200): 3}
    found, images = _people([first] * 5 + [second] * 2 + [{"background": 1, (205, 200): 1}] * 2)
    cuts = [Pixels(now, 1.0, before).cut for before, now in itertools.pairwise(images)]
    assert [i for i, cut in enumerate(cuts, 1) if cut] == [5, 7]
    shown = _play(found, images=images)
    assert [set(boxes) for boxes in shown] == [{1}] * 5 + [{2, 3}] * 2 + [{1}] * 2


def test_a_face_that_changes_before_its_background_and_a_lamp_are_no_cuts():
    now = cv2.resize(np.random.default_rng(0).integers(0, 200, (24, 32), np.uint8), (320, 240))
    face = now.copy()
    face[20:220, 40:280] = 128
    assert not Pixels(face, 1.0, now).cut
    assert not Pixels(now + 50, 1.0, now).cut
    assert not Pixels(now, 1.0).cut


def test_frames_that_are_far_apart_show_what_they_have():
    """Slides, a second each: no face is there for a second frame."""
    shown = _play([[_face(100 * i, 100)] for i in range(5)], rate=1.0)
    assert all(len(boxes) == 1 for boxes in shown)


def test_a_face_keeps_its_number_in_another_resolution():
    following = Tracker()
    for i in range(10):
        face, size = (_face(100, 60, 40), (160, 120)) if i > 5 else (_face(400, 240, 160), SIZE)
        following.update([face], i / RATE, size)
        assert [track.id for track in following.tracks] == [1]


def test_six_people_that_the_camera_passes_are_at_most_seven_tracks(real_data, yunet_model, brightness_bundle):
    analyzer = Analyzer(brightness_bundle, "yunet", detector_model=str(yunet_model))
    tracks = {face.track for face in analyzer(real_data / "video" / "group_pan.mp4")}
    assert 6 <= len(tracks) <= 7


def _names(method, rows):
    history, names = History(method), []
    for i, row in enumerate(rows):
        history.update(np.asarray(row, np.float32), i / RATE)
        names.append(history.label)
    return names, history


def _changes(names):
    return sum(a != b for a, b in itertools.pairwise(names))


@pytest.mark.parametrize("seed", range(20))
def test_two_names_that_are_nearly_equal_do_not_take_turns(seed):
    rng = np.random.default_rng(seed)
    share = np.clip(0.45 + 0.1 * rng.normal(size=500), 0, 0.9)
    rows = np.stack([share, 0.9 - share, np.full(500, 0.1)], axis=1)
    assert _changes([int(row.argmax()) for row in rows]) > 100, "the clip must flicker when nothing is smoothed"
    assert _changes(_names("average", rows)[0]) <= 1


def test_a_change_of_expression_shows_within_a_second():
    names, history = _names("average", [[0.9, 0.1]] * 50 + [[0.1, 0.9]] * 25)
    assert names[49] == 0
    assert names[-1] == 1
    assert 1 <= names[50:].index(1) <= 13, "neither at once nor later than half a second"
    assert history.probabilities.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(history.latest, np.float32([0.1, 0.9]))


def test_a_name_that_little_speaks_for_gives_way_in_time():
    names, _ = _names("average", [[0.3, 0.2, 0.25]] * 25 + [[0.2, 0.3, 0.25]] * 100)
    assert names[49] == 0
    assert names[-1] == 1


def test_the_average_depends_on_time_and_not_on_the_frame_rate():
    slow, fast = History(), History()
    for i in range(11):
        slow.update(np.float32([i == 0, i > 0]), i / 10)
    for i in range(101):
        fast.update(np.float32([i == 0, i > 0]), i / 100)
    np.testing.assert_allclose(slow.probabilities, fast.probabilities, atol=1e-5)


def test_the_commonest_of_the_last_ten_labels():
    a, b = [0.9, 0.1], [0.1, 0.9]
    names, _ = _names("last10", [a] * 10 + [b] * 6)
    assert names == [0] * 15 + [1], "five of ten is a tie, which keeps the name"


def test_without_smoothing_each_frame_speaks_for_itself():
    names, history = _names("none", [[0.6, 0.4], [0.4, 0.6], [0.6, 0.4]])
    assert names == [0, 1, 0]
    np.testing.assert_array_equal(history.probabilities, np.float32([0.6, 0.4]))
    with pytest.raises(UserError, match="unknown smoothing 'mean': expected one of average, last10, none"):
        History("mean")
