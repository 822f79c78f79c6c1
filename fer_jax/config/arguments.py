"""The arguments that the chosen source, cleaning steps and network understand: `data.args` and `model.args`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from fer_jax.config.table import Field
from fer_jax.errors import UserError


def of_data(data: ConfigDict) -> dict[str, Field]:
    """{name: Field} of `config.data.args`, by `config.data.source` and `config.data.clean`."""
    from fer_jax.data import clean, sources

    known = {} if data.source == "auto" else dict(getattr(sources.find(data.source), "ARGUMENTS", {}))
    for step in data.clean:
        known |= clean.ARGUMENTS.get(step, {})
    return {name: Field(arg.default, arg.doc, low=arg.low, high=arg.high) for name, arg in known.items()}


def of_model(name: str) -> dict[str, Field]:
    """{name: Field} of `config.model.args` for a network; counts are not negative, dropout leaves something."""
    from fer_jax.models import registry

    return {key: _field_of_model(key, default) for key, default in registry.arguments(name).items()}


def _field_of_model(name: str, default: Any) -> Field:
    if isinstance(default, tuple):
        return Field(default, "", low=1, high=2**20)
    if isinstance(default, int) and not isinstance(default, bool):
        return Field(default, "", low=0 if default == 0 else 1, high=2**20)
    return Field(default, "", low=0, high=0.99 if "dropout" in name else math.inf)


def check(group: str, given: Mapping[str, Any], known: Mapping[str, Field], owner: str) -> None:
    """UserError for an argument of `config.<group>.args` that `owner` does not take, or a value it does not allow."""
    if unknown := sorted(set(given) - set(known)):
        raise UserError(
            f"config.{group}.args has {', '.join(unknown)}: {owner} takes {', '.join(sorted(known)) or 'no arguments'}"
        )
    for name, value in given.items():
        if problem := known[name].problem(value):
            raise UserError(f"config.{group}.args.{name} {problem}")
