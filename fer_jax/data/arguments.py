"""Arguments that belong to one source or one cleaning step, in `config.data.args`."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ml_collections import ConfigDict


class Argument(NamedTuple):
    """One argument: its value where `config.data.args` has none, what it means, and the range of a number."""

    default: Any
    doc: str
    low: float = -math.inf
    high: float = math.inf


def value(data: ConfigDict, known: dict[str, Argument], name: str) -> Any:
    """The value of an argument in `data` (`config.data`), or its default."""
    return data.args.get(name, known[name].default)
