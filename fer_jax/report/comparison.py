"""A page with several runs, seeds' folders or cross-validations side by side."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from fer_jax import config as configs
from fer_jax import labels, templates
from fer_jax.report import page, plots, records
from fer_jax.result import FoldsResult, RunResult, SeedsResult


def write(workdirs: Sequence[str | os.PathLike], out: str | os.PathLike) -> pathlib.Path:
    """Write the page into the folder `out`; returns its path.

    Raises:
      UserError: one of `workdirs` is no run's folder.
    """
    runs = _named([records.read(workdir) for workdir in workdirs])
    flat = [configs.flatten(configs.without_folders(run.config).to_dict()) for run in runs]
    keys = sorted(set().union(*flat))
    absent = object()
    differences = [
        (key, ["" if (value := one.get(key, absent)) is absent else value for one in flat])
        for key in keys
        if len({repr(one.get(key, absent)) for one in flat}) > 1
    ]
    return templates.write(
        pathlib.Path(out) / page.PAGE,
        "comparison.html",
        {
            "title": f"{len(runs)} runs compared",
            "runs": runs,
            "differences": differences,
            "table": _table(runs),
            "plots": [plots.svg(draw) for draw in _plots(runs)],
        },
    )


def _named(runs: Sequence[records.Records]) -> list[records.Records]:
    """The runs, those of the same name with as many of the folders above them as tell all apart."""
    names, depth = [run.name for run in runs], 1
    parts = [run.workdir.resolve().parts for run in runs]
    while len(set(names)) < len(names) and depth < max(map(len, parts)):
        depth += 1
        names = ["/".join(part[-depth:]) for part in parts]
    return [dataclasses.replace(run, name=name) for run, name in zip(runs, names, strict=True)]


def _table(runs: Sequence[records.Records]) -> list[tuple[str, list[str]]]:
    """Rows of (what, one text a run); what a run lacks is an empty text."""
    splits = list(dict.fromkeys(name for run in runs for name in run.splits))
    table = []
    for split in splits:
        table += [
            (f"{split} accuracy", [_accuracy(run, split) for run in runs]),
            (f"{split} against {runs[0].name}", ["", *(_paired(runs[0], run, split) for run in runs[1:])]),
            (f"{split} macro-F1", [_percent(run, split, "macro_f1") for run in runs]),
            (
                f"{split} loss",
                [f"{s['loss']:.4f}" if "loss" in (s := run.splits.get(split, {})) else "" for run in runs],
            ),
        ]
    results = [run.result for run in runs]
    single = [result if isinstance(result, RunResult) else None for result in results]
    several = [result.folders if isinstance(result, SeedsResult | FoldsResult) else () for result in results]
    if any(several):
        table.append(("runs in it", [str(len(folders) or 1) for folders in several]))
    table += [
        ("best epoch", [f"{result.best_epoch} of {result.epochs}" if result else "" for result in single]),
        ("selected on", [getattr(result, "selected_on", "") for result in results]),
        (
            "training images/s",
            [f"{speed:,.0f}" if (speed := getattr(r, "train_examples_per_second", None)) else "" for r in results],
        ),
        ("training seconds", [f"{result.train_seconds:,.0f}" if result else "not finished" for result in results]),
        ("all seconds", [f"{result.wall_seconds:,.0f}" if result else "not finished" for result in results]),
    ]
    return [row for row in table if any(row[1])]


def _accuracy(run: records.Records, split: str) -> str:
    scores = run.splits.get(split)
    if not scores:
        return ""
    if isinstance(run.result, SeedsResult):
        return f"{scores['mean_accuracy']:.2%} ± {scores['std_accuracy']:.2%} over {len(run.result.seeds)} seeds"
    return f"{scores['accuracy']:.2%} ± {scores['standard_error']:.2%}"


def _percent(run: records.Records, split: str, score: str) -> str:
    scores = run.splits.get(split, {})
    value = scores.get(score, scores.get(f"mean_{score}"))
    return "" if value is None else f"{value:.2%}"


def _paired(first: records.Records, other: records.Records, split: str) -> str:
    """The difference of two runs' accuracies and its standard error over the faces of one split, if they share it."""
    one, two = first.predictions(split), other.predictions(split)
    if one is None or two is None or not np.array_equal(one.labels, two.labels):
        return ""
    difference = two.correct.astype(float) - one.correct
    return f"{difference.mean():+.2%} ± {difference.std() / np.sqrt(len(difference)):.2%}"


def _plots(runs: Sequence[records.Records]) -> list[plots.Draw]:
    trained = [run for run in runs if run.rows]
    finished = [(run, run.result) for run in runs if isinstance(run.result, RunResult)]
    draws = page.comparison_curves(trained) if trained else []
    shared = {(result.label_names, run.split) for run, result in finished}
    if len(shared) == 1 and len(names := next(iter(shared))[0]) <= labels.MAX_LISTED:
        recalls = {run.name: [c["recall"] for c in run.splits[run.split]["per_class"].values()] for run, _ in finished}
        draws.append(plots.bars(f"Recall on {finished[0][0].split}", names, recalls))
    return draws
