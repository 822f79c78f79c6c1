"""Descriptions of single values: keys of a config, and arguments of its source, cleaning steps and network."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

MAX_INT = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Field:
    """One key of a config, or one argument in `data.args` or `model.args`.

    Attributes:
      default: its value in `configs/default.py`; its type is the type of every value. A dict holds arguments of a model
        or a source, whose names and ranges stand with these.
      doc: one line about its meaning and unit.
      choices: the allowed values, or of a tuple the allowed elements: a tuple, or a function that looks them up.
      low, high: the range of a number, or of the numbers of a tuple; both ends are allowed.
      free: whether a run can be resumed with another value: it changes where the input lies or how fast the run is,
        but not its result.
    """

    default: Any
    doc: str
    choices: tuple | Callable[[], tuple] = ()
    low: float = -math.inf
    high: float = math.inf
    free: bool = False

    def allowed(self) -> tuple:
        """The choices, looked up; () where every value in range is allowed."""
        return self.choices() if callable(self.choices) else self.choices

    def problem(self, value: Any) -> str:
        """Describe what is wrong with a value, as "is X: expected Y"; "" when it is allowed."""
        if isinstance(self.default, dict):
            return "" if isinstance(value, Mapping | ConfigDict) else f"is {value!r}: expected arguments by their names"
        if not isinstance(self.default, tuple):
            return self._problem_of_one(value, type(self.default), "is")
        if not isinstance(value, tuple | list):
            return f"is {value!r}: expected a list such as {_example(self)}"
        kind = type(self.default[0]) if self.default else str
        return next(filter(None, (self._problem_of_one(element, kind, "has") for element in value)), "")

    def _problem_of_one(self, value: Any, kind: type, verb: str) -> str:
        if not _is_a(value, kind):
            return f"{verb} {value!r}: expected {NAMES_OF_KINDS[kind]}"
        if (choices := self.allowed()) and value not in choices:
            amount = "some" if isinstance(self.default, tuple) else "one"
            return f"{verb} {value!r}: expected {amount} of {', '.join(map(str, choices))}"
        if kind in (int, float) and not (self.low <= value <= self.high and abs(value) < math.inf):
            return f"{verb} {value}: expected {self.range(value)}"
        return ""

    def range(self, value: float = math.nan) -> str:
        """The range in words; a limit that only keeps numbers representable is named when `value` is beyond it."""
        high = self.high if self.high != MAX_INT or value > MAX_INT else math.inf
        if self.low == -math.inf and high == math.inf:
            return "a finite number"
        if high == math.inf:
            return f"at least {self.low:g}" + (" and finite" if value == math.inf else "")
        return f"between {_plain(self.low)} and {_plain(high)}"


NAMES_OF_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def _is_a(value: Any, kind: type) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    return isinstance(value, int | float if kind is float else kind)


def _plain(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


def _example(field: Field) -> str:
    return ",".join(map(str, field.default or field.allowed()[:2])) or "a,b"


def value(data: ConfigDict, known: Mapping[str, Field], name: str) -> Any:
    """The value of an argument in `data.args` (`config.data`), or its default."""
    return data.args.get(name, known[name].default)
