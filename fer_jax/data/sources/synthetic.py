"""Synthetic faces that express FER2013's seven emotions: the data set that needs no download.

Every face has its own geometry, pose, skin, hair, light and noise; eyebrows, eyes and mouth follow the facial actions
of its emotion (after Ekman and Friesen's Facial Action Coding System: angry lowers the brows, fear raises and draws
them together, disgust wrinkles the nose, ...) at an intensity of its own.

The pixels of a seed are the same on every machine: randomness is Philox' raw 64-bit stream, and shapes are rasterized
as anti-aliased signed distances with nothing but IEEE-exact float32 operations (+ - * /, square root, comparison).
Sine, exponential, a sum over an axis or OpenCV's drawing would differ in the last bit between processors or versions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from fer_jax import fields, labels
from fer_jax.data.examples import Examples
from fer_jax.data.sources import DataSet
from fer_jax.errors import UserError
from fer_jax.fields import Field
from fer_jax.preprocess.images import Geometry

VERSION = 2
DATA_SET = DataSet(labels.FER2013, terms="synthetic faces, which show no real person", real_people=False)
ARGUMENTS = {"examples": Field(8000, "Number of synthetic faces.", low=70, high=10_000_000)}
SPLIT_SHARES = (("Training", 0.8), ("PublicTest", 0.1), ("PrivateTest", 0.1))

# What each emotion does to a face, an action a line: lowest and highest strength for the emotions in the order of
# `labels.FER2013`. Lengths are in half heights of the head: ends of the brows up, lids apart, lips apart, corners up.
_ACTIONS = """
blush          0:0          0:0          0:0          0.3:0.8      0:0          0:0          0:0
brows_together 0.04:0.07    0:0.03       0.03:0.06    0:0          0:0.04       0:0          0:0
cheek_fold     0:0          0.4:0.9      0:0          0.2:0.6      0:0          0:0          0:0
corners        -0.08:-0.01  -0.13:-0.06  -0.05:0      0.1:0.19     -0.15:-0.08  0:0          -0.02:0.03
crooked        0:0          0.04:0.1     0:0          0:0          0:0          0:0          0:0
furrow         0.5:1        0:0          0:0          0:0          0:0          0:0          0:0
gaze_down      0:0          0:0          0:0          0:0          0:0.03       0:0          0:0
gritted        -0.05:0.06   0:0          0:0          0:0          0:0          0:0          0:0
inner_brow     -0.15:-0.09  -0.09:-0.03  0.11:0.18    0:0.05       0.07:0.14    0.12:0.2     -0.02:0.02
lid_slant      -0.17:-0.09  0:0          0:0          0:0          0.09:0.17    0:0          0:0
lower_lid      -0.03:0      -0.05:-0.02  0.01:0.04    -0.09:-0.04  0:0          0.01:0.04    0:0
lower_teeth    0:0          0:0          -0.3:1       0:0          0:0          0:0          0:0
mouth_open     0:0          0:0          0.08:0.17    -0.06:0.17   0:0          0.17:0.3     0:0
mouth_round    0:0          0:0          0:0          0:0          0:0          0.8:1        0:0
mouth_width    -0.05:0.04   -0.05:0.02   -0.02:0.07   0.03:0.11    -0.1:-0.03   -0.17:-0.1   0:0
nose_wrinkle   0:0          0.6:1        0:0          0:0          0:0          0:0          0:0
outer_brow     -0.02:0.06   -0.05:0      0:0.07       0:0.05       -0.09:-0.04  0.12:0.2     -0.02:0.02
small_iris     0:0          0:0          0.15:0.35    0:0          0:0          0:0          0:0
tear           0:0          0:0          0:0          0:0          -0.8:1       0:0          0:0
tongue         0:0          -0.1:0.1     0:0          0:0          0:0          0:0          0:0
upper_lid      -0.05:0      -0.07:-0.04  0.04:0.08    -0.05:0.01   -0.07:-0.03  0.03:0.08    0:0
upper_lip      0:0          0.03:0.09    0:0          0:0          0:0          0:0          0:0
upper_teeth    0:0          0:0          -1:1         1:1          0:0          0:0          0:0
"""
# How faces differ whatever they express, uniform and independent. turn is the tangent of half the angle of rotation:
# +-10 degrees; noise is half the base of a triangular distribution of gray levels.
_TRAITS = """
turn -0.09:0.09, shift_x -0.1:0.1, shift_y -0.08:0.08, scale 0.82:1.02,
yaw -0.14:0.14, head_width 0.7:0.8, head_height 0.94:1.02, jaw 0.08:0.3,
eye_distance 0.31:0.36, eye_height -0.17:-0.11, eye_width 0.16:0.2, eye_open -0.01:0.015,
gaze -0.035:0.035, iris 0.1:0.115, iris_tone 0:1, brow_height 0.17:0.22,
brow_arch 0.5:1.3, brow_width 0.2:0.25, brow_thickness 0.03:0.05, nose_length 0.17:0.24,
nose_width 0.08:0.12, mouth_height 0.47:0.54, mouth_width_at_rest 0.25:0.31, lip 0.025:0.045,
mouth_tilt -0.06:0.06, skin 0:1, hair 0:1, background 0:1,
clothes 0:1, lips 0.25:0.7, style 0:1, hairline -0.66:-0.52,
parting -0.5:0.5, fringe -0.05:0.3, glasses 0:1, beard 0:1,
cheeks 0:0.5, light_x -0.28:0.28, light_y -0.22:0.1, brightness 0.85:1.12,
contrast 0.75:1.1, noise 1:14
"""


def _range(text: str) -> list[float]:
    return [float(end) for end in text.split(":")]


def _ranges() -> dict[str, np.ndarray]:
    """{trait or action: float64 (emotions, 2) lowest and highest value}."""
    found = {}
    for trait in _TRAITS.split(","):
        name, range_ = trait.split()
        found[name] = np.array([_range(range_)] * len(labels.FER2013))
    for line in _ACTIONS.strip().splitlines():
        name, *ranges = line.split()
        found[name] = np.array([_range(one) for one in ranges])
    return found


_RANGES = _ranges()

# RGB, 0..255; each palette is read by linear interpolation
_SKIN = ((244, 210, 184), (241, 196, 158), (214, 160, 116), (166, 112, 76), (118, 76, 52))
_HAIR = ((178, 176, 178), (28, 24, 24), (70, 44, 28), (122, 74, 38), (196, 150, 82), (150, 62, 30))
_BACKGROUND = ((40, 58, 80), (76, 48, 46), (38, 66, 58), (64, 48, 74), (80, 68, 48), (34, 40, 50))
_CLOTHES = ((52, 92, 140), (170, 62, 60), (72, 128, 92), (226, 180, 76), (96, 82, 130), (60, 64, 72))
_IRIS = ((52, 34, 24), (92, 60, 34), (74, 104, 72), (66, 112, 158))
_BLACK, _WHITE, _TEAR = (34, 24, 26), (224, 224, 220), (190, 224, 245)
_LIP, _MOUTH, _TONGUE, _TEETH, _BLUSH = (186, 74, 78), (84, 28, 34), (222, 108, 112), (250, 246, 236), (226, 92, 84)

_PIXELS_AT_ONCE = 1 << 15  # of one chunk of faces: arrays that stay in cache and are not mapped afresh by malloc


class _Face:
    """Faces of one chunk on their way to pixels: their coordinates, their colors, the paint laid on so far.

    Every trait and action is an attribute, float32 (n, 1, 1). `u` and `v`, float32 (n, size, size), are the pixel
    centers in the faces' own upright frame: 0 between eyes and mouth, u to the right, v down, +-1 about the head's
    edge; `x` is u as the features lie on a head that is turned. `blur` is the width of a pixel, over which edges are
    softened. A color is a list of one float32 array a channel, 0..255.
    """

    def __init__(self, values: dict[str, np.ndarray], size: int, channels: int, zoom: float):
        self._values = {name: value[:, None, None] for name, value in values.items()}
        centers = ((2 * np.arange(size) + 1 - size) / size).astype(np.float32)
        scale = self.scale * np.float32(zoom)
        x = (centers[None, None, :] - self.shift_x) / scale
        y = (centers[None, :, None] - self.shift_y) / scale
        # cosine and sine from the tangent of half the angle: exact operations only
        square = self.turn * self.turn
        cosine, sine = (1 - square) / (1 + square), 2 * self.turn / (1 + square)
        self.u, self.v = cosine * x + sine * y, cosine * y - sine * x
        self.x = self.u - self.yaw * np.maximum(1 - self.u * self.u, 0)  # the middle moves more than the edge
        self.blur = np.float32(2 / size) / scale
        self.channels = channels
        self.image = [np.zeros_like(self.u) for _ in range(channels)]
        self.skin_color, self.hair_color = self.tone(_SKIN, self.skin), self.tone(_HAIR, self.hair)
        self.long_hair = (self.style > 0.55).astype(np.float32)

    def __getattr__(self, name: str) -> np.ndarray:
        return self.__dict__["_values"][name]

    def cover(self, distance: np.ndarray) -> np.ndarray:
        """Share of each pixel inside a shape, from its signed distance (negative inside)."""
        return np.clip(0.5 - distance / self.blur, 0, 1)

    def tone(self, palette: Sequence[tuple], position: np.ndarray | float = 0.0) -> list[np.ndarray]:
        """A palette's color at `position` in 0..1: one float32 array a channel."""
        colors = np.asarray(palette, np.float32)
        if self.channels == 1:  # ITU-R BT.601 luma; not a matrix product, whose order of summation varies
            colors = 0.299 * colors[:, :1] + 0.587 * colors[:, 1:2] + 0.114 * colors[:, 2:]
        at = np.asarray(position, np.float32) * np.float32(len(colors) - 1)
        low = np.minimum(at.astype(np.int32), max(len(colors) - 2, 0))
        high = np.minimum(low + 1, len(colors) - 1)
        rest = at - low.astype(np.float32)
        return [colors[low, c] + (colors[high, c] - colors[low, c]) * rest for c in range(self.channels)]

    def paint(self, share: np.ndarray, color: Sequence[np.ndarray]) -> None:
        """Lay `color` over the image where `share` (0..1) is, as much as it is."""
        for c, value in enumerate(color):
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
    """The hair's color, combed from above and with a band of shine."""
    comb = (f.u - f.parting) / np.maximum(1.4 + f.v, 0.2) * 9
    comb = np.abs(comb - np.floor(comb) - 0.5)
    shine = np.maximum(1 - np.abs(f.v + 0.78 - 0.3 * f.u * f.u) * 7, 0)
    return [c * (0.86 + 0.28 * comb) * (1 + 0.18 * shine) for c in f.hair_color]


def _paint_backdrop(f: _Face) -> None:
    """Background, hair that falls behind, neck, clothes, ears."""
    f.paint(np.ones_like(f.u), [c * (1 - 0.12 * f.v) for c in f.tone(_BACKGROUND, f.background)])
    behind = f.cover(_ellipse(f.u, f.v - 0.12, f.head_width + 0.2, 1.22)) * f.long_hair
    f.paint(behind, [0.78 * c for c in _strands(f)])
    neck = np.maximum(np.abs(f.u) - 0.4 * f.head_width - 0.05, 0.5 - f.v)
    f.paint(f.cover(neck), [0.78 * c for c in f.skin_color])
    f.paint(f.cover(_ellipse(f.u, f.v - 1.62, 1.25, 0.6)), f.tone(_CLOTHES, f.clothes))
    ear = np.abs(f.u) - f.head_width
    f.paint(f.cover(_ellipse(ear, f.v - f.eye_height - 0.14, 0.1, 0.17)), [0.9 * c for c in f.skin_color])
    f.paint(f.cover(_ellipse(ear + 0.01, f.v - f.eye_height - 0.14, 0.05, 0.1)), [0.72 * c for c in f.skin_color])


def _paint_head(f: _Face) -> None:
    """The head's shape, narrower at the jaw, with the shading of a round thing."""
    jaw = np.clip(f.v, 0, 1.2)
    head = _ellipse(f.u / (1 - f.jaw * jaw * jaw), f.v, f.head_width, f.head_height)
    edge = np.clip(1 + 2 * head, 0, 1)
    f.paint(f.cover(head), [c * (1 - 0.24 * edge * edge) for c in f.skin_color])
    stubble = np.clip(3 * (f.beard - 0.78), 0, 1) * np.clip(4 * (f.v - 0.3), 0, 1) * f.cover(head)
    f.paint(0.7 * stubble, f.hair_color)


def _paint_eyes(f: _Face) -> None:
    x, y = np.abs(f.x) - f.eye_distance, f.v - f.eye_height
    side = np.where(f.x < 0, np.float32(-1), np.float32(1))
    # sockets lie in the shade
    f.paint(0.7 * _glow(x, y + 0.03, 0.34, 0.26), [0.45 * c for c in f.skin_color])
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
    f.paint(f.cover(brow), [0.6 * c for c in f.hair_color])
    # the frown's two upright lines
    furrow = _stroke(f.v - f.eye_height + 0.17, np.abs(f.x), 0.1, 0.016, 0.055, 0.1, 0.0)
    f.paint(f.furrow * f.cover(furrow), [0.5 * c for c in f.skin_color])


def _paint_nose(f: _Face) -> None:
    dark = [0.58 * c for c in f.skin_color]
    tip = f.eye_height + 0.13 + f.nose_length
    f.paint(0.5 * _glow(f.x, f.v - tip + 0.16, 0.09, 0.34), [1.2 * c for c in f.skin_color])
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
    f.paint(f.cover(np.where(is_open, np.abs(gap) - 0.014, seam)), [0.32 * c for c in f.skin_color])
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
      channels: 1 gray, 3 RGB (of which gray is the luma, but for rounding and clipping).
      seed: non-negative.
      zoom: of the head, which fills the picture at 1; below 1 more of the surroundings shows.
      noise: factor of the grain; 0 draws clean pictures.

    Returns:
      uint8 (N, size, size, channels).
    """
    expressions = np.asarray(expressions)
    n = len(expressions)
    shares = _uniform(np.random.Philox(key=[seed, 0]), n * len(_RANGES)).reshape(n, -1).T
    values = {}
    for (name, range_), share in zip(_RANGES.items(), shares, strict=True):
        low, high = range_[expressions].T
        values[name] = (low + (high - low) * share).astype(np.float32)
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
    return [fields.value(data, ARGUMENTS, "examples")]


def read(data: ConfigDict, input: Geometry) -> Examples:
    """`data.args.examples` synthetic faces of `input.size` and `input.channels`, classes balanced within every split.

    Raises:
      UserError: for fewer faces than every split needs to hold every class.
    """
    n, classes = fields.value(data, ARGUMENTS, "examples"), len(labels.FER2013)
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
