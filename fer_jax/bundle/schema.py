"""The part of JSON Schema that bundle.schema.json uses, without a library that serving would need to install."""

import re
import reprlib
from collections.abc import Iterator, Mapping
from typing import Any

# Escape sequences of terminals, and characters that turn the order of a line around.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_LARGEST = 1e300  # infinity is not a number of JSON, but Python reads it
_TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None)}


def problem(value: Any, schema: Mapping[str, Any], where: str = "") -> str | None:
    """The first violation of `schema` by a value of JSON, in one line of printable characters; None without one.

    Args:
      value: as `json.loads` gives it.
      schema: with the keywords that bundle.schema.json uses.
      where: the place of the value in the document.
    """
    for expected in _violations(value, schema):
        return f"{where or 'it'} is {reprlib.repr(value)}, expected {expected}"
    if isinstance(value, list) and "items" in schema:
        return _first(problem(item, schema["items"], f"{where}[{i}]") for i, item in enumerate(value))
    if isinstance(value, dict):
        inside, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        return _first(
            problem(item, inside.get(name, others), f"{where}.{name}".removeprefix(".")) for name, item in value.items()
        )
    return None


def _first(problems: Iterator[str | None]) -> str | None:
    return next(filter(None, problems), None)


def _violations(value: Any, schema: Mapping[str, Any]) -> Iterator[str]:
    """Describe what was expected of a value itself, whatever is inside it."""
    types = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", ())
    if types and (isinstance(value, bool) or not any(isinstance(value, _TYPES[name]) for name in types)):
        yield f"{' or '.join(types)}"
    if "enum" in schema and (value not in schema["enum"] or isinstance(value, bool)):  # True == 1
        yield f"one of {schema['enum']}"
    if isinstance(value, int | float):
        least, most = schema.get("minimum", -_LARGEST), schema.get("maximum", _LARGEST)
        if not least <= value <= most:
            yield f"a number in {least:g}..{most:g}"
    elif isinstance(value, str):
        if _CONTROL.search(value) or not re.search(schema.get("pattern", ""), value):
            yield schema.get("title", "printable characters")
    elif isinstance(value, list):
        yield from _of_list(value, schema)
    elif isinstance(value, dict):
        yield from _of_object(value, schema)


def _of_list(value: list[Any], schema: Mapping[str, Any]) -> Iterator[str]:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        yield f"{schema.get('minItems', '')}..{schema.get('maxItems', '')} entries"
    if schema.get("uniqueItems") and len(set(map(repr, value))) < len(value):
        yield "different entries"


def _of_object(value: dict[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    if len(value) < schema.get("minProperties", 0):
        yield "entries in it"
    yield from (f"a {name!r} in it" for name in schema.get("required", ()) if name not in value)
    pattern, closed = schema.get("propertyNames", {}).get("pattern", ""), schema.get("additionalProperties") is False
    for name in value:
        if closed and name not in schema["properties"]:
            yield f"no {reprlib.repr(name)} in it"
        if _CONTROL.search(name) or not re.search(pattern, name):
            yield f"another name than {reprlib.repr(name)}"
