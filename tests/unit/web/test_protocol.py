"""Messages between the page and the server, well-formed and not."""

import json

import cv2
import numpy as np
import pytest

from fer_jax.errors import UserError
from fer_jax.faces.cropping import Region
from fer_jax.labels import FER2013
from fer_jax.serve.analysis import Activation, FrameResult
from fer_jax.web import protocol
from tests import serving
from tests.unit.web.conftest import frame, jpeg_of

DETECTORS = ("haar", "none")


def test_a_frame():
    sent = protocol.parse_frame(frame(70_000, b"jpeg"))
    assert sent == protocol.ClientFrame(70_000, False, b"jpeg")
    assert protocol.parse_frame(frame(1, b"jpeg", still=True)).still


def _settings(message):
    return protocol.parse_settings(message, DETECTORS)


def test_settings():
    message = json.dumps({"detector": "none", "smoothing": "last10", "explain": True})
    assert _settings(message) == protocol.Settings("none", "last10", True)


@pytest.mark.parametrize(
    ("parse", "message", "reason"),
    [
        (protocol.parse_frame, b"", "a frame of 0 bytes"),
        (protocol.parse_frame, b"\0\0\0\0\1", "a frame of 5 bytes"),
        (protocol.parse_frame, b"\2\0\0\0\1jpeg", "a frame of kind 2"),
        (protocol.decode, b"", "a frame that is no JPEG file"),
        (protocol.decode, cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1].tobytes(), "a frame that is no JPEG"),
        (protocol.decode, b"\xff\xd8\xff\xd9" + jpeg_of(0), "a frame: not an image"),
        (protocol.decode, jpeg_of(0)[:40], "a frame: not an image"),
        (protocol.decode, jpeg_of(0, (2001, 2000)), "a frame: 4,002,000 pixels, expected 4,000,000 at most"),
        (_settings, "{", "not JSON"),
        (_settings, "[" * 100_000, "not JSON"),
        (_settings, "[]", "other content than settings: expected detector, smoothing, explain"),
        (_settings, "null", "other content"),
        (_settings, '{"detector": "haar"}', "other content"),
        (_settings, '{"detector": "haar", "smoothing": "none", "explain": true, "threads": 9}', "other content"),
        (_settings, '{"detector": "yunet", "smoothing": "none", "explain": true}', "detector is none of haar, none"),
        (_settings, '{"detector": ["haar"], "smoothing": "none", "explain": true}', "the setting detector"),
        (_settings, '{"detector": "haar", "smoothing": 3, "explain": true}', "smoothing is none of average, last10"),
        (_settings, '{"detector": "haar", "smoothing": "none", "explain": 1}', "explain is none of False, True"),
    ],
    ids=range(18),
)
def test_other_messages_are_refused(parse, message, reason):
    with pytest.raises(UserError, match=reason):
        parse(message)


def test_the_page_is_told_about_the_model(classifier, classifier_without_maps):
    ((kind, content),) = json.loads(protocol.hello(classifier, DETECTORS)).items()
    assert kind == "hello"
    assert content["labels"] == list(FER2013)
    assert content["colors"][FER2013.index("happy")] == "#f0e442", "Okabe and Ito's yellow, red first"
    assert content["uncertain_below"] == 0.4
    assert content["detectors"] == ["haar", "none"]
    assert content["has_maps"]
    assert not json.loads(protocol.hello(classifier_without_maps, DETECTORS))["hello"]["has_maps"]


@pytest.mark.parametrize("explain", [False, True])
def test_a_scene(explain):
    shares = np.array([0.25, 0.75], np.float32)
    activation = Activation(np.float32([[[2, -2], [-1, 1], [0, 0]]]), 0, Region(20, 10, 30, 30, 5))
    known = {"smoothed": shares, "activation": activation, "score": 0.7}
    faces = [
        serving.tracked(4, [1.26, 2, 30, 40], 1, shares[::-1], **known),
        serving.tracked(5, [50, 2, 30, 40], 0, shares, found=False),
    ]
    scene = FrameResult(serving.frame(), faces)
    message = json.loads(protocol.scene(protocol.ClientFrame(9, False, b""), scene, explain, 3))["scene"]
    first, second = message.pop("faces")
    assert message == {"frame": 9, "still": False, "width": 64, "height": 48, "dropped": 3}
    assert first.pop("activation") == (
        {"rows": 1, "columns": 3, "values": [100, -50, 0], "x": 20, "y": 10, "width": 30, "height": 30, "roll": 5}
        if explain
        else None
    )
    assert first == {
        "track": 4,
        "box": [1.3, 2, 30, 40],
        "found": True,
        "score": 0.7,
        "label": 1,
        "probabilities": [0.25, 0.75],
    }
    assert (second["found"], second["activation"]) == (False, None)
