"""The description of an HTTP interface (OpenAPI 3.1), made from the docstrings and types of its handlers."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fer_jax import __version__
from fer_jax.errors import UserError

_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean"}
_ATTRIBUTE = re.compile(r"^ {2}(\w[\w, ]*): (.*(?:\n {4,}.*)*)", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Route:
    """One operation.

    Attributes:
      method: of HTTP.
      path: below the server's address.
      handler: an async method that is called with the request, and with an object of its second parameter's type where
        it has one, a dataclass whose fields are the query's parameters. It returns a dataclass or a dictionary.
      sends: description of each media type that the request's body may have.
      errors: what each status other than 200 means.
    """

    method: str
    path: str
    handler: Callable
    sends: Mapping[str, str] = dataclasses.field(default_factory=dict)
    errors: Mapping[int, str] = dataclasses.field(default_factory=dict)

    @property
    def hints(self) -> dict[str, Any]:
        """The types of the handler's parameters, and of what it returns under "return"."""
        return typing.get_type_hints(self.handler)

    @property
    def options(self) -> Any:
        """The dataclass of the query's parameters; None where there are none."""
        return self.hints.get("options")


def document(routes: Iterable[Route], secured: Callable[[str], bool]) -> dict[str, Any]:
    """The OpenAPI document of some routes; `secured` says of a path whether it wants a token."""
    schemas: dict[str, Any] = {"Error": _object({"error": {"type": "string"}}, "Why a request was refused, in a line.")}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas, secured(route.path))
    return {
        "openapi": "3.1.0",
        "info": {"title": "fer_jax", "version": __version__, "summary": "Facial expressions in pictures and videos"},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def parse(options: Any, query: Mapping[str, str]) -> Any:
    """The dataclass `options` of a query's parameters; UserError for an unknown one or one of another type."""
    kinds = _fields(options)
    values: dict[str, Any] = {}
    for name, text in query.items():
        if name not in kinds:
            raise UserError(f"unknown parameter {name}: expected {', '.join(kinds)}")
        kind = _plain(kinds[name])
        try:
            values[name] = {"true": True, "false": False}[text] if kind is bool else kind(text)
        except (KeyError, ValueError):
            raise UserError(f"{name}={text}: expected {_NAMES[kind]}") from None
    return options(**values)


def _operation(route: Route, schemas: dict[str, Any], secured: bool) -> dict[str, Any]:
    summary, _, rest = inspect.cleandoc(route.handler.__doc__ or "").partition("\n\n")
    answers = {"200": _content("What was asked for.", _schema(route.hints["return"], schemas))}
    for status, reason in route.errors.items():
        answers[str(status)] = _content(reason, {"$ref": "#/components/schemas/Error"})
    found: dict[str, Any] = {"summary": " ".join(summary.split()), "responses": answers}
    if rest:
        found["description"] = " ".join(rest.split())
    if route.options:
        described = _descriptions(route.options)
        found["parameters"] = [
            {
                "name": name,
                "in": "query",
                "schema": _schema(_plain(kind), schemas),
                "description": described.get(name, ""),
            }
            for name, kind in _fields(route.options).items()
        ]
    if route.sends:
        content = {kind: {"schema": {"description": words}} for kind, words in route.sends.items()}
        found["requestBody"] = {"required": True, "content": content}
    if secured:
        found["security"] = [{"token": []}]
    return found


def _content(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _schema(kind: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of a type; those of dataclasses are added to `schemas`."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in _NAMES:
        return {"type": _NAMES[kind]}
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [_schema(part, schemas) for part in arguments]}
    if kind is types.NoneType:
        return {"type": "null"}
    if origin is tuple:
        return {"type": "array", "items": _schema(arguments[0], schemas)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(arguments[1], schemas)}
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        return {"type": "object"}
    name = kind.__name__
    if name not in schemas:
        described = _descriptions(kind)
        schemas[name] = {}  # one that contains itself
        properties = {
            field: _schema(part, schemas) | ({"description": described[field]} if field in described else {})
            for field, part in _fields(kind).items()
        }
        schemas[name] = _object(properties, inspect.cleandoc(kind.__doc__ or "").partition("\n")[0])
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: dict[str, Any], description: str) -> dict[str, Any]:
    return {"type": "object", "description": description, "properties": properties, "required": list(properties)}


def _fields(kind: Any) -> dict[str, Any]:
    """Types of a dataclass's fields by name, those that JSON cannot hold left out."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind) if hints[field.name] is not bytes}


def _plain(kind: Any) -> Any:
    return next((part for part in typing.get_args(kind) if part is not types.NoneType), kind)


def _descriptions(kind: Any) -> dict[str, str]:
    """Descriptions of a dataclass's attributes by name, from its docstring and those of its bases."""
    found = {}
    for base in reversed(kind.__mro__):
        for names, words in _ATTRIBUTE.findall(inspect.cleandoc(base.__doc__ or "").partition("Attributes:")[2]):
            found |= dict.fromkeys(names.split(", "), " ".join(words.split()))
    return found
