"""The card of a bundle: what it is, where it comes from, how well it does and what it is not for, for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from ml_collections import ConfigDict

from fer_jax import environment
from fer_jax.bundle.manifest import Input
from fer_jax.data import sources
from fer_jax.evaluation import tta
from fer_jax.result import RunResult


def text(
    *,
    name: str,
    labels: Sequence[str],
    input: Input,
    model: Mapping[str, Any],
    config: ConfigDict,
    result: RunResult | None,
    training_data: str,
    licence: str,
    note: str = "",
) -> str:
    """The card as Markdown; the arguments are those of `exporting.export` and the fields of `bundle.Bundle`.

    Scores come from the run's `result`, each with its binomial standard error. `note` is a sentence on how the model
    was made.
    """
    engine = jinja2.Environment(
        loader=jinja2.PackageLoader("fer_jax.export", "."), autoescape=False, keep_trailing_newline=True
    )
    engine.filters["percent"] = lambda share: f"{100 * share:.1f}"
    engine.filters["recall_error"] = lambda c: f"{100 * _standard_error(c['recall'], c['examples']):.1f}"
    return engine.get_template("card.md").render(
        name=name,
        labels=labels,
        input=input,
        model=model,
        result=result,
        command=environment.without_folders(result.command) if result else "",
        training_data=training_data,
        licence=licence,
        note=note,
        views=tta.IN_WORDS,
        teachers=config.teacher.runs,
        teacher_weight=config.teacher.weight,
        words=sources.data_set(config.data.source).words,
        ceiling=result and any("noise_ceiling" in split for split in result.splits.values()),
    )


def _standard_error(share: float, count: int) -> float:
    return math.sqrt(share * (1 - share) / count) if count else math.nan
