"""Where a bundle's weights come from and on what terms, in words that make sense years later."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from fer_jax import config as configs
from fer_jax import environment
from fer_jax.data import sources
from fer_jax.result import RunResult

RESEARCH_FACES = (
    "The code that made this bundle is Apache-2.0. The weights come from faces of real people that were "
    "published for research: {terms}. Use them for research and teaching; anything else needs the "
    "agreement of those who hold rights in the faces."
)
FREE = "Apache-2.0, code and weights: trained on {terms}."
UNKNOWN_LICENCE = (
    "The code that made this bundle is Apache-2.0. The terms of the weights are not known to it: those "
    "of the training data apply."
)


def licence_note(source: str) -> str:
    """The note on the weights trained on a data source, a key of `config.data.source`."""
    known = sources.data_set(source)
    if not known.terms:
        return UNKNOWN_LICENCE
    return (RESEARCH_FACES if known.real_people else FREE).format(terms=known.terms)


def training_data_note(config: ConfigDict, result: RunResult | None) -> str:
    """What a run was trained on, from its config and, if it is finished, its result."""
    if result is None:
        return f"{config.data.source}, split {config.data.train_split}; the run was not finished"
    return f"{result.data}, of which the split {config.data.train_split}"


def of_run(
    config: ConfigDict,
    result: RunResult | None,
    training_data: str,
    licence: str,
    class_counts: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The field "provenance" of bundle.json.

    Of paths in the config the names alone are kept, for a bundle is made to be given away. `class_counts` are those of
    the training split, see `RunResult`.
    """
    kept = json.loads(configs.without_folders(config).to_json())
    return {
        "licence": licence,
        "training_data": training_data,
        "result": essentials(result),
        "config": kept,
        "versions": environment.versions()
        | {name: importlib.metadata.version(name) for name in ("jax2onnx", "onnx", "onnxruntime", "safetensors")},
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    } | ({"class_counts": dict(class_counts)} if class_counts else {})


def essentials(result: RunResult | None) -> dict[str, Any] | None:
    """What of a result says how good the weights are and how they were chosen; None of None."""
    if result is None:
        return None
    scores = ("examples", "accuracy", "macro_f1")
    return {
        "selected_on": result.selected_on,
        "best_epoch": result.best_epoch,
        "splits": {name: {key: split[key] for key in scores} for name, split in result.splits.items()},
    }
