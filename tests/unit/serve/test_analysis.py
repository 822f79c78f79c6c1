"""From frames to tracked faces with smoothed probabilities."""

import itertools
import threading

import cv2
import numpy as np
import pytest

from fer_jax.bundle import manifest
from fer_jax.errors import UserError
from fer_jax.faces import cropping, detection, registry
from fer_jax.serve import Classifier
from fer_jax.serve.analysis import FrameAnalyzer, Pipeline, Stage
from tests import serving


class Boxes:
    """A detector that knows where the faces are: at `where(index of the frame)`."""

    name = "haar"

    def __init__(self, where, score=1.0):
        self.where = where
        self.score = score
        self.asked = []

    def detect(self, frame):
        index = len(self.asked)
        self.asked.append(frame)
        return [detection.Face(np.array(box, float), score=self.score) for box in self.where(index)]


@pytest.fixture(scope="module")
def classifier(brightness_bundle):
    return Classifier(brightness_bundle)


def _results(analyzer, images, **known):
    return [analyzer.read(analyzer.search(serving.frame(i, image=image, **known))) for i, image in enumerate(images)]


def _faces(classifier, detector, image):
    """Those of a single frame."""
    return _results(FrameAnalyzer(classifier, detector), [image])[0].faces


def _halves(left, right):
    """A frame whose halves show the labels `left` and `right`."""
    image = np.full((100, 200, 3), serving.brightness_of(left), np.uint8)
    image[:, 100:] = serving.brightness_of(right)
    return image


def _labels(result):
    return {face.track: face.label for face in result.faces}


def test_pictures_among_videos_are_searched_and_classified_as_pictures(classifier, monkeypatch):
    made, asked, classify = {}, [], classifier.classify

    def create(name, model, *, still, **kwargs):
        return made.setdefault(still, Boxes(lambda i: [(20, 20, 50, 50)]))

    monkeypatch.setattr(registry, "create", create)
    monkeypatch.setattr(classifier, "classify", lambda crops, tta: asked.append(tta) or classify(crops, tta))
    analyzer = FrameAnalyzer(classifier, registry.Detectors("haar", search_side=100), tta="auto")
    for still in (False, True, False, True, True):
        _results(analyzer, [_halves(1, 5)], still=still)
    assert {still: len(detector.asked) for still, detector in made.items()} == {False: 2, True: 3}
    assert asked == ["none", "flip", "none", "flip", "flip"]


def test_each_face_has_its_own_history(classifier):
    analyzer = FrameAnalyzer(classifier, Boxes(lambda i: [(20, 20, 50, 50), (130, 20, 50, 50)]))
    images = [_halves(1, 5)] * 10 + [_halves(1, 2)] * 30
    results = _results(analyzer, images)
    assert all(len(result.faces) == 2 for result in results)
    assert [_labels(result)[1] for result in results] == [1] * 40
    assert _labels(results[9])[2] == 5
    assert _labels(results[10])[2] == 5, "one frame does not change the name"
    assert results[10].faces[1].probabilities.argmax() == 2, "though it is reported"
    assert _labels(results[-1])[2] == 2


def test_a_face_that_is_missed_keeps_its_name_and_is_marked(map_bundle):
    analyzer = FrameAnalyzer(Classifier(map_bundle), Boxes(lambda i: [(20, 20, 50, 50)] if i < 5 else []))
    results = _results(analyzer, [_halves(1, 1)] * 5 + [_halves(6, 1)] * 5)
    [before], [face] = results[4].faces, results[-1].faces
    assert (face.label, face.found, face.crop, face.activation) == (1, False, None, None)
    np.testing.assert_array_equal(face.probabilities, before.probabilities)
    assert before.activation is not None


@pytest.mark.parametrize(("score", "flagged"), [(1.0, (False, False)), (0.96, (True, False)), (0.5, (True, True))])
def test_a_face_the_detector_doubts_gets_no_name_unless_the_classifier_is_sure(tmp_path, score, flagged):
    folder = serving.write_bundle(tmp_path / "bundle", uncertain_below=0.64, temperature=3.0)
    (face,) = _faces(Classifier(folder), Boxes(lambda i: [(20, 20, 50, 50)], score), _halves(2, 2))
    assert 0.64 < face.smoothed.max() < 0.64 / 0.96
    assert (face.uncertain, face.doubtful) == flagged
    assert face.score == score


def test_pictures_have_nothing_to_do_with_each_other(classifier):
    analyzer = FrameAnalyzer(classifier, registry.create("none"))
    images = [np.full((30 + i, 40, 3), serving.brightness_of(i % 7), np.uint8) for i in range(14)]
    results = _results(analyzer, images, starts=True)
    assert [_labels(result) for result in results] == [{i + 1: i % 7} for i in range(14)]
    assert all(result.faces[0].crop is result.frame.image for result in results)


@pytest.mark.parametrize("every", [1, 2, 5])
def test_searching_every_so_many_th_frame(classifier, every):
    texture = np.random.default_rng(0).integers(60, 90, (100, 200, 3), np.uint8)
    detector = Boxes(lambda i: [(20 + 2 * i * every, 20, 50, 50)])
    analyzer = FrameAnalyzer(classifier, detector, search_every=every)
    images = [np.roll(texture, 2 * i, axis=1) for i in range(20)]
    results = _results(analyzer, images)
    assert len(detector.asked) == -(-20 // every)
    for i, result in enumerate(results):
        (face,) = result.faces
        assert face.found
        assert face.track == 1
        assert face.box[0] == pytest.approx(20 + 2 * i, abs=4)


def test_what_speaks_for_the_shown_name_and_where(map_bundle, classifier):
    """A face with a dark strip at its left: darkness is evidence for the names of dark faces."""
    detector = Boxes(lambda i: [(20, 30, 40, 40), (120, 30, 40, 40)])
    image = np.full((100, 200, 3), serving.brightness_of(3), np.uint8)
    image[:, 20:30] = serving.brightness_of(0)
    first, second = _faces(Classifier(map_bundle), detector, image)
    assert (first.label, second.label) == (2, 3)
    for face in (first, second):
        assert face.activation.values.shape == (8, 8)
        assert np.abs(face.activation.values).max() == pytest.approx(1)
    assert first.activation.values[:, 0].min() > first.activation.values[:, -1].max()
    assert (first.activation.region.x, first.activation.region.y) == (40, 50)
    assert first.activation.region.width == round(1.03 * 40)
    assert not FrameAnalyzer(classifier, detector).has_maps
    assert _faces(classifier, detector, image)[0].activation is None


def test_the_map_of_a_network_that_sees_a_central_square_lies_there(tmp_path):
    spec = manifest.Input(8, 1, "unit", "area", seen=4)
    classifier = Classifier(serving.write_bundle(tmp_path / "bundle", spec=spec, maps=True))
    [face] = _faces(classifier, registry.create("none"), np.zeros((30, 50, 3), np.uint8))
    assert face.activation.region == cropping.Region(25, 15, 25, 15)


def test_boxes_beyond_the_frame_tiny_ones_and_crowds(classifier):
    crowd = [(i % 20 * 10, i // 20 * 10, 6, 6) for i in range(200)]
    where = [(-30, -30, 60, 60), (180, 90, 60, 60), (100, 50, 1, 1), *crowd]
    analyzer = FrameAnalyzer(classifier, Boxes(lambda i: where))
    results = _results(analyzer, [_halves(1, 5)] * 2)
    assert all(len(result.faces) == 203 for result in results)
    first = {face.track: face for face in results[0].faces}
    assert first[1].crop.shape[:2] == (62, 62)
    assert (first[1].label, first[2].label) == (1, 5)
    assert first[3].crop.shape[:2] == (1, 1)


def test_the_policy_of_the_bundle_cuts_the_faces(tmp_path):
    crop = {"border": "replicate", "detectors": {"haar": {"enlarge": 2.0, "offset": [0.0, 0.5]}}}
    classifier = Classifier(serving.write_bundle(tmp_path / "bundle", crop=crop))
    image = np.random.default_rng(0).integers(0, 256, (100, 200, 3), np.uint8)
    (face,) = _faces(classifier, Boxes(lambda i: [(90, 20, 20, 20)]), image)
    np.testing.assert_array_equal(face.crop, image[20:60, 80:120])
    with pytest.raises(UserError, match="no crop policy for the detector yunet, only for haar"):
        FrameAnalyzer(classifier, type("Net", (Boxes,), {"name": "yunet"})(None))


def test_a_file_s_frames_all_pass_the_pipeline_in_order(classifier):
    frames = (serving.frame(i, image=_halves(1, 5)) for i in range(100))
    pipeline = Pipeline(frames, FrameAnalyzer(classifier, Boxes(lambda i: [(20, 20, 50, 50)])), live=False)
    assert [result.frame.index for result in pipeline] == list(range(100))
    pipeline.close()


def test_a_live_source_loses_frames_where_the_search_is_slow_and_not_its_time(classifier):
    captured = threading.Event()

    def frames():
        yield from map(serving.frame, range(50))
        captured.set()
        yield serving.frame(50)

    def where(index):
        assert captured.wait(10), "the camera must not wait for the search"
        return []

    pipeline = Pipeline(frames(), FrameAnalyzer(classifier, Boxes(where)), live=True)
    indices = [result.frame.index for result in pipeline]
    pipeline.close()
    assert len(indices) < 10
    assert indices[-1] == 50


@pytest.mark.parametrize(("name", "sigma"), [("haar", 3), ("yunet", 8)])
def test_on_a_still_clip_the_shown_name_changes_at_most_once(name, sigma, group_picture, request, tmp_path):
    """A camera's noise over the group's picture, and a network that answers to every gray value."""
    labels = tuple(f"gray{i}" for i in range(40))  # so many that noise crosses their borders all the time
    classifier = Classifier(serving.write_bundle(tmp_path / "bundle", labels=labels))
    detector = registry.create(name, str(request.getfixturevalue("yunet_model")) if name == "yunet" else "")
    analyzer = FrameAnalyzer(classifier, detector)
    rng = np.random.default_rng(0)
    picture = cv2.resize(group_picture, (640, 480), interpolation=cv2.INTER_AREA)
    shown, raw = {}, {}
    noise = (sigma * rng.standard_normal((480, 640, 1), np.float32) for _ in range(60))
    for result in _results(analyzer, (np.clip(picture + grain, 0, 255).astype(np.uint8) for grain in noise)):
        for face in result.faces:
            shown.setdefault(face.track, []).append(face.label)
            raw.setdefault(face.track, []).append(int(face.probabilities.argmax()))

    def changes(labels):
        return int((np.diff(labels) != 0).sum())

    assert len(shown) >= 4
    assert max(map(changes, raw.values())) > 5, "the clip must flicker when nothing is smoothed"
    assert max(map(changes, shown.values())) <= 1


def test_stages_give_all_items_in_order():
    squares = Stage((x * x for x in Stage(range(1000), depth=3)), depth=1)
    assert list(squares) == [x * x for x in range(1000)]


def test_it_runs_ahead_by_its_depth_and_no_further():
    drawn, reached, too_far = [], threading.Event(), threading.Event()

    def items():
        for i in range(100):
            drawn.append(i)
            if len(drawn) == 4:  # three wait, the fourth is in the hand
                reached.set()
            if len(drawn) > 4:
                too_far.set()
            yield i

    stage = Stage(items(), depth=3)
    assert reached.wait(5)
    assert not too_far.wait(0.1)
    assert next(stage) == 0
    assert too_far.wait(5)
    stage.close()


def test_a_live_stage_drops_the_oldest_and_never_waits():
    done = threading.Event()

    def items():
        yield from range(1000)
        done.set()

    stage = Stage(items(), depth=2, drop=True)
    assert done.wait(5), "it must not wait for anybody"
    assert list(stage) == [998, 999]


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield 1
        yield 2
        raise OSError("unplugged")

    stage = Stage(items(), depth=1)
    assert [next(stage), next(stage)] == [1, 2]
    with pytest.raises(OSError, match="unplugged"):
        next(stage)


def test_nothing_in_time():
    release = threading.Event()

    def items():
        release.wait(5)
        yield "late"

    stage = Stage(items())
    assert stage.take(0.01) is None
    release.set()
    assert stage.take(5) == "late"
    with pytest.raises(StopIteration):
        stage.take(5)


@pytest.mark.parametrize("drop", [False, True])
def test_closing_ends_the_thread(drop):
    before = set(threading.enumerate())
    first = Stage(itertools.count(), depth=1, drop=drop)
    second = Stage(map(str, first), depth=1)
    next(second)
    first.close()
    second.close()
    with pytest.raises(StopIteration):
        next(second)
    assert set(threading.enumerate()) == before
