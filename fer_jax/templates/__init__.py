"""The pages and cards of this folder, filled in by one jinja environment."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jinja2

from fer_jax import files


def render(name: str, values: Mapping[str, Any]) -> str:
    """The template `name` with `values`; what stands in a page (.html) is escaped."""
    engine = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=jinja2.select_autoescape(("html",)),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    engine.filters["percent"] = lambda share, digits=1: f"{100 * share:.{digits}f}"
    return engine.get_template(name).render(values)


def write(path: str | os.PathLike, name: str, values: Mapping[str, Any]) -> pathlib.Path:
    """Write a filled template to the file `path`, whole or not at all; returns the path."""
    with files.atomic_path(path) as tmp:
        tmp.write_text(render(name, values), encoding="utf-8")
    return pathlib.Path(path)
