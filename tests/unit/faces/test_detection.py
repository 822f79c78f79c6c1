"""Detectors by name, their boxes on real and synthetic faces, and models that cannot be loaded."""

import concurrent.futures
import shutil
import types

import cv2
import numpy as np
import pytest

from fer_jax.errors import UserError
from fer_jax.faces import cropping, detection, registry
from tests.conftest import run_python

PAVING_SEEDS = (14, 34)  # of forty, those in which a search as in videos finds faces


def test_every_detector_has_its_name_and_its_crop_policy():
    assert {*registry.DETECTORS} == {detection.Haar.name, detection.YuNet.name, detection.WholeImage.name}
    for name, entry in registry.DETECTORS.items():
        assert (name in cropping.CROP["detectors"]) == entry.searches


def test_pictures_are_searched_with_more_pixels_and_more_care():
    moving, still, own = (registry.create("haar", **how) for how in ({}, {"still": True}, {"search_side": 77}))
    assert (moving._side, still._side, own._side) == (320, 960, 77)
    assert moving._min_neighbors < still._min_neighbors


def test_both_kinds_of_a_detector_are_made_once_and_as_needed(monkeypatch):
    made = []
    create = registry.create
    monkeypatch.setattr(registry, "create", lambda *args, **kwargs: made.append(kwargs) or create(*args, **kwargs))
    both = registry.Detectors("haar", align=True, search_side=77)
    assert (both.name, made) == ("haar", [])
    still = both.of(True)
    assert both.of(True) is still
    assert both.of(False) is not still
    assert made == [{"align": True, "still": still, "search_side": 77} for still in (True, False)]
    with pytest.raises(UserError, match="unknown detector"):
        registry.Detectors("yunte").of(False)


@pytest.mark.parametrize(("searching", "offered"), [(True, ["haar", "yunet"]), (False, ["haar", "yunet", "none"])])
def test_the_flags_offer_what_is_registered_and_need_no_opencv(searching, offered):
    code = f"""import sys
from absl import flags
from fer_jax.cli import options
options.define_detector(searching={searching})
assert "cv2" not in sys.modules
print(*flags.FLAGS["detector"].parser.enum_values)"""
    done = run_python("-c", code, check=True)
    assert done.stdout.split() == offered


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
    assert (image.shape, factor) == (small, scale)


def test_detectors_that_cannot_be_had(tmp_path, monkeypatch):
    yunet = str(tmp_path / "yunet.onnx")

    def refused(words, *arguments, **options):
        with pytest.raises(UserError, match=words):
            registry.create(*arguments, **options)

    refused("unknown detector 'dlib': expected one of haar, yunet, none", "dlib")
    refused(r"unknown detector 'yunte' \(did you mean 'yunet'.*: expected one of haar", "yunte")
    for side in (0, -5):
        refused(f"search_side is {side}: expected pixels, 1 or more", "haar", search_side=side)
    refused("yunet.onnx: YuNet's file cannot be read .No such file", "yunet", yunet)
    (tmp_path / "yunet.onnx").write_bytes(b"something else")
    refused("yunet.onnx: not a YuNet model", "yunet", yunet)
    monkeypatch.setattr(cv2, "data", types.SimpleNamespace(haarcascades="/nowhere/"))
    refused("carries no haarcascade_frontalface_alt2.xml: install opencv-python below 5", "haar")
    monkeypatch.delattr(cv2, "CascadeClassifier")
    refused("has no Haar cascades any more: install opencv-python below 5, or use .* yunet", "haar")


def test_no_file_is_opened_by_opencv_itself(monkeypatch, tmp_path, request):
    """As on Windows, where OpenCV opens no path with letters outside the system's code page."""
    folder = tmp_path / "Жанна" / "données"
    shutil.copytree(cv2.data.haarcascades, folder)
    monkeypatch.setattr(cv2, "data", types.SimpleNamespace(haarcascades=str(folder)))
    for opens in ("CascadeClassifier", "FaceDetectorYN"):
        monkeypatch.setattr(cv2, opens, _refusing_paths(getattr(cv2, opens)))
    assert registry.create("haar").detect(np.zeros((48, 64, 3), np.uint8)) == []
    model = shutil.copy(request.getfixturevalue("yunet_model"), folder)
    assert registry.create("yunet", str(model)).detect(np.zeros((48, 64, 3), np.uint8)) == []


def _refusing_paths(original):
    """What makes an OpenCV object, unless it is asked to open a path."""

    def make(*arguments):
        assert not arguments, f"opens {arguments[0]}"
        return original()

    def create(first, *rest):
        assert first == "onnx", f"opens {first}"
        return original.create(first, *rest)

    make.create = create
    return make


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 700, 3), (30, 30, 3), (480, 640, 3)])
def test_a_frame_without_faces_and_without_a_detector(shape):
    assert registry.create("haar").detect(np.zeros(shape, np.uint8)) == []
    (face,) = registry.create("none").detect(np.zeros(shape, np.uint8))
    np.testing.assert_array_equal(face.box, [0, 0, shape[1], shape[0]])


def _detector(name, request, **kwargs):
    return registry.create(name, str(request.getfixturevalue("yunet_model")) if name == "yunet" else "", **kwargs)


class _Net:
    """A YuNet that returns the same rows for whatever it is shown."""

    def __init__(self, rows):
        self.rows = np.asarray(rows, np.float32)
        self.shapes = []
        self.size = (320, 320)  # which OpenCV is given when it loads the file

    def setInputSize(self, size):
        self.size = size

    def detect(self, image):
        assert image.shape[1::-1] == self.size
        self.shapes.append(image.shape)
        return 1, self.rows


@pytest.fixture
def yunet_returning(monkeypatch, tmp_path):
    """`yunet_returning(rows)` is a YuNet with a network that returns these rows."""

    def make(rows, **kwargs):
        net = _Net(rows)
        monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_: net)
        (tmp_path / "yunet.onnx").write_bytes(b"faked")
        return registry.create("yunet", str(tmp_path / "yunet.onnx"), **kwargs), net

    return make


def _row(left, top, width, height, score=0.9):
    eyes = [left + width / 4, top + height / 3, left + 3 * width / 4, top + height / 3]
    return [left, top, width, height, *eyes, *[left + width / 2, top + height / 2] * 3, score]


def test_boxes_that_no_frame_can_have_are_no_faces(yunet_returning):
    inf, nan, good = np.inf, np.nan, _row(20, 10, 30, 40)
    bad = [(inf, 0, 9, 9), (nan, 0, 9, 9), (0, 0, inf, inf), (9, 9, 0, 9), (9, 9, 9, -9), (-2e30, -8e29, 0, 0)]
    bad += [(-144446.9, -58876.5, 40, 40), (0, 0, 3e5, 3e5)]
    rows = [_row(*box) for box in bad]
    rows[4:4] = [good, [*good[:4], nan, *good[5:]]]
    detector, _ = yunet_returning(rows, align=True)
    (face,) = detector.detect(np.zeros((240, 320, 3), np.uint8))
    np.testing.assert_array_equal(face.box, [20, 10, 30, 40])


def test_faces_come_from_left_to_right(yunet_returning, monkeypatch):
    frame = np.zeros((240, 320, 3), np.uint8)
    detector, _ = yunet_returning([_row(left, 9, 20, 20) for left in (200, 10, 90)])
    assert [face.box[0] for face in detector.detect(frame)] == [10, 90, 200]
    haar = registry.create("haar")
    rim = round(detection.BEYOND_EDGE * 240)
    boxes = [(rim + left, rim + top, 30, 30) for left, top in ((200, 0), (50, 90), (50, 10))]

    class Cascade:  # as OpenCV's, whose threads are never ready in the same order
        def detectMultiScale2(self, image, **kwargs):
            boxes.reverse()
            return boxes, [9] * len(boxes)

    monkeypatch.setattr(haar, "_faces", Cascade())
    for _ in range(2):
        assert [tuple(face.box[:2]) for face in haar.detect(frame)] == [(50, 10), (50, 90), (200, 0)]


def test_more_candidates_than_opencv_keeps(yunet_returning):
    rows = [_row(i % 300, i // 300, 10, 10) for i in range(12_000)]
    detector, _ = yunet_returning(rows)
    assert len(detector.detect(np.zeros((240, 320, 3), np.uint8))) == detection.MAX_FACES


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 320, 3), (320, 3, 3), (20, 1920, 3), (63, 64, 3)])
def test_what_yunet_searches_has_two_strides_at_least(yunet_returning, shape):
    detector, net = yunet_returning([_row(0.25, 0.25, 1, 1)], search_side=1920)
    (face,) = detector.detect(np.zeros(shape, np.uint8))
    np.testing.assert_array_equal(face.box, [0.25, 0.25, 1, 1])
    assert min(net.shapes[-1][:2]) >= 64


@pytest.mark.parametrize("name", ["haar", "yunet"])
def test_threads_that_share_a_detector_find_what_each_alone_finds(name, request, group_picture):
    pictures = [np.ascontiguousarray(group_picture[:, ::step][:480]) for step in (1, 2, -1, -2)]
    shared = _detector(name, request)
    alone = [[tuple(face.box) for face in shared.detect(picture)] for picture in pictures]
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        for _ in range(3):
            together = threads.map(shared.detect, pictures)
            assert [[tuple(face.box) for face in faces] for faces in together] == alone


@pytest.mark.parametrize("name", ["haar", "yunet"])
@pytest.mark.parametrize("search_side", [320, 960, 1920])
def test_a_strip_has_no_faces(name, search_side, request):
    """YuNet returned boxes at -1e5 of frames this low."""
    strip = np.random.default_rng(0).integers(0, 256, (20, 1920, 3), np.uint8)
    assert _detector(name, request, align=True, search_side=search_side).detect(strip) == []


def _paving(seed):
    """uint8 BGR (960, 1280, 3): paving stones, uneven light."""
    rng = np.random.default_rng(seed)
    side = int(rng.integers(24, 80))
    image = np.full((960, 1280), 140.0)
    for top in range(0, 960, side):
        for left in range(-int(rng.integers(0, side)), 1280, 2 * side):
            image[top : top + side, max(left, 0) : left + 2 * side] = rng.uniform(90, 190)
            image[top : top + side, max(left, 0) : max(left + 3, 0)] = 60
        image[top : top + 3] = 60
    light = cv2.resize(rng.normal(size=(5, 7)), (1280, 960), interpolation=cv2.INTER_CUBIC)
    grain = cv2.resize(rng.normal(size=(240, 320)), (1280, 960), interpolation=cv2.INTER_CUBIC)
    image = np.clip(image + 20 * light + 12 * grain, 0, 255).astype(np.uint8)
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)


def test_paving_has_no_faces_in_pictures():
    pictures = [_paving(seed) for seed in PAVING_SEEDS]
    moving = registry.create("haar", search_side=960)
    assert sum(len(moving.detect(picture)) for picture in pictures) >= len(pictures), "no test without false boxes"
    still = registry.create("haar", still=True)
    assert [len(still.detect(picture)) for picture in pictures] == [0] * len(pictures)


def test_a_score_says_how_likely_a_box_is_a_face(group_picture, request):
    scores = [detection.haar_score(windows, 960) for windows in range(3, 30)]
    assert scores == sorted(scores)
    assert detection.haar_score(3, 4000) == 0.5 < detection.haar_score(3, 640) < detection.haar_score(3, 320)
    assert scores[0] == 0.5
    assert scores[4] == pytest.approx(0.92, abs=0.01)
    for name in ("haar", "yunet"):
        assert all(0.9 < face.score <= 1 for face in _detector(name, request, still=True).detect(group_picture))
    assert [detection.yunet_score(score) for score in (0.6, 0.7, 0.8, 0.95)] == pytest.approx([0.5, 0.75, 1, 1])


@pytest.mark.parametrize(("name", "at_least"), [("haar", 5), ("yunet", 6)])
def test_the_group_is_found_in_its_picture(name, at_least, group_picture, request):
    found = _detector(name, request, still=True).detect(group_picture)
    assert at_least <= len(found) <= 7
    largest = max(found, key=lambda face: face.box[2])
    x, y = largest.box[:2] + largest.box[2:] / 2
    assert 640 < x < 1000
    assert 600 < y < 920


@pytest.mark.parametrize("side", [100, 300])
def test_the_landmarks_follow_a_tilted_head(side, group_picture, request):
    upright = cv2.resize(group_picture[230:363, 324:457], (side, side), interpolation=cv2.INTER_AREA)
    found = []
    for degrees in (-15, 0, 15):  # clockwise, which OpenCV counts backwards
        turn = cv2.getRotationMatrix2D((side / 2, side / 2), -degrees, 1)
        turned = cv2.warpAffine(upright, turn, (side, side), borderMode=cv2.BORDER_REPLICATE)
        (face,) = _detector("yunet", request, still=True).detect(turned)
        found.append(face)
        assert face.roll == pytest.approx(detection.slope(*face.landmarks[:2]))
        eye, _, nose, mouth, _ = face.landmarks
        assert (eye < nose).all() and nose[1] < mouth[1]
        assert (np.abs(face.landmarks - face.box[:2] - face.box[2:] / 2) < face.box[2:] / 2).all()
    left, level, right = (face.roll for face in found)
    assert [left - level, right - level] == pytest.approx([-15, 15], abs=8)
    assert right - left > 15, "at 100 pixels a first look tells 3 degrees of these 30"


def test_the_tilt_is_measured_where_it_is_asked_for(group_picture, request):
    for still, align, measured in ((True, None, True), (False, None, False), (False, True, True), (True, False, False)):
        faces = _detector("yunet", request, still=still, align=align).detect(group_picture)
        assert {face.roll is not None for face in faces} == {measured}
        assert all(face.landmarks.shape == (5, 2) for face in faces)
    assert {face.roll for face in _detector("haar", request, still=True).detect(group_picture)} == {None}


@pytest.mark.parametrize("name", ["haar", "yunet"])
def test_a_face_that_the_frame_cuts_off_is_found_and_completed(name, group_picture, request):
    picture = group_picture[:810]  # through the large face, below the nose
    found = _detector(name, request).detect(picture)
    largest = max(found, key=lambda face: face.box[2]).box
    assert largest[2] > 200
    square = cropping.cut(picture, largest, cropping.CropPolicy.of(cropping.CROP, name))
    assert square.shape[0] == square.shape[1]
    assert largest[1] + largest[3] > 800
