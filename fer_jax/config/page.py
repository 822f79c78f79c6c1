"""docs/config.md, made from the table of keys."""

from __future__ import annotations

from collections.abc import Iterable

from fer_jax.config import arguments, table
from fer_jax.config.table import GROUPS, TABLE, Field

HEAD = """# Config keys

Made by `python -m tools.config_page`; `fer_jax/config/table.py` is the source.

Every value can be given on the command line after `--config=FILE`: `--config.optim.learning_rate=0.01`. A tuple is
written `--config.eval.tta=flip,ten_crop`. `--config.profile` is true and `--noconfig.profile` is false. A wrong key or
value ends the command with one line and exit code 2 before anything is written. A key marked * may change when a run
is resumed: it says where the input lies or how fast the run is, and does not change the result.

A config file is a Python file whose `get_config()` returns the config; it may stand anywhere:

    from configs import xception


    def get_config():
        config = xception.get_config("best")
        config.name = "mine"
        config.epochs = 20
        return config
"""


def text() -> str:
    """The page."""
    parts = [HEAD, _table("Run", {key: field for key, field in TABLE.items() if "." not in key})]
    for group in GROUPS:
        members = {key: field for key, field in TABLE.items() if key.startswith(f"{group}.")}
        parts.append(_table(group, members))
        if group == "data":
            parts += _of_data()
        if group == "model":
            parts += _of_models()
    return "\n".join(parts)


def _of_data() -> Iterable[str]:
    from fer_jax.data import clean, sources

    for source in sources.SOURCES:
        config = table.default()
        config.data.source = source
        if known := arguments.of_data(config.data):
            yield _table(f"data.args of the source {source}", known, "data.args.", 3)
    for step in clean.STEPS:
        config = table.default()
        config.data.source = "folder"  # which has none of its own
        config.data.clean = (step,)
        if known := arguments.of_data(config.data):
            yield _table(f"data.args of the cleaning step {step}", known, "data.args.", 3)


def _of_models() -> Iterable[str]:
    from fer_jax.models import registry

    lines = ["### model.args", "", "| network | arguments and their defaults |", "|---|---|"]
    for name in registry.MODELS:
        given = ", ".join(f"`{key}={_value(field.default)}`" for key, field in arguments.of_model(name).items())
        lines.append(f"| `{name}` | {given or 'none'} |")
    yield "\n".join([*lines, ""])


def _table(title: str, fields: dict[str, Field], prefix: str = "", level: int = 2) -> str:
    lines = [f"{'#' * level} {title}", "", "| key | default | allowed | meaning |", "|---|---|---|---|"]
    for key, field in fields.items():
        star = " *" if field.free else ""
        lines.append(f"| `{prefix}{key}`{star} | {_code(field)} | {_allowed(field)} | {field.doc} |")
    return "\n".join([*lines, ""])


def _code(field: Field) -> str:
    return f"`{shown}`" if (shown := _value(field.default)) else "empty"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value == {} else str(value)


def _allowed(field: Field) -> str:
    kind = type(field.default[0]) if isinstance(field.default, tuple) and field.default else type(field.default)
    if choices := field.allowed():
        some = "some of " if isinstance(field.default, tuple) else ""
        return some + ", ".join(f"`{choice}`" for choice in choices)
    if kind is bool:
        return "true, false"
    if kind not in (int, float):
        return {str: "text", tuple: "texts", dict: "see below"}[kind]
    return f"{'whole number ' if kind is int else ''}{field.range()}".replace("a finite number", "any number")
