"""Drawing over a frame: boxes, names, bars, and the lines of text of the window."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from fer_jax import labels as label_names
from fer_jax.serve.analysis import Activation, FrameResult, TrackedFace
from fer_jax.serve.tracker import overlap

VIEWS = ("multi", "single")

# BGR of Okabe and Ito's palette, which color-blind eyes can tell apart; the name is always written beside
_ORANGE, _SKY, _GREEN, _YELLOW = (0, 159, 230), (233, 180, 86), (115, 158, 0), (66, 228, 240)
_BLUE, _VERMILLION, _PURPLE, _GRAY = (178, 114, 0), (0, 94, 213), (167, 121, 204), (200, 200, 200)
COLORS = {
    "angry": _VERMILLION,
    "disgust": _GREEN,
    "fear": _PURPLE,
    "happy": _YELLOW,
    "sad": _BLUE,
    "surprise": _ORANGE,
    "neutral": _GRAY,
    "contempt": _SKY,
}
OTHER_COLORS = (_SKY, _ORANGE, _GREEN, _YELLOW, _PURPLE, _VERMILLION, _BLUE, _GRAY)

_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
_AS_FAR_FROM_BLACK_AS_FROM_WHITE = 0.18  # relative luminance, by the contrast of WCAG 2
_FONT = cv2.FONT_HERSHEY_DUPLEX
_PANEL_OPACITY = 0.65
# the tint of places in a face that are evidence for its name, and against it, and its greatest opacity
FOR, AGAINST = (43, 24, 178), (172, 102, 33)
TINT_OPACITY = 0.65
# names become this much smaller, again and again, while more than that share of them would cover another name or face;
# below the smallest scale they cannot be read
_NAME_SIZES, _MAY_COVER, _MIN_SCALE = (0.7, 0.7, 0.7), 0.1, 0.7
# another face becomes the one of the single view when the present one is smaller than this share of it
_KEEPS_UNTIL = 0.8


class Overlay:
    """Draws results of one source, everything in proportion to the frame's size."""

    def __init__(self, labels: Sequence[str]):
        """`labels` are the names of the classes in order."""
        self._names = label_names.latin(labels)
        self._colors = colors(labels)
        self._chosen = 0

    def draw(self, result: FrameResult, view: str, explain: bool = False) -> np.ndarray:
        """A copy of the frame with its faces: all of them, or the largest one and a bar for every class.

        With `explain`, evidence for a face's name is tinted red and evidence against it blue. ValueError for a `view`
        that is none of `VIEWS`.
        """
        if view not in VIEWS:
            raise ValueError(f"unknown view {view!r}: expected one of {', '.join(VIEWS)}")
        image = result.frame.image.copy()
        pen = _Pen(image)
        faces = result.faces
        if view == "single":
            faces = [face] if (face := self._largest(faces)) else []
        for face in faces:
            if explain and face.activation is not None:
                pen.tint(face.activation)
        for face in faces:
            pen.box(face.box, self._color(face), whole=face.found)
        self._names_over(pen, faces)
        if view == "single" and faces:
            self._bars(pen, faces[0])
        return image

    def _largest(self, faces: Sequence[TrackedFace]) -> TrackedFace | None:
        """The largest face; two of nearly the same size do not take turns."""
        areas = {face.track: float(np.prod(face.box[2:])) for face in faces}
        if not areas:
            return None
        if areas.get(self._chosen, 0.0) < _KEEPS_UNTIL * max(areas.values()):
            self._chosen = max(areas, key=areas.__getitem__)
        return next(face for face in faces if face.track == self._chosen)

    def _color(self, face: TrackedFace) -> tuple[int, int, int]:
        return _GRAY if face.doubtful else self._colors[face.label]

    def _text(self, face: TrackedFace) -> str:
        """A face's name and its probability; what is hardly a face has no name."""
        if face.doubtful:
            return "?"
        return f"{self._names[face.label]}{'?' if face.uncertain else ''} {percent(face.smoothed[face.label])}"

    def _names_over(self, pen: _Pen, faces: Sequence[TrackedFace]) -> None:
        """Each face's name beside its box, in smaller letters where a crowd leaves no room for large ones."""
        boxes = np.array([face.box for face in faces]).reshape(-1, 4)
        texts = [self._text(face) for face in faces]
        places, covering = _arrange(pen, boxes, texts)
        for size in _NAME_SIZES:
            if covering <= _MAY_COVER * len(texts):
                break
            pen = _Pen(pen.image, max(size * pen.scale, min(_MIN_SCALE, pen.scale)))
            places, covering = _arrange(pen, boxes, texts)
        for face, text, place in zip(faces, texts, places, strict=True):
            pen.label(text, place[:2], self._color(face))

    def _bars(self, pen: _Pen, face: TrackedFace) -> None:
        """A panel at the left with name, bar and per cent of every class; none where the image has no room for all."""
        name_width = max(pen.extent(name)[0] for name in self._names)
        row = pen.extent("x")[1]
        bar_width, percent_width = round(90 * pen.scale), pen.extent("100%")[0]
        gap = round(6 * pen.scale)
        width, height = name_width + bar_width + percent_width + 2 * gap, row * len(self._names) + gap
        if gap + height > pen.image.shape[0] or gap + width > pen.image.shape[1]:
            return
        pen.panel(gap, gap, width, height)
        for i, (name, share) in enumerate(zip(self._names, face.smoothed, strict=True)):
            top = gap + gap // 2 + i * row
            left = 2 * gap
            pen.write(name, (left, top), _WHITE)
            left += name_width
            pen.fill((left, top + row // 5, bar_width, row - 2 * (row // 5)), (70, 70, 70))
            pen.fill((left, top + row // 5, round(bar_width * float(share)), row - 2 * (row // 5)), self._colors[i])
            pen.write(percent(share), (left + bar_width, top), _WHITE)


def _arrange(pen: _Pen, boxes: np.ndarray, texts: Sequence[str]) -> tuple[np.ndarray, int]:
    """The place of each box's name (N, 4), the first place that covers no other name or face; and how many do."""
    taken, covering = np.empty((0, 4)), 0
    for i, text in enumerate(texts):
        places = pen.places(boxes[i], pen.extent(text))
        covered = overlap(places, np.concatenate([taken, np.delete(boxes, i, axis=0)])).sum(axis=1)
        best = int(covered.argmin())  # the first of them
        taken = np.concatenate([taken, places[best][None]])
        covering += covered[best] > 0
    return taken, covering


def percent(share: float) -> str:
    """A share, 0..1, as every output shows it: rounded half up to whole per cent, such as 55%."""
    return f"{math.floor(100 * round(float(share), 6) + 0.5)}%"


def colors(labels: Sequence[str]) -> list[tuple[int, int, int]]:
    """BGR of each name: the same expression has the same color whatever a data set calls it."""
    return [
        COLORS.get(label_names.canonical(name), OTHER_COLORS[i % len(OTHER_COLORS)]) for i, name in enumerate(labels)
    ]


def lines(image: np.ndarray, texts: Sequence[str], corner: bool = False) -> None:
    """Write lines into a panel in the middle, or in the lower right corner."""
    pen = _Pen(image)
    extents = [pen.extent(text) for text in texts]
    width, height = max(w for w, _ in extents), sum(h for _, h in extents)
    left, top = image.shape[1] - width, image.shape[0] - height
    if not corner:
        left, top = left // 2, top // 2
    pen.panel(left, top, width, height)
    for text, (_, line_height) in zip(texts, extents, strict=True):
        pen.write(text, (left, top), _WHITE)
        top += line_height


class _Pen:
    """Draws into one image, in sizes that suit it."""

    def __init__(self, image: np.ndarray, scale: float | None = None):
        """`scale` is 1 where a frame of 480 lines has it; what suits the image unless given."""
        self.image = image
        self.scale = max(min(image.shape[:2]) / 480, 0.4) if scale is None else scale
        self._font_scale = 0.5 * self.scale
        self._thick = max(round(2 * self.scale), 1)
        self._stroke = max(round(self.scale), 1)
        self._padding = max(round(4 * self.scale), 1)

    def extent(self, text: str) -> tuple[int, int]:
        """Width and height of a line of text with the space around it, in pixels."""
        (width, height), below = cv2.getTextSize(text, _FONT, self._font_scale, self._stroke)
        return width + 2 * self._padding, height + below + 2 * self._padding

    def write(self, text: str, corner: Sequence[float], color: tuple[int, int, int]) -> None:
        """Text whose `extent` has its upper left corner there."""
        (_, height), _ = cv2.getTextSize(text, _FONT, self._font_scale, self._stroke)
        origin = round(corner[0]) + self._padding, round(corner[1]) + self._padding + height
        cv2.putText(self.image, text, origin, _FONT, self._font_scale, color, self._stroke, cv2.LINE_AA)

    def label(self, text: str, corner: Sequence[float], color: tuple[int, int, int]) -> None:
        """Text on a ground of `color`, black or white, whichever is easier to read on it."""
        self.fill((*corner, *self.extent(text)), color)
        luminance = np.dot((0.0722, 0.7152, 0.2126), (np.array(color) / 255) ** 2.2)
        self.write(text, corner, _BLACK if luminance > _AS_FAR_FROM_BLACK_AS_FROM_WHITE else _WHITE)

    def fill(self, box: Sequence[float], color: tuple[int, int, int]) -> None:
        """A filled rectangle: left, top, width, height; nothing where it is empty."""
        x, y, w, h = (round(float(value)) for value in box)
        if w > 0 and h > 0:
            cv2.rectangle(self.image, (x, y), (x + w - 1, y + h - 1), color, cv2.FILLED)

    def panel(self, x: int, y: int, w: int, h: int) -> None:
        """Darken a rectangle so that white text can be read on it."""
        region = self.image[max(y, 0) : max(y + h, 0), max(x, 0) : max(x + w, 0)]
        if region.size:
            region[:] = cv2.convertScaleAbs(region, alpha=1 - _PANEL_OPACITY)

    def tint(self, activation: Activation) -> None:
        """Lay the colors of an activation over its region."""
        region, values = activation.region, activation.values
        rows, columns = values.shape
        limits = np.array(self.image.shape[1::-1])
        center, half = np.array((region.x, region.y)), np.array((region.width, region.height)) / 2
        (x0, y0), (x1, y1) = np.clip((center - half, center + half), 0, limits).round().astype(int)
        part = self.image[y0:y1, x0:x1]
        if not part.size:
            return
        # from the pixels' centers to those of the map's cells
        matrix = cv2.getRotationMatrix2D((region.x, region.y), region.roll, 1.0)
        matrix[:, 2] += matrix[:, :2] @ (x0 + 0.5, y0 + 0.5) - center + half
        matrix *= np.array((columns / region.width, rows / region.height))[:, None]
        matrix[:, 2] -= 0.5
        levels = np.round(127.5 * (values + 1)).astype(np.uint8)
        levels = cv2.warpAffine(
            levels,
            matrix,
            (x1 - x0, y1 - y0),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        kept = cv2.multiply(part, cv2.applyColorMap(levels, _KEPT), scale=1 / 255)
        part[:] = cv2.add(kept, cv2.applyColorMap(levels, _TINTS))

    def box(self, box: np.ndarray, color: tuple[int, int, int], whole: bool) -> None:
        """A rectangle with a dark rim, to be seen on any ground; only its corners unless `whole`."""
        limits = np.array(self.image.shape[1::-1]) - 1
        (x0, y0), (x1, y1) = (
            np.clip(corner, 0, limits).round().astype(int).tolist() for corner in (box[:2], box[:2] + box[2:])
        )
        length = max(min(x1 - x0, y1 - y0) // 4, 1)
        line = max(min(self._thick, min(x1 - x0, y1 - y0) // 12), 1)  # or it would hide a small face
        for ink, thick in ((_BLACK, line + 2), (color, line)):
            if whole:
                cv2.rectangle(self.image, (x0, y0), (x1, y1), ink, thick)
                continue
            for x, dx in ((x0, length), (x1, -length)):
                for y, dy in ((y0, length), (y1, -length)):
                    cv2.line(self.image, (x, y), (x + dx, y), ink, thick)
                    cv2.line(self.image, (x, y), (x, y + dy), ink, thick)

    def places(self, box: np.ndarray, extent: tuple[int, int]) -> np.ndarray:
        """Places for the label of a box, best first: (6, 4) left, top, width, height, all within the image."""
        x, y, w, h = box
        width, height = extent
        rim = self._thick
        right, below = x + w - width, y + h
        corners = np.array(
            [
                (x - rim, y - height),
                (right + rim, y - height),
                (x - rim, below),
                (right + rim, below),
                (x, y + rim),
                (x, below - height - rim),
            ]
        )
        limits = np.maximum(np.array(self.image.shape[1::-1]) - extent, 0)
        corners = np.clip(corners, 0, limits)
        return np.concatenate([corners, np.broadcast_to(extent, (len(corners), 2))], axis=1)


def _tints() -> tuple[np.ndarray, np.ndarray]:
    """For each level of an activation, 0..255, what is added to a pixel and what share of 255 is kept of it."""
    share = np.linspace(-1, 1, 256)[:, None, None]
    opacity = TINT_OPACITY * np.abs(share)
    added = opacity * np.where(share > 0, FOR, AGAINST)
    return np.round(added).astype(np.uint8), np.round(255 * (1 - opacity) * np.ones(3)).astype(np.uint8)


_TINTS, _KEPT = _tints()
