"""The card of a bundle: what it is, where it comes from, how well it does and what it is not for, for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from ml_collections import ConfigDict

from fer_jax.bundle.manifest import Input


def text(
    *,
    name: str,
    labels: Sequence[str],
    input: Input,
    model: Mapping[str, Any],
    config: ConfigDict,
    result: Mapping[str, Any] | None,
    training_data: str,
    licence: str,
) -> str:
    """The card as Markdown; the arguments are those of `exporting.export` and the fields of `bundle.Bundle`.

    Scores come from `result`, the content of the run's result.json, each with its binomial standard error.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fer_jax.export", "."), autoescape=False, keep_trailing_newline=True
    )
    environment.filters["percent"] = lambda share: f"{100 * share:.1f}"
    environment.filters["recall_error"] = lambda c: f"{100 * _standard_error(c['recall'], c['examples']):.1f}"
    return environment.get_template("card.md").render(
        name=name,
        labels=labels,
        input=input,
        model=model,
        result=result,
        training_data=training_data,
        licence=licence,
        teachers=config.teacher.runs,
        teacher_weight=config.teacher.weight,
        fer2013=config.data.source in ("fer2013", "ferplus"),
        ceiling=result and any("noise_ceiling" in split for split in result["splits"].values()),
    )


def _standard_error(share: float, count: int) -> float:
    return math.sqrt(share * (1 - share) / count) if count else math.nan
