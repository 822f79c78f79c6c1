"""One visitor: tracking, settings, pictures and detectors."""

import json

import pytest

from fer_jax.errors import UserError
from fer_jax.faces import cropping
from fer_jax.serve import Classifier
from fer_jax.web import protocol
from fer_jax.web.session import Session, detectors
from tests import serving
from tests.unit.web.conftest import jpeg_of


@pytest.fixture
def session(classifier):
    return Session(classifier, protocol.Settings("none"))


def _faces(session, label, still=False, size=(48, 64)):
    answer = json.loads(session.answer(protocol.ClientFrame(1, still, jpeg_of(label, size)), 0))
    return [(face["track"], face["label"]) for face in answer["scene"]["faces"]]


def test_a_face_keeps_its_number_and_its_name_is_smoothed(session):
    assert [_faces(session, label) for label in (3, 3, 3, 5)] == [[(1, 3)]] * 4


def test_settings_hold_from_the_next_frame_on(session):
    _faces(session, 3)
    session.settings = protocol.Settings("none", "none")
    assert [_faces(session, label) for label in (3, 5)] == [[(1, 3)], [(1, 5)]]
    session.settings = protocol.Settings("haar", "none")
    assert _faces(session, 5) == [], "a plain picture has no face"


def test_a_picture_has_nothing_to_do_with_the_frames_around_it(session):
    _faces(session, 3)
    assert _faces(session, 5, still=True) == [(1, 5)]
    assert _faces(session, 1) == [(1, 1)]


def test_another_size_is_another_scene(session):
    _faces(session, 3)
    assert _faces(session, 5, size=(64, 48)) == [(1, 5)]


def test_activations_are_sent_when_asked_for(session):
    def activation():
        return json.loads(session.answer(protocol.ClientFrame(1, True, jpeg_of(2)), 0))["scene"]["faces"][0][
            "activation"
        ]

    assert activation() is None
    session.settings = protocol.Settings("none", explain=True)
    assert (activation()["rows"], activation()["columns"]) == (8, 8)


def test_detectors_that_can_be_offered(classifier, tmp_path):
    assert detectors(classifier) == ("haar", "none")
    with pytest.raises(UserError, match="No such file"):
        detectors(classifier, str(tmp_path / "yunet.onnx"))
    crop = cropping.CROP | {"detectors": {"yunet": cropping.CROP["detectors"]["yunet"]}}
    with pytest.raises(UserError, match="no crop policy for the detector haar"):
        detectors(Classifier(serving.write_bundle(tmp_path / "bundle", crop=crop)))


def test_an_opencv_5_offers_yunet_alone(classifier, yunet_model, monkeypatch):
    monkeypatch.delattr("cv2.CascadeClassifier")
    assert detectors(classifier, str(yunet_model)) == ("yunet", "none")
    with pytest.raises(UserError, match="has no Haar cascades any more"):
        detectors(classifier)


def test_yunet_comes_first_where_there_is_one(classifier, real_data):
    assert detectors(classifier, str(real_data / "models" / "face_detection_yunet_2023mar.onnx")) == (
        "yunet",
        "haar",
        "none",
    )
