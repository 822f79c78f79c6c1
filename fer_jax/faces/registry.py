"""The detectors by name: what every command and the page offer, with their defaults. Needs no OpenCV until one is made.

The crop policies of `fer_jax.faces.cropping.CROP` have the same names.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from fer_jax.errors import UserError, did_you_mean
from fer_jax.faces import yunet

if TYPE_CHECKING:
    from fer_jax.faces.detection import Detector


@dataclasses.dataclass(frozen=True)
class Entry:
    """One detector.

    Attributes:
      moving_side, still_side: pixels of the longer side to which frames of a video, and pictures, are brought before
        the search by default; 0 where nothing is searched.
      needs_model: whether it needs a model file.
    """

    moving_side: int = 0
    still_side: int = 0
    needs_model: bool = False

    @property
    def searches(self) -> bool:
        """Return whether it looks for faces, rather than take each frame for one."""
        return self.still_side > 0


DETECTORS = {
    "haar": Entry(moving_side=320, still_side=960),
    "yunet": Entry(moving_side=320, still_side=960, needs_model=True),
    "none": Entry(),
}


def create(
    name: str | None = None,
    model: str = "",
    *,
    align: bool | None = None,
    still: bool = False,
    search_side: int | None = None,
) -> Detector:
    """The detector called `name`.

    Args:
      name: a key of `DETECTORS`; None is `default(model)`.
      model: path of YuNet's ONNX file; "" is the one that `yunet.find` finds or `yunet.fetch` fetches.
      align: whether YuNet measures each face's roll; None is for pictures alone.
      still: whether the frames are pictures, each of its own, rather than a video.
      search_side: pixels of the longer side of what is searched; larger finds smaller faces and takes longer. None is
        the detector's own choice.

    Raises:
      UserError: an unknown name, no usable model file for YuNet, or an OpenCV without the cascade.
    """
    from fer_jax.faces import detection

    name = name or default(model)
    if name not in DETECTORS:
        raise UserError(
            f"unknown detector {name!r}{did_you_mean(name, DETECTORS)}: expected one of {', '.join(DETECTORS)}"
        )
    entry = DETECTORS[name]
    if search_side is not None and search_side < 1:
        raise UserError(f"search_side is {search_side}: expected pixels, 1 or more")
    if not entry.searches:
        return detection.WholeImage()
    side = search_side or (entry.still_side if still else entry.moving_side)
    if not entry.needs_model:
        return detection.Haar(still=still, search_side=side)
    model = model or yunet.find() or str(yunet.fetch())
    return detection.YuNet(model=model, align=still if align is None else align, search_side=side)


class Detectors:
    """A detector with what suits videos and with what suits pictures, each made when it is first asked for.

    Attributes:
      name: a key of `DETECTORS`.
    """

    def __init__(
        self, name: str | None = None, model: str = "", *, align: bool | None = None, search_side: int | None = None
    ):
        """See `create`; what is missing is reported with the first `of`."""
        self.name = name or default(model)
        self._made: dict[bool, Detector] = {}
        self._model, self._align, self._side = model, align, search_side

    def of(self, still: bool) -> Detector:
        """The one for pictures, or for the frames of videos."""
        if still not in self._made:
            self._made[still] = create(self.name, self._model, align=self._align, still=still, search_side=self._side)
        return self._made[still]


def default(model: str = "") -> str:
    """Name of the detector where none is named: YuNet where its file is given, is here or can be fetched, else Haar."""
    return "yunet" if model or yunet.obtain() else "haar"
