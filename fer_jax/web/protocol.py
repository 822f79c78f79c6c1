"""The messages between page and server over the WebSocket; anything else is refused.

To the server: binary messages, each a frame (a byte that is 0 for the camera and 1 for a picture, the frame's number as
4 bytes big-endian, a JPEG file or, of a picture, any image file), and text, a JSON object of `Settings`. To the page:
JSON objects of one key, "hello" first, then "scene" for a frame and "refused" for a message that was not understood.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from fer_jax.errors import UserError
from fer_jax.faces import detection
from fer_jax.preprocess import images
from fer_jax.serve import overlay, tracker
from fer_jax.serve.analysis import Activation, FrameResult, TrackedFace
from fer_jax.serve.classifier import Classifier

MAX_BYTES = 8 * 2**20  # of a message; the page sends a tenth of it
MAX_PIXELS = 4_000_000  # of a frame
MAX_STILL_PIXELS = 50_000_000  # of a picture
LONGER_SIDE_MOVING = 640  # pixels to which the page brings the camera's frames
LONGER_SIDE_STILL = 1920  # and pictures

_HEADER = struct.Struct(">BI")
_MOVING, _STILL = 0, 1


@dataclasses.dataclass(frozen=True)
class ClientFrame:
    """A frame as a client sent it.

    Attributes:
      number: the page's number for it.
      still: whether it is a picture, unrelated to the frame before.
      file: the bytes of the image file, not yet checked.
    """

    number: int
    still: bool
    file: bytes


@dataclasses.dataclass(frozen=True)
class Settings:
    """A client's choices for the analysis; the page handles its other settings itself.

    Attributes:
      detector: one of those the server offers.
      smoothing: see `fer_jax.serve.tracker.History`.
      explain: whether activations are sent.
    """

    detector: str
    smoothing: str = "average"
    explain: bool = False


def parse_frame(message: bytes) -> ClientFrame:
    """The frame in a binary message; UserError if it is too short or of an unknown kind."""
    if len(message) <= _HEADER.size:
        raise UserError(f"a frame of {len(message)} bytes: expected its kind, its number and a JPEG file")
    kind, number = _HEADER.unpack_from(message)
    if kind not in (_MOVING, _STILL):
        raise UserError(f"a frame of kind {kind}: expected {_MOVING} of a camera or {_STILL} of a picture")
    return ClientFrame(number, kind == _STILL, message[_HEADER.size :])


def parse_settings(message: str, detectors: Sequence[str]) -> Settings:
    """The settings in a text message; UserError unless all are there, each with one of its values."""
    try:
        values = json.loads(message)
    except (ValueError, RecursionError):
        raise UserError("a text message that is not JSON: expected settings") from None
    names = [field.name for field in dataclasses.fields(Settings)]
    if not isinstance(values, dict) or sorted(values) != sorted(names):
        raise UserError(f"a text message with other content than settings: expected {', '.join(names)}")
    for name, choices in (("detector", detectors), ("smoothing", tracker.METHODS), ("explain", (False, True))):
        # 0 and 1 are equal to the truth values
        if values[name] not in choices or not isinstance(values[name], type(choices[0])):
            raise UserError(f"the setting {name} is none of {', '.join(map(str, choices))}")
    return Settings(**values)


def decode(file: bytes, still: bool = False) -> np.ndarray:
    """uint8 BGR (H, W, 3) of a camera's frame, a JPEG file, or of a picture of any kind.

    UserError for another file, or one of more than `MAX_PIXELS` or `MAX_STILL_PIXELS`.
    """
    if still:
        return cv2.cvtColor(images.decode(file, "the picture", MAX_STILL_PIXELS), cv2.COLOR_RGB2BGR)
    if file[:2] != b"\xff\xd8":
        raise UserError("a frame that is no JPEG file")
    return cv2.cvtColor(images.decode(file, "a frame", MAX_PIXELS), cv2.COLOR_RGB2BGR)


def hello(classifier: Classifier, detectors: Sequence[str]) -> str:
    """The first message to a client: the model and the server's choices."""
    return _text("hello", model(classifier, detectors))


def model(classifier: Classifier, detectors: Sequence[str]) -> dict[str, Any]:
    """The model and the choices that a page offers its user."""
    bundle = classifier.bundle
    return {
        "model": bundle.name,
        "labels": bundle.labels,
        "colors": ["#{2:02x}{1:02x}{0:02x}".format(*color) for color in overlay.colors(bundle.labels)],
        "uncertain_below": bundle.uncertain_below,
        "doubtful_score": detection.DOUBTFUL_SCORE,
        "detectors": detectors,
        "smoothing": tracker.METHODS,
        "has_maps": classifier.has_maps,
        "max_bytes": MAX_BYTES - _HEADER.size,
        "longer_side": {"moving": LONGER_SIDE_MOVING, "still": LONGER_SIDE_STILL},
    }


def scene(sent: ClientFrame, scene: FrameResult, explain: bool, dropped: int) -> str:
    """The answer to a frame; `dropped` is how many of the client's frames were replaced by newer ones so far."""
    height, width = scene.frame.image.shape[:2]
    return _text(
        "scene",
        {
            "frame": sent.number,
            "still": sent.still,
            "width": width,
            "height": height,
            "dropped": dropped,
            "faces": [_face(face, explain) for face in scene.faces],
        },
    )


def refused(error: UserError, sent: ClientFrame | None = None) -> str:
    """The answer to a message that was not understood, with the frame's number if it was a frame."""
    return _text("refused", {"reason": str(error), "frame": sent.number if sent else None})


def _face(face: TrackedFace, explain: bool) -> dict[str, Any]:
    return {
        "track": face.track,
        "box": [round(float(value), 1) for value in face.box],
        "found": face.found,
        "score": round(float(face.score), 4),
        "label": face.label,
        "probabilities": [round(float(value), 6) for value in face.smoothed],
        "activation": _activation(face.activation) if explain and face.activation else None,
    }


def _activation(activation: Activation) -> dict[str, Any]:
    values = activation.values
    rows, columns = values.shape
    region = {key: round(value, 1) for key, value in dataclasses.asdict(activation.region).items()}
    return {
        "rows": rows,
        "columns": columns,
        "values": [round(100 * float(value)) for value in values.flat],
    } | region


def _text(kind: str, content: dict[str, Any]) -> str:
    return json.dumps({kind: content}, ensure_ascii=False, separators=(",", ":"))
