"""What is known of a data set before it is read: its source's module states it once."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class DataSet:
    """A data set that a source reads. A source of anybody's data, such as a folder of images, knows none of this.

    Attributes:
      labels: names in the order of its numbers, () where the data itself names them.
      terms: where the images come from and on what terms, as a clause of a sentence; "" is unknown.
      real_people: whether the images show real people.
      words: what is said of the faces in a model card, a sentence; "" is nothing.
      recognizes: whether a folder has the data set's own layout.
    """

    labels: tuple[str, ...] = ()
    terms: str = ""
    real_people: bool = True
    words: str = ""
    recognizes: Callable[[pathlib.Path], bool] = lambda path: False
