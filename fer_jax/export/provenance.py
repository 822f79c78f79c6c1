"""Origin and terms of a bundle's weights, for bundle.json and for its card."""

import datetime
import importlib.metadata
import json
import math
from typing import Any

from ml_collections import ConfigDict

from fer_jax import config as configs
from fer_jax import environment, templates
from fer_jax.data import sources
from fer_jax.evaluation import evaluator
from fer_jax.export.trained import Trained
from fer_jax.result import RunResult

RESEARCH_FACES = (
    "The code that made this bundle is Apache-2.0. The weights come from faces of real people that were "
    "published for research: {terms}. Use them for research and teaching; anything else needs the "
    "agreement of those who hold rights in the faces."
)
FREE = "Apache-2.0, code and weights: trained on {terms}."
UNKNOWN_LICENSE = (
    "The code that made this bundle is Apache-2.0. The terms of the weights are not known to it: those "
    "of the training data apply."
)


def license_note(source: str) -> str:
    """The note on the weights trained on a data source, a key of `config.data.source`."""
    known = sources.data_set(source)
    if not known.terms:
        return UNKNOWN_LICENSE
    return (RESEARCH_FACES if known.real_people else FREE).format(terms=known.terms)


def training_data_note(config: ConfigDict, result: RunResult | None) -> str:
    """Describe what a run was trained on, from its config and, if it is finished, its result."""
    if result is None:
        return f"{config.data.source}, split {config.data.train_split}; the run was not finished"
    return f"{result.data}, of which the split {config.data.train_split}"


def of(trained: Trained) -> dict[str, Any]:
    """The field "provenance" of bundle.json.

    Of paths in the config the names alone are kept, for a bundle is made to be given away.
    """
    packages = ("jax2onnx", "onnx", "onnxruntime", "safetensors")
    return {
        "licence": trained.license,
        "training_data": trained.training_data,
        "result": essentials(trained.result),
        "config": json.loads(configs.without_folders(trained.config).to_json()),
        "versions": environment.versions() | {name: importlib.metadata.version(name) for name in packages},
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    } | ({"class_counts": dict(trained.class_counts)} if trained.class_counts else {})


def essentials(result: RunResult | None) -> dict[str, Any] | None:
    """Extract what says how good the weights are and how they were chosen; None of None."""
    if result is None:
        return None
    scores = ("examples", "accuracy", "macro_f1")
    return {
        "selected_on": result.selected_on,
        "best_epoch": result.best_epoch,
        "splits": {name: {key: split[key] for key in scores} for name, split in result.splits.items()},
    }


def card(trained: Trained, stored: str = "") -> str:
    """The bundle's README.md: what it is, where it comes from, how well it does and what it is not for.

    Scores come from the run's result, each with its binomial standard error. `stored` is how model.onnx stores its
    weights, "" for float32.
    """
    config, result = trained.config, trained.result
    return templates.render(
        "card.md",
        {
            "name": trained.title,
            "labels": trained.label_names,
            "input": trained.input,
            "model": trained.model | ({"stored": stored} if stored else {}),
            "result": result,
            "command": environment.without_folders(result.command) if result else "",
            "training_data": trained.training_data,
            "license": trained.license,
            "note": trained.note,
            "views": evaluator.IN_WORDS,
            "teachers": config.teacher.runs,
            "teacher_weight": config.teacher.weight,
            "words": sources.data_set(config.data.source).words,
            "ceiling": result and any("noise_ceiling" in split for split in result.splits.values()),
            "standard_error": lambda share, count: math.sqrt(share * (1 - share) / count) if count else math.nan,
        },
    )
