"""What each part of a recipe gives: the same config again and again with one thing changed, over several seeds."""

from __future__ import annotations

import json
import math
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fer_jax import config as configs
from fer_jax import files, recipes
from fer_jax.errors import UserError
from fer_jax.experiments.run import train_and_score
from fer_jax.result import RunResult

BASE = "as it is"
MAX_NAME = 100  # characters: it becomes the name of a folder
# Keys that a change cannot set, with what does.
SET_HERE = {"seed": "; --config.seed and --seeds set it", "seeds": "; --seeds sets it", "data.select_split": ""}


def read(path: str | os.PathLike, config: ConfigDict) -> dict[str, dict[str, Any]]:
    """The changes in a JSON file, {name: {dotted key: value}}, checked against the config before anything is trained.

    Raises UserError for a file that is no such thing, for names that are taken, share a folder or have no letter, for a
    change of nothing, for a key that the config does not have or that the ablation sets itself, and for a value that
    the config refuses.
    """
    path = recipes.ablation(files.expand(path))
    try:
        changes = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_without_repetition)
    except (OSError, ValueError) as error:
        raise UserError(f"--changes: {path}: {str(error)[:200]}; configs/ablations has examples") from None
    if not isinstance(changes, dict) or not all(isinstance(change, dict) for change in changes.values()):
        raise UserError(
            f"--changes: {path} holds no object of objects: expected {{name: {{key: value}}}} as in configs/ablations"
        )
    if config.seeds > 1:
        raise UserError(f"config.seeds is {config.seeds}: an ablation trains one model after another; use --seeds")
    if not changes:
        raise UserError(f"--changes: {path} holds no changes: expected at least one, as in configs/ablations")
    _check_names(path, changes)
    for name, change in changes.items():
        try:
            _check(change)
            configs.changed(config, change)
        except UserError as error:
            raise UserError(f"--changes: {path}, {name}: {error}") from None
    return changes


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if repeated := [name for number, (name, _) in enumerate(pairs) if name in dict(pairs[:number])]:
        raise ValueError(f"{repeated[0]!r} appears twice")
    return dict(pairs)


def _check_names(path: pathlib.Path, changes: Mapping[str, Any]) -> None:
    """UserError for the name of the base, names that are too long, and two names that would share a folder."""
    if BASE in changes:
        raise UserError(f"--changes: {path}: {BASE!r} is the name of the unchanged config: rename the change")
    folders = {_folder(BASE): BASE}
    for name in changes:
        if len(name) > MAX_NAME:
            raise UserError(
                f"--changes: {path}: the name {name[:40]!r}... has {len(name)} characters: use at most {MAX_NAME}"
            )
        if not re.search(r"\w", name):
            raise UserError(f"--changes: {path}: the name {name!r} has no letter or digit: rename the change")
        if (other := folders.setdefault(_folder(name), name)) != name:
            raise UserError(
                f"--changes: {path}: {name!r} and {other!r} would share the folder {_folder(name)}: rename one"
            )


def _check(change: Mapping[str, Any]) -> None:
    if not change:
        raise UserError("it changes nothing: give keys and values, or leave it out")
    for key in SET_HERE:
        if key in change:
            raise UserError(f"config.{key} is the same for all changes: leave it out{SET_HERE[key]}")


def _folder(name: str) -> str:
    """The beginning of the names of a change's folders; letter case does not tell folders apart everywhere."""
    return re.sub(r"\W+", "_", name).casefold()


def run(
    config: ConfigDict,
    changes: Mapping[str, Mapping[str, Any]],
    seeds: int,
    workdir: str | os.PathLike,
    command: str = "",
) -> dict[str, Any]:
    """Train the config as it is and with each change, with the seeds config.seed, config.seed + 1, ...

    Each run has its folder in `workdir` and is not trained again if it is finished, so the same call goes on where the
    last one stopped. Writes ablation.json after every run.

    Returns:
      {"config", "command", "selected_on", "rows"}; each row {"name", "change", "seeds", "accuracy" (one a seed),
      "macro_f1", "disgust_recall", "examples", "train_seconds", "difference" (see `difference`)}.
    """
    workdir = files.expand(workdir)
    results: dict[str, list[RunResult]] = {}
    for number in range(seeds):  # all changes with one seed before the next: what is there early can be compared
        for name, change in {BASE: {}, **changes}.items():
            of_run = configs.changed(config, change)
            of_run.seed = config.seed + number
            logging.info("%s, seed %d", name, of_run.seed)
            folder = workdir / f"{_folder(name)}_seed{of_run.seed}"
            results.setdefault(name, []).append(train_and_score(of_run, folder))
            record = _record(config, changes, results, command)
            files.write_json(workdir / "ablation.json", record)
    return record


def difference(accuracies: Sequence[float], base: Sequence[float], examples: int) -> dict[str, float]:
    """Mean accuracy over seeds minus the base's, in 0..1, with the standard error of that difference.

    Seeds are compared in pairs. With one seed the spread over seeds is unknown; then the error is that of two
    independent samples of `examples` faces, which is too large, since the faces are the same.
    """
    gaps = np.subtract(accuracies, base[: len(accuracies)])
    if len(gaps) > 1:
        error = float(np.std(gaps, ddof=1) / math.sqrt(len(gaps)))
    else:
        error = math.sqrt(sum(share * (1 - share) / examples for share in (accuracies[0], base[0])))
    return {"mean": float(np.mean(gaps)), "standard_error": error}


def _record(
    config: ConfigDict,
    changes: Mapping[str, Mapping[str, Any]],
    results: Mapping[str, list[RunResult]],
    command: str,
) -> dict[str, Any]:
    split, rows = config.data.select_split, []
    for name, of_seeds in results.items():
        scores = [result.splits[split] for result in of_seeds]
        accuracies = [s["accuracy"] for s in scores]
        rows.append(
            {
                "name": name,
                "change": dict(changes.get(name, {})),
                "seeds": [result.seed for result in of_seeds],
                "accuracy": accuracies,
                "macro_f1": [s["macro_f1"] for s in scores],
                "disgust_recall": [s["per_class"]["disgust"]["recall"] for s in scores if "disgust" in s["per_class"]],
                "examples": scores[0]["examples"],
                "train_seconds": sum(result.train_seconds for result in of_seeds),
            }
        )
        if name != BASE:
            rows[-1]["difference"] = difference(accuracies, rows[0]["accuracy"], scores[0]["examples"])
    return {
        "config": config.name,
        "epochs": config.epochs,
        "selected_on": split,
        "command": command,
        "rows": rows,
        "versions": results[BASE][0].versions,
    }
