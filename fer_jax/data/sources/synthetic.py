"""Synthetic faces that express FER2013's seven emotions: the data set that needs no download.

Every face has its own geometry, pose, skin, hair, light and noise; eyebrows, eyes and mouth follow the facial actions
of its emotion (after Ekman and Friesen's Facial Action Coding System: angry lowers the brows, fear raises and draws
them together, disgust wrinkles the nose, ...) at an intensity of its own.

The pixels of a seed are the same on every machine: randomness is Philox' raw 64-bit stream, and shapes are rasterised
as anti-aliased signed distances with nothing but IEEE-exact float32 operations (+ - * /, square root, comparison).
Sine, exponential, a sum over an axis or OpenCV's drawing would differ in the last bit between processors or versions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from fer_jax import labels
from fer_jax.data import arguments
from fer_jax.data.arguments import Argument
from fer_jax.data.dataset import DataSet
from fer_jax.data.examples import Examples
from fer_jax.errors import UserError

VERSION = 2
DATA_SET = DataSet(labels.FER2013, terms="synthetic faces, which show no real person", real_people=False)
ARGUMENTS = {"examples": Argument(8000, "Number of synthetic faces.", low=70, high=10_000_000)}
SPLIT_SHARES = (("Training", 0.8), ("PublicTest", 0.1), ("PrivateTest", 0.1))

# What each emotion does to a face: action -> range of its strength, 0 where an action is not named. Lengths are in half
# heights of the head: ends of the brows up, lids apart, lips apart, mouth's corners up.
_ACTIONS = {
    "angry": {
        "inner_brow": (-0.15, -0.09),
        "outer_brow": (-0.02, 0.06),
        "brows_together": (0.04, 0.07),
        "furrow": (0.5, 1.0),
        "upper_lid": (-0.05, 0.0),
        "lower_lid": (-0.03, 0.0),
        "lid_slant": (-0.17, -0.09),
        "corners": (-0.08, -0.01),
        "mouth_width": (-0.05, 0.04),
        "gritted": (-0.05, 0.06),
    },
    "disgust": {
        "inner_brow": (-0.09, -0.03),
        "outer_brow": (-0.05, 0.0),
        "brows_together": (0.0, 0.03),
        "upper_lid": (-0.07, -0.04),
        "lower_lid": (-0.05, -0.02),
        "nose_wrinkle": (0.6, 1.0),
        "cheek_fold": (0.4, 0.9),
        "upper_lip": (0.03, 0.09),
        "crooked": (0.04, 0.1),
        "corners": (-0.13, -0.06),
        "mouth_width": (-0.05, 0.02),
        "tongue": (-0.1, 0.1),
    },
    "fear": {
        "inner_brow": (0.11, 0.18),
        "outer_brow": (0.0, 0.07),
        "brows_together": (0.03, 0.06),
        "upper_lid": (0.04, 0.08),
        "lower_lid": (0.01, 0.04),
        "small_iris": (0.15, 0.35),
        "corners": (-0.05, 0.0),
        "mouth_width": (-0.02, 0.07),
        "mouth_open": (0.08, 0.17),
        "upper_teeth": (-1.0, 1.0),
        "lower_teeth": (-0.3, 1.0),
    },
    "happy": {
        "inner_brow": (0.0, 0.05),
        "outer_brow": (0.0, 0.05),
        "upper_lid": (-0.05, 0.01),
        "lower_lid": (-0.09, -0.04),
        "cheek_fold": (0.2, 0.6),
        "blush": (0.3, 0.8),
        "corners": (0.1, 0.19),
        "mouth_width": (0.03, 0.11),
        "mouth_open": (-0.06, 0.17),
        "upper_teeth": (1.0, 1.0),
    },
    "sad": {
        "inner_brow": (0.07, 0.14),
        "outer_brow": (-0.09, -0.04),
        "brows_together": (0.0, 0.04),
        "upper_lid": (-0.07, -0.03),
        "lid_slant": (0.09, 0.17),
        "gaze_down": (0.0, 0.03),
        "tear": (-0.8, 1.0),
        "corners": (-0.15, -0.08),
        "mouth_width": (-0.1, -0.03),
    },
    "surprise": {
        "inner_brow": (0.12, 0.2),
        "outer_brow": (0.12, 0.2),
        "upper_lid": (0.03, 0.08),
        "lower_lid": (0.01, 0.04),
        "mouth_width": (-0.17, -0.1),
        "mouth_open": (0.17, 0.3),
        "mouth_round": (0.8, 1.0),
    },
    "neutral": {"inner_brow": (-0.02, 0.02), "outer_brow": (-0.02, 0.02), "corners": (-0.02, 0.03)},
}

# How faces differ whatever they express: trait -> range, uniform and independent
_TRAITS = {
    "turn": (-0.09, 0.09),  # tangent of half the angle of rotation: +-10 degrees
    "shift_x": (-0.1, 0.1),
    "shift_y": (-0.08, 0.08),
    "scale": (0.82, 1.02),
    "yaw": (-0.14, 0.14),
    "head_width": (0.7, 0.8),
    "head_height": (0.94, 1.02),
    "jaw": (0.08, 0.3),
    "eye_distance": (0.31, 0.36),
    "eye_height": (-0.17, -0.11),
    "eye_width": (0.16, 0.2),
    "eye_open": (-0.01, 0.015),
    "gaze": (-0.035, 0.035),
    "iris": (0.1, 0.115),
    "iris_tone": (0.0, 1.0),
    "brow_height": (0.17, 0.22),
    "brow_arch": (0.5, 1.3),
    "brow_width": (0.2, 0.25),
    "brow_thickness": (0.03, 0.05),
    "nose_length": (0.17, 0.24),
    "nose_width": (0.08, 0.12),
    "mouth_height": (0.47, 0.54),
    "mouth_width_at_rest": (0.25, 0.31),
    "lip": (0.025, 0.045),
    "mouth_tilt": (-0.06, 0.06),
    "skin": (0.0, 1.0),
    "hair": (0.0, 1.0),
    "background": (0.0, 1.0),
    "clothes": (0.0, 1.0),
    "lips": (0.25, 0.7),
    "style": (0.0, 1.0),
    "hairline": (-0.66, -0.52),
    "parting": (-0.5, 0.5),
    "fringe": (-0.05, 0.3),
    "glasses": (0.0, 1.0),
    "beard": (0.0, 1.0),
    "cheeks": (0.0, 0.5),
    "light_x": (-0.28, 0.28),
    "light_y": (-0.22, 0.1),
    "brightness": (0.85, 1.12),
    "contrast": (0.75, 1.1),
    "noise": (1.0, 14.0),  # grey levels, half the base of a triangular distribution
}

_NAMES = (*_TRAITS, *sorted({action for actions in _ACTIONS.values() for action in actions}))
# float64 (emotions, names, 2): lowest and highest value
_RANGES = np.array(
    [[_TRAITS.get(name) or _ACTIONS[emotion].get(name, (0.0, 0.0)) for name in _NAMES] for emotion in labels.FER2013]
)

# RGB, 0..255; each palette is read by linear interpolation
_SKIN = ((244, 210, 184), (241, 196, 158), (214, 160, 116), (166, 112, 76), (118, 76, 52))
_HAIR = ((178, 176, 178), (28, 24, 24), (70, 44, 28), (122, 74, 38), (196, 150, 82), (150, 62, 30))
_BACKGROUND = ((40, 58, 80), (76, 48, 46), (38, 66, 58), (64, 48, 74), (80, 68, 48), (34, 40, 50))
_CLOTHES = ((52, 92, 140), (170, 62, 60), (72, 128, 92), (226, 180, 76), (96, 82, 130), (60, 64, 72))
_IRIS = ((52, 34, 24), (92, 60, 34), (74, 104, 72), (66, 112, 158))
_BLACK, _WHITE, _TEAR = (34, 24, 26), (224, 224, 220), (190, 224, 245)
_LIP, _MOUTH, _TONGUE, _TEETH, _BLUSH = (186, 74, 78), (84, 28, 34), (222, 108, 112), (250, 246, 236), (226, 92, 84)

_PIXELS_AT_ONCE = 1 << 15  # of one chunk of faces: arrays that stay in cache and are not mapped afresh by malloc


@dataclasses.dataclass(eq=False)
class _Features:
    """Every trait of `_TRAITS` and action of `_ACTIONS` of the faces of one chunk, float32 (n, 1, 1)."""

    # how faces differ
    turn: np.ndarray
    shift_x: np.ndarray
    shift_y: np.ndarray
    scale: np.ndarray
    yaw: np.ndarray
    head_width: np.ndarray
    head_height: np.ndarray
    jaw: np.ndarray
    eye_distance: np.ndarray
    eye_height: np.ndarray
    eye_width: np.ndarray
    eye_open: np.ndarray
    gaze: np.ndarray
    iris: np.ndarray
    iris_tone: np.ndarray
    brow_height: np.ndarray
    brow_arch: np.ndarray
    brow_width: np.ndarray
    brow_thickness: np.ndarray
    nose_length: np.ndarray
    nose_width: np.ndarray
    mouth_height: np.ndarray
    mouth_width_at_rest: np.ndarray
    lip: np.ndarray
    mouth_tilt: np.ndarray
    skin: np.ndarray
    hair: np.ndarray
    background: np.ndarray
    clothes: np.ndarray
    lips: np.ndarray
    style: np.ndarray
    hairline: np.ndarray
    parting: np.ndarray
    fringe: np.ndarray
    glasses: np.ndarray
    beard: np.ndarray
    cheeks: np.ndarray
    light_x: np.ndarray
    light_y: np.ndarray
    brightness: np.ndarray
    contrast: np.ndarray
    noise: np.ndarray
    # what an expression does
    blush: np.ndarray
    brows_together: np.ndarray
    cheek_fold: np.ndarray
    corners: np.ndarray
    crooked: np.ndarray
    furrow: np.ndarray
    gaze_down: np.ndarray
    gritted: np.ndarray
    inner_brow: np.ndarray
    lid_slant: np.ndarray
    lower_lid: np.ndarray
    lower_teeth: np.ndarray
    mouth_open: np.ndarray
    mouth_round: np.ndarray
    mouth_width: np.ndarray
    nose_wrinkle: np.ndarray
    outer_brow: np.ndarray
    small_iris: np.ndarray
    tear: np.ndarray
    tongue: np.ndarray
    upper_lid: np.ndarray
    upper_lip: np.ndarray
    upper_teeth: np.ndarray


class _Face(_Features):
    """Faces of one chunk on their way to pixels: their coordinates, their colours, the paint laid on so far.

    `u` and `v`, float32 (n, size, size), are the pixel
    centres in the faces' own upright frame: 0 between eyes and mouth, u to the right, v down, +-1 about the head's
    edge; `x` is u as the features lie on a head that is turned. `blur` is the width of a pixel, over which edges are
    softened. A colour is a list of one float32 array a channel, 0..255.
    """

    def __init__(self, values: dict[str, np.ndarray], size: int, channels: int, zoom: float):
        super().__init__(**{name: value[:, None, None] for name, value in values.items()})
        centres = ((2 * np.arange(size) + 1 - size) / size).astype(np.float32)
        scale = self.scale * np.float32(zoom)
        x = (centres[None, None, :] - self.shift_x) / scale
        y = (centres[None, :, None] - self.shift_y) / scale
        # cosine and sine from the tangent of half the angle: exact operations only
        square = self.turn * self.turn
        cosine, sine = (1 - square) / (1 + square), 2 * self.turn / (1 + square)
        self.u, self.v = cosine * x + sine * y, cosine * y - sine * x
        self.x = self.u - self.yaw * np.maximum(1 - self.u * self.u, 0)  # the middle moves more than the edge
        self.blur = np.float32(2 / size) / scale
        self.channels = channels
        self.image = [np.zeros_like(self.u) for _ in range(channels)]
        self.skin_colour, self.hair_colour = self.tone(_SKIN, self.skin), self.tone(_HAIR, self.hair)
        self.long_hair = (self.style > 0.55).astype(np.float32)

    def cover(self, distance: np.ndarray) -> np.ndarray:
        """Share of each pixel inside a shape, from its signed distance (negative inside)."""
        return np.clip(0.5 - distance / self.blur, 0, 1)

    def tone(self, palette: Sequence[tuple], position: np.ndarray | float = 0.0) -> list[np.ndarray]:
        """A palette's colour at `position` in 0..1: one float32 array a channel."""
        palette = np.asarray(palette, np.float32)
        if self.channels == 1:  # ITU-R BT.601 luma; not a matrix product, whose order of summation varies
            palette = 0.299 * palette[:, :1] + 0.587 * palette[:, 1:2] + 0.114 * palette[:, 2:]
        at = np.asarray(position, np.float32) * np.float32(len(palette) - 1)
        low = np.minimum(at.astype(np.int32), max(len(palette) - 2, 0))
        high = np.minimum(low + 1, len(palette) - 1)
        rest = at - low.astype(np.float32)
        return [palette[low, c] + (palette[high, c] - palette[low, c]) * rest for c in range(self.channels)]

    def paint(self, share: np.ndarray, colour: Sequence[np.ndarray]) -> None:
        """Lay `colour` over the image where `share` (0..1) is, as much as it is."""
        for c, value in enumerate(colour):
            self.image[c] += (value - self.image[c]) * share


def _ellipse(x: np.ndarray, y: np.ndarray, a: np.ndarray | float, b: np.ndarray | float) -> np.ndarray:
    """Signed distance to an ellipse of half axes a, b, to first order."""
    p, q = x / a, y / b
    k = np.sqrt(p * p + q * q)
    p, q = p / a, q / b
    return k * (k - 1) / (np.sqrt(p * p + q * q) + 1e-6)


def _stroke(
    x: np.ndarray,
    y: np.ndarray,
    half_width: np.ndarray | float,
    thickness: np.ndarray | float,
    height: np.ndarray | float,
    slope: np.ndarray | float,
    curve: np.ndarray | float,
) -> np.ndarray:
    """Signed distance to a brush stroke along y = height + slope x + curve x², thinning out towards +-half_width."""
    steep = slope + 2 * curve * x
    distance = np.abs(y - height - (slope + curve * x) * x) / np.sqrt(1 + steep * steep)
    t = x / half_width
    return distance - thickness * (1 - t * t)


def _glow(x: np.ndarray, y: np.ndarray, a: np.ndarray | float, b: np.ndarray | float) -> np.ndarray:
    """A soft spot: 1 in the middle, 0 outside the ellipse of half axes a, b."""
    p, q = x / a, y / b
    inside = np.maximum(1 - p * p - q * q, 0)
    return inside * inside


def _strands(f: _Face) -> list[np.ndarray]:
    """The hair's colour, combed from above and with a band of shine."""
    comb = (f.u - f.parting) / np.maximum(1.4 + f.v, 0.2) * 9
    comb = np.abs(comb - np.floor(comb) - 0.5)
    shine = np.maximum(1 - np.abs(f.v + 0.78 - 0.3 * f.u * f.u) * 7, 0)
    return [c * (0.86 + 0.28 * comb) * (1 + 0.18 * shine) for c in f.hair_colour]


def _paint_backdrop(f: _Face) -> None:
    """Background, hair that falls behind, neck, clothes, ears."""
    f.paint(np.ones_like(f.u), [c * (1 - 0.12 * f.v) for c in f.tone(_BACKGROUND, f.background)])
    behind = f.cover(_ellipse(f.u, f.v - 0.12, f.head_width + 0.2, 1.22)) * f.long_hair
    f.paint(behind, [0.78 * c for c in _strands(f)])
    neck = np.maximum(np.abs(f.u) - 0.4 * f.head_width - 0.05, 0.5 - f.v)
    f.paint(f.cover(neck), [0.78 * c for c in f.skin_colour])
    f.paint(f.cover(_ellipse(f.u, f.v - 1.62, 1.25, 0.6)), f.tone(_CLOTHES, f.clothes))
    ear = np.abs(f.u) - f.head_width
    f.paint(f.cover(_ellipse(ear, f.v - f.eye_height - 0.14, 0.1, 0.17)), [0.9 * c for c in f.skin_colour])
    f.paint(f.cover(_ellipse(ear + 0.01, f.v - f.eye_height - 0.14, 0.05, 0.1)), [0.72 * c for c in f.skin_colour])


def _paint_head(f: _Face) -> None:
    """The head's shape, narrower at the jaw, with the shading of a round thing."""
    jaw = np.clip(f.v, 0, 1.2)
    head = _ellipse(f.u / (1 - f.jaw * jaw * jaw), f.v, f.head_width, f.head_height)
    edge = np.clip(1 + 2 * head, 0, 1)
    f.paint(f.cover(head), [c * (1 - 0.24 * edge * edge) for c in f.skin_colour])
    stubble = np.clip(3 * (f.beard - 0.78), 0, 1) * np.clip(4 * (f.v - 0.3), 0, 1) * f.cover(head)
    f.paint(0.7 * stubble, f.hair_colour)


def _paint_eyes(f: _Face) -> None:
    x, y = np.abs(f.x) - f.eye_distance, f.v - f.eye_height
    side = np.where(f.x < 0, np.float32(-1), np.float32(1))
    # sockets lie in the shade
    f.paint(0.7 * _glow(x, y + 0.03, 0.34, 0.26), [0.45 * c for c in f.skin_colour])
    t = x / f.eye_width
    profile = 1 - np.minimum(t * t, 2)
    upper = np.maximum(0.088 + f.eye_open + f.upper_lid, 0.012)
    lower = np.maximum(0.075 + f.eye_open + f.lower_lid, -0.03)
    tilted = y - f.lid_slant * x
    ball = f.cover(
        np.maximum(
            np.abs(tilted - (lower - upper) / 2 * profile) - (lower + upper) / 2 * profile, np.abs(x) - f.eye_width
        )
    )
    f.paint(ball, f.tone([_WHITE]))
    x_iris, y_iris = x - f.gaze * side, y - f.gaze_down - 0.005
    iris = f.iris * (1 - f.small_iris)
    distance = np.sqrt(x_iris * x_iris + y_iris * y_iris)
    f.paint(ball * f.cover(distance - iris), f.tone(_IRIS, f.iris_tone))
    f.paint(ball * f.cover(distance - 0.55 * iris), f.tone([_BLACK]))
    f.paint(ball * f.cover(_ellipse(x_iris + 0.03 * side, y_iris + 0.035, 0.024, 0.024)), f.tone([_WHITE]))
    for half_width, thickness, opening, strength in ((1.12, 0.034, -upper, 1.0), (1.0, 0.012, lower, 0.55)):
        lid = _stroke(
            x, y, half_width * f.eye_width, thickness, opening, f.lid_slant, -opening / (f.eye_width * f.eye_width)
        )
        f.paint(strength * f.cover(lid), f.tone([_BLACK]))
    tear = _ellipse(f.x - f.eye_distance - 0.03, y - 0.27, 0.045, 0.075)
    f.paint(0.85 * f.cover(tear) * (f.tear > 0.3), f.tone([_TEAR]))


def _paint_brows(f: _Face) -> None:
    x = np.abs(f.x) - f.eye_distance - 0.02 + f.brows_together
    middle = f.eye_height - f.brow_height - (f.inner_brow + f.outer_brow) / 2
    slope = (f.inner_brow - f.outer_brow) / (2 * f.brow_width)
    brow = _stroke(x, f.v, f.brow_width, f.brow_thickness, middle - 0.02 * f.brow_arch, slope, f.brow_arch)
    f.paint(f.cover(brow), [0.6 * c for c in f.hair_colour])
    # the frown's two upright lines
    furrow = _stroke(f.v - f.eye_height + 0.17, np.abs(f.x), 0.1, 0.016, 0.055, 0.1, 0.0)
    f.paint(f.furrow * f.cover(furrow), [0.5 * c for c in f.skin_colour])


def _paint_nose(f: _Face) -> None:
    dark = [0.58 * c for c in f.skin_colour]
    tip = f.eye_height + 0.13 + f.nose_length
    f.paint(0.5 * _glow(f.x, f.v - tip + 0.16, 0.09, 0.34), [1.2 * c for c in f.skin_colour])
    f.paint(f.cover(_stroke(f.x, f.v, f.nose_width * 1.35, 0.022, tip + 0.04, 0.0, -2.2)), dark)
    f.paint(f.cover(_ellipse(np.abs(f.x) - 0.6 * f.nose_width, f.v - tip, 0.028, 0.018)), [0.35 * c for c in dark])
    wrinkles = f.cover(_stroke(f.x, np.abs(f.v - f.eye_height - 0.06), 0.11, 0.017, 0.045, 0.0, 1.5))
    f.paint(f.nose_wrinkle * wrinkles, dark)
    # folds from the nose's wings down past the mouth's corners
    fold = _stroke(f.v - 0.36, np.abs(f.x), 0.17, 0.017, f.nose_width + 0.2, 0.5, -0.8)
    f.paint(f.cheek_fold * f.cover(fold), dark)
    blush = _glow(np.abs(f.x) - 0.42, f.v - 0.26, 0.24, 0.18) * (0.35 * np.maximum(f.cheeks, f.blush))
    f.paint(blush, f.tone([_BLUSH]))


def _paint_mouth(f: _Face) -> None:
    width = f.mouth_width_at_rest + f.mouth_width
    x, y = f.x, f.v - f.mouth_height - 0.4 * f.corners + f.upper_lip
    t = x / width
    profile = 1 - np.minimum(t * t, 2)
    arc = np.maximum(profile, 0)
    profile = profile + f.mouth_round * (np.sqrt(arc) - arc)  # an oval where the jaw drops, else pointed at the corners
    y = y - (f.mouth_tilt + f.crooked) * x + f.corners * t * t  # from the line between the lips
    teeth_apart, opened = np.maximum(f.gritted, 0), np.maximum(f.mouth_open, 0)
    up, low = 0.35 * opened + teeth_apart, 0.75 * opened + teeth_apart
    gap = np.maximum(np.maximum(-y - up * profile, y - low * profile), np.abs(x) - width)
    lips = np.maximum(-y - (up + f.lip) * profile, y - (low + 1.4 * f.lip) * profile)
    f.paint(f.lips * f.cover(np.maximum(lips, np.abs(x) - width)), f.tone([_LIP]))
    is_open = up > 0.01
    inside = f.cover(gap) * is_open
    f.paint(inside, f.tone([_MOUTH]))
    f.paint(
        inside * f.cover(_ellipse(x, y - 0.8 * opened - 0.02, 0.6 * width, 0.45 * opened + 0.01)), f.tone([_TONGUE])
    )
    f.paint(inside * (f.upper_teeth > 0) * f.cover(y + 0.02 - 0.3 * opened), f.tone([_TEETH]))
    f.paint(inside * (f.lower_teeth > 0) * f.cover(0.5 * opened - y), f.tone([_TEETH]))
    f.paint(inside * (teeth_apart > 0) * f.cover(0.008 - np.abs(y)), f.tone([_TEETH]))
    seam = _stroke(
        x,
        f.v - f.mouth_height - 0.4 * f.corners + f.upper_lip,
        1.03 * width,
        0.02,
        0.0,
        f.mouth_tilt + f.crooked,
        -f.corners / (width * width),
    )
    f.paint(f.cover(np.where(is_open, np.abs(gap) - 0.014, seam)), [0.32 * c for c in f.skin_colour])
    f.paint(f.cover(np.maximum(_ellipse(x - 0.04, y - 0.06, 0.1, 0.1), -y)) * (f.tongue > 0.03), f.tone([_TONGUE]))


def _paint_hair(f: _Face) -> None:
    """The hair on the head, cut short or long or not there, and glasses for some."""
    side = f.u / f.head_width
    side = side * side
    line = f.hairline + f.fringe * np.abs(f.u - f.parting) + (0.16 + 0.3 * f.long_hair) * side * side
    cap = np.maximum(
        _ellipse(f.u, f.v + 0.03, f.head_width + 0.02 + 0.04 * f.long_hair, f.head_height + 0.06), f.v - line
    )
    f.paint(f.cover(cap) * (f.style > 0.1), _strands(f))
    x, y = np.abs(f.x) - f.eye_distance, f.v - f.eye_height
    rim = np.abs(_ellipse(x, y - 0.01, 0.26, 0.22)) - 0.016
    bridge = np.maximum(np.abs(y + 0.02) - 0.016, x + 0.26)
    f.paint(0.85 * f.cover(np.minimum(rim, bridge)) * (f.glasses > 0.94), f.tone([_BLACK]))


def _draw_chunk(values: dict[str, np.ndarray], size: int, channels: int, zoom: float, noise: np.ndarray) -> np.ndarray:
    """The faces of one chunk: uint8 (n, size, size, channels). `noise` is float32 (n, size, size) in [-1, 1]."""
    f = _Face(values, size, channels, zoom)
    for paint in (_paint_backdrop, _paint_head, _paint_nose, _paint_eyes, _paint_brows, _paint_mouth, _paint_hair):
        paint(f)
    light = f.brightness * (1 + f.light_x * np.clip(f.u, -1.5, 1.5) + f.light_y * np.clip(f.v, -1.5, 1.5))
    pixels = np.stack(f.image, axis=-1)
    pixels = 128 + (pixels * light[..., None] - 128) * f.contrast[..., None]
    pixels += f.noise[..., None] * noise[..., None]
    return np.rint(np.clip(pixels, 0, 255)).astype(np.uint8)


def _uniform(bits: np.random.Philox, count: int) -> np.ndarray:
    """float64 (count,) in [0, 1) from the raw stream, which numpy promises to keep, unlike Generator's methods."""
    return (bits.random_raw(count) >> np.uint64(11)) * (1 / (1 << 53))


def draw(
    expressions: Sequence[int] | np.ndarray,
    size: int,
    channels: int = 1,
    seed: int = 0,
    zoom: float = 1.0,
    noise: float = 1.0,
) -> np.ndarray:
    """Faces with the given expressions.

    Face i depends on `seed`, i, `expressions[i]` and the other arguments alone, not on how many are drawn. The same
    face at another size is the same drawing with finer edges and noise of its own.

    Args:
      expressions: (N,) indices into `labels.FER2013`.
      size: height and width in pixels.
      channels: 1 grey, 3 RGB (of which grey is the luma, but for rounding and clipping).
      seed: non-negative.
      zoom: of the head, which fills the picture at 1; below 1 more of the surroundings shows.
      noise: factor of the grain; 0 draws clean pictures.

    Returns:
      uint8 (N, size, size, channels).
    """
    expressions = np.asarray(expressions)
    n = len(expressions)
    share = _uniform(np.random.Philox(key=[seed, 0]), n * len(_NAMES)).reshape(n, -1)
    low, high = np.moveaxis(_RANGES[expressions], -1, 0)
    values = dict(zip(_NAMES, (low + (high - low) * share).astype(np.float32).T, strict=True))
    grain = np.random.Philox(key=[seed, 1])
    words = -(-size * size // 4)  # two bytes a pixel: their sum is triangular
    images = np.empty((n, size, size, channels), np.uint8)
    step = max(1, _PIXELS_AT_ONCE // (size * size))
    for start in range(0, n, step):
        part = slice(start, min(start + step, n))
        count = part.stop - part.start
        pairs = grain.random_raw(count * words).astype("<u8").view(np.uint8).reshape(count, -1, 2)[:, : size * size]
        grains = (pairs[..., 0].astype(np.float32) + pairs[..., 1] - 255) * np.float32(noise / 255)
        images[part] = _draw_chunk(
            {name: value[part] for name, value in values.items()},
            size,
            channels,
            zoom,
            grains.reshape(count, size, size),
        )
    return images


def fingerprint(data: ConfigDict) -> list:
    """The number of faces: nothing else decides what `read` draws."""
    return [arguments.value(data, ARGUMENTS, "examples")]


def read(data: ConfigDict, input: ConfigDict) -> Examples:
    """`data.args.examples` synthetic faces of `input.size` and `input.channels`, classes balanced within every split.

    Raises:
      UserError: for fewer faces than every split needs to hold every class.
    """
    n, classes = arguments.value(data, ARGUMENTS, "examples"), len(labels.FER2013)
    if n < 10 * classes:
        raise UserError(
            f"config.data.args.examples is {n}: {classes} classes in three splits (80/10/10 %) need at least "
            f"{10 * classes}"
        )
    expressions = np.arange(n, dtype=np.int32) % classes
    edges = np.rint(np.cumsum([share for _, share in SPLIT_SHARES]) * n).astype(int)
    split = np.repeat([name for name, _ in SPLIT_SHARES], np.diff(edges, prepend=0))
    return Examples(
        images=draw(expressions, input.size, input.channels),
        labels=expressions,
        split=split,
        label_names=labels.FER2013,
        description=f"{n} synthetic faces",
    )
