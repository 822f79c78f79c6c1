"""Synthetic faces that express FER2013's seven emotions: the data set that needs no download.

Every face has its own geometry, pose, skin, hair, light and noise; eyebrows, eyes and mouth follow the facial actions
of its emotion (after Ekman and Friesen's Facial Action Coding System: angry lowers the brows, fear raises and draws
them together, disgust wrinkles the nose, ...) at an intensity of its own.

The pixels of a seed are the same on every machine: randomness is Philox' raw 64-bit stream, and shapes are rasterized
as anti-aliased signed distances with nothing but IEEE-exact float32 operations (+ - * /, square root, comparison).
Sine, exponential, a sum over an axis or OpenCV's drawing would differ in the last bit between processors or versions.
"""

import functools
import types
from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from fer_jax import fields, labels
from fer_jax.data.examples import Examples
from fer_jax.data.sources import DataSet
from fer_jax.errors import UserError
from fer_jax.fields import Field
from fer_jax.preprocess.images import Geometry

VERSION = 3
DATA_SET = DataSet(labels.FER2013, terms="synthetic faces, which show no real person", real_people=False)
ARGUMENTS = {"examples": Field(8000, "Number of synthetic faces.", low=70, high=10_000_000)}
SPLIT_SHARES = (("Training", 0.8), ("PublicTest", 0.1), ("PrivateTest", 0.1))

# What each emotion does to a face, an action a line: lowest and highest strength for the emotions in the order of
# `labels.FER2013`. Lengths are in half heights of the head: ends of the brows up, lids apart, lips apart, corners up.
# Then how faces differ whatever they express. turn is the tangent of half the angle of rotation: +-10 degrees; noise is
# half the base of a triangular distribution of gray levels.
_LOOKS = """
brows_together 0.04:0.07    0:0.03       0.03:0.06    0:0          0:0.04       0:0          0:0
corners        -0.08:-0.01  -0.13:-0.06  -0.05:0      0.1:0.19     -0.15:-0.08  0:0          -0.02:0.03
inner_brow     -0.15:-0.09  -0.09:-0.03  0.11:0.18    0:0.05       0.07:0.14    0.12:0.2     -0.02:0.02
lid_slant      -0.17:-0.09  0:0          0:0          0:0          0.09:0.17    0:0          0:0
lower_lid      0.045:0.075  0.025:0.055  0.085:0.115  -0.015:0.035 0.075:0.075  0.085:0.115  0.075:0.075
mouth_open     0:0          0:0          0.08:0.17    -0.06:0.17   0:0          0.17:0.3     0:0
mouth_round    0:0          0:0          0:0          0:0          0:0          0.8:1        0:0
mouth_width    -0.05:0.04   -0.05:0.02   -0.02:0.07   0.03:0.11    -0.1:-0.03   -0.17:-0.1   0:0
nose_wrinkle   0:0          0.6:1        0:0          0:0          0:0          0:0          0:0
outer_brow     -0.02:0.06   -0.05:0      0:0.07       0:0.05       -0.09:-0.04  0.12:0.2     -0.02:0.02
teeth          0:0          0:0          0:1          1:1          0:0          0:0          0:0
upper_lid      0.038:0.088  0.018:0.048  0.128:0.168  0.038:0.098  0.018:0.058  0.118:0.168  0.088:0.088
turn -0.09:0.09; shift_x -0.1:0.1; shift_y -0.08:0.08; scale 0.82:1.02; yaw -0.16:0.16; head_width 0.68:0.82
jaw 0.05:0.33; eye_distance 0.3:0.37; eye_height -0.18:-0.1; eye_width 0.16:0.2; brow_height 0.17:0.22
brow_thickness 0.03:0.05; nose_length 0.17:0.24; mouth_height 0.47:0.54; mouth_width_at_rest 0.25:0.31
lip 0.025:0.045; skin 0:1; hair 0:1; hair_length 0:1; hairline -0.7:-0.5; parting -0.6:0.6; fringe -0.05:0.35
background 0:1; light_x -0.36:0.36; light_y -0.28:0.12; brightness 0.85:1.12; contrast 0.75:1.1; noise 1:14
"""
_RANGES = {  # {action or trait: float64 (emotions or 1, 2) lowest and highest value}
    name: np.array([ends.split(":") for ends in ranges], float)
    for name, *ranges in map(str.split, _LOOKS.strip().replace("\n", ";").split(";"))
}
# RGB, 0..255; a palette of several colors is read by linear interpolation
_SKIN = ((244, 210, 184), (241, 196, 158), (214, 160, 116), (166, 112, 76), (118, 76, 52))
_HAIR = ((178, 176, 178), (28, 24, 24), (70, 44, 28), (122, 74, 38), (196, 150, 82), (150, 62, 30))
_BACKGROUND = ((40, 58, 80), (76, 48, 46), (38, 66, 58), (64, 48, 74), (80, 68, 48), (34, 40, 50))
_BLACK, _WHITE, _LIP, _MOUTH = ((34, 24, 26),), ((236, 234, 228),), ((196, 96, 94),), ((84, 28, 34),)

_PIXELS_AT_ONCE = 1 << 15  # of one chunk of faces: arrays that stay in cache and are not mapped afresh by malloc
_Number = np.ndarray | float


class _Face(types.SimpleNamespace):
    """Faces of one chunk on their way to pixels: their coordinates and the paint laid on so far.

    Every trait and action is an attribute, float32 (n, 1, 1). `u` and `v`, float32 (n, size, size), are the pixel
    centers in the faces' own frame: 0 between eyes and mouth, u to the right, v down, +-1 about the head's edge; `x` is
    u as the features lie on a head that is turned. `blur` is the width of a pixel, over which edges are softened.
    `image` is a list of one float32 array a channel, 0..255.
    """

    def place(self, size: int, channels: int, zoom: float) -> None:
        """Set the coordinates and a black image."""
        centers = ((2 * np.arange(size) + 1 - size) / size).astype(np.float32)
        scale = self.scale * np.float32(zoom)
        x, y = (centers - self.shift_x) / scale, (centers[:, None] - self.shift_y) / scale
        # cosine and sine from the tangent of half the angle: exact operations only
        square = self.turn * self.turn
        cosine, sine = (1 - square) / (1 + square), 2 * self.turn / (1 + square)
        self.u, self.v, self.blur = cosine * x + sine * y, cosine * y - sine * x, np.float32(2 / size) / scale
        self.x = self.u - self.yaw * np.maximum(1 - self.u * self.u, 0)  # the middle moves more than the edge
        self.image = [np.zeros(self.u.shape, np.float32) for _ in range(channels)]

    def cover(self, *distances: np.ndarray) -> np.ndarray:
        """Share of each pixel inside all shapes, from its signed distances (negative inside)."""
        return np.clip(0.5 - functools.reduce(np.maximum, distances) / self.blur, 0, 1)

    def paint(self, share: _Number, palette: Sequence[tuple], shade: _Number = 1.0, at: _Number = 0.0) -> None:
        """Lay the palette's color at `at` (0..1), times `shade`, over the image as much as `share` (0..1) says."""
        colors = np.asarray(palette, np.float32)
        if len(self.image) == 1:  # ITU-R BT.601 luma; not a matrix product, whose order of summation varies
            colors = 0.299 * colors[:, :1] + 0.587 * colors[:, 1:2] + 0.114 * colors[:, 2:]
        at = np.asarray(at, np.float32) * np.float32(len(colors) - 1)
        low = at.astype(np.int32)
        high = np.minimum(low + 1, len(colors) - 1)
        for c, channel in enumerate(self.image):
            color = colors[low, c] + (colors[high, c] - colors[low, c]) * (at - low.astype(np.float32))
            channel += (color * shade - channel) * share


def _ellipse(x: np.ndarray, y: np.ndarray, a: _Number, b: _Number) -> np.ndarray:
    """Signed distance to an ellipse of half axes a, b, to first order."""
    p, q = x / a, y / b
    k = np.sqrt(p * p + q * q)
    p, q = p / a, q / b
    return k * (k - 1) / (np.sqrt(p * p + q * q) + 1e-6)


def _stroke(x: np.ndarray, y: np.ndarray, width: _Number, thick: _Number, slope: _Number, curve: _Number) -> np.ndarray:
    """Signed distance to a brush stroke along y = slope x + curve x², thinning out towards +-width."""
    steep, t = slope + 2 * curve * x, x / width
    return np.abs(y - (slope + curve * x) * x) / np.sqrt(1 + steep * steep) - thick * (1 - t * t)


def _paint_head(f: _Face) -> None:
    """Background, neck, the head with the shading of a round thing, its hair."""
    f.paint(1.0, _BACKGROUND, at=f.background)
    is_long, jaw, side = np.float32(1) * (f.hair_length > 0.55), np.clip(f.v, 0, 1.2), f.u / f.head_width
    f.paint(f.cover(_ellipse(f.u, f.v - 0.12, f.head_width + 0.2, 1.22)) * is_long, _HAIR, 0.7, f.hair)
    f.paint(f.cover(np.abs(f.u) - 0.4 * f.head_width - 0.05, 0.5 - f.v), _SKIN, 0.78, f.skin)
    head = _ellipse(f.u / (1 - f.jaw * jaw * jaw), f.v, f.head_width, 0.98)
    edge = np.clip(1 + 2 * head, 0, 1)
    f.paint(f.cover(head), _SKIN, 1 - 0.24 * edge * edge, f.skin)
    fringe = f.v - f.hairline - f.fringe * np.abs(f.u - f.parting) - (0.16 + 0.3 * is_long) * side * side * side * side
    cap = f.cover(_ellipse(f.u, f.v + 0.03, f.head_width + 0.04, 1.04), fringe)
    f.paint(cap * (f.hair_length > 0.1), _HAIR, 1.0, f.hair)


def _paint_eyes(f: _Face) -> None:
    """Sockets, eyes, brows."""
    x, y = np.abs(f.x) - f.eye_distance, f.v - f.eye_height
    p, q, t = x / 0.34, (y + 0.03) / 0.26, x / f.eye_width
    socket = np.maximum(1 - p * p - q * q, 0)
    f.paint(0.7 * socket * socket, _SKIN, 0.45, f.skin)
    profile, tilted = 1 - np.minimum(t * t, 2), y - f.lid_slant * x
    ball = f.cover(-tilted - f.upper_lid * profile, tilted - f.lower_lid * profile, np.abs(x) - f.eye_width)
    f.paint(ball, _WHITE)
    f.paint(ball * f.cover(np.sqrt(x * x + y * y) - 0.1), _BLACK, 1.5)
    lid = _stroke(x, y + f.upper_lid, 1.12 * f.eye_width, 0.034, f.lid_slant, f.upper_lid / (f.eye_width * f.eye_width))
    f.paint(f.cover(lid), _BLACK)
    y = y + f.brow_height + (f.inner_brow + f.outer_brow) / 2 + 0.018
    slope = (f.inner_brow - f.outer_brow) / 0.45
    brow = _stroke(x - 0.02 + f.brows_together, y, 0.225, f.brow_thickness, slope, 0.9)
    f.paint(f.cover(brow), _HAIR, 0.6, f.hair)


def _paint_nose_and_mouth(f: _Face) -> None:
    y, width = f.v - f.eye_height, f.mouth_width_at_rest + f.mouth_width
    f.paint(f.cover(_stroke(f.x, y - 0.17 - f.nose_length, 0.135, 0.022, 0.0, -2.2)), _SKIN, 0.58, f.skin)
    wrinkles = f.cover(_stroke(f.x, np.abs(y - 0.06) - 0.045, 0.11, 0.017, 0.0, 1.5))
    f.paint(f.nose_wrinkle * wrinkles, _SKIN, 0.58, f.skin)
    t, y = f.x / width, f.v - f.mouth_height - 0.4 * f.corners
    profile, opened, outside = 1 - np.minimum(t * t, 2), np.maximum(f.mouth_open, 0), np.abs(f.x) - width
    arc = np.maximum(profile, 0)
    profile = profile + f.mouth_round * (np.sqrt(arc) - arc)  # an oval where the jaw drops, else pointed at the corners
    seam = _stroke(f.x, y, 1.03 * width, 0.02, 0.0, -f.corners / (width * width))
    y = y + f.corners * t * t  # from the line between the lips
    lips = (-y - (0.35 * opened + f.lip) * profile, y - (0.75 * opened + 1.4 * f.lip) * profile, outside)
    f.paint(0.5 * f.cover(*lips), _LIP)
    gap = functools.reduce(np.maximum, (-y - 0.35 * opened * profile, y - 0.75 * opened * profile, outside))
    f.paint(f.cover(gap) * (opened > 0.03), _MOUTH)
    f.paint(f.cover(gap, y + 0.02 - 0.3 * opened) * (opened > 0.03) * (f.teeth > 0.5), _WHITE)
    f.paint(f.cover(np.where(opened > 0.03, np.abs(gap) - 0.014, seam)), _SKIN, 0.32, f.skin)


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
    n = len(expressions)
    # uniform from the raw stream, which numpy promises to keep, unlike Generator's methods
    shares = (np.random.Philox(key=[seed, 0]).random_raw(n * len(_RANGES)) >> np.uint64(11)) * (1 / (1 << 53))
    values = {}
    for (name, range_), share in zip(_RANGES.items(), shares.reshape(n, -1).T, strict=True):
        low, high = np.broadcast_to(range_, (len(labels.FER2013), 2))[np.asarray(expressions)].T
        values[name] = (low + (high - low) * share).astype(np.float32)[:, None, None]
    grain = np.random.Philox(key=[seed, 1])
    images = np.empty((n, size, size, channels), np.uint8)
    step = max(1, _PIXELS_AT_ONCE // (size * size))
    for start in range(0, n, step):
        f = _Face(**{name: value[start : start + step] for name, value in values.items()})
        f.place(size, channels, zoom)
        for paint in (_paint_head, _paint_eyes, _paint_nose_and_mouth):
            paint(f)
        light = f.brightness * (1 + f.light_x * np.clip(f.u, -1.5, 1.5) + f.light_y * np.clip(f.v, -1.5, 1.5))
        words = grain.random_raw(len(f.u) * -(-size * size // 4))  # two bytes a pixel: their sum is triangular
        pairs = words.astype("<u8").view(np.uint8).reshape(len(f.u), -1, 2)[:, : size * size]
        grains = (pairs[..., 0].astype(np.float32) + pairs[..., 1] - 255).reshape(f.u.shape) * np.float32(noise / 255)
        pixels = [128 + (channel * light - 128) * f.contrast + f.noise * grains for channel in f.image]
        images[start : start + step] = np.rint(np.clip(np.stack(pixels, axis=-1), 0, 255))
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
