"""A page beside every run, in one file that opens with nothing else: what was trained, how well it does, on whom.

Every number comes from the run's own records (see `fer_jax.report.records`).
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jinja2
import numpy as np

from fer_jax import config as configs
from fer_jax import files
from fer_jax.data.examples import Examples
from fer_jax.evaluation import metrics
from fer_jax.report import faces, plots, records

PAGE = "index.html"


def write(
    workdir: str | os.PathLike, examples: Examples | None = None, out: str | os.PathLike | None = None
) -> pathlib.Path:
    """Write the report of one run: index.html and its pictures as PNG files; returns the page's path.

    What the run has not recorded yet (predictions, a result, an epoch) is left out of the page.

    Args:
      workdir: the run's folder.
      examples: the run's data, for the pages of faces; None leaves them out.
      out: the folder to write into, `workdir`/report unless given.

    Raises:
      UserError: `workdir` is no run's folder, or `examples` are not those of the run's predictions.
    """
    run = records.read(workdir)
    out = pathlib.Path(workdir) / "report" if out is None else pathlib.Path(out)
    if run.folds:
        examples = None  # the faces are in the folds' own reports
    predictions = run.predictions(run.split) if run.split else None
    if examples is not None and predictions is not None:
        predictions.require_same(examples.of_split(run.split))

    seconds = _seconds(run)
    ceilings = {name: s["noise_ceiling"] for name, s in run.splits.items() if "noise_ceiling" in s}
    page: dict[str, Any] = {
        "title": f"{run.name}: report",
        "config": run.config,
        "model": run.config.model.name,
        "rows": run.rows,
        "result": run.result,
        "splits": run.splits,
        "split": run.split,
        "folds": run.folds,
        "ceilings": ceilings,
        "seconds": seconds,
        "total_seconds": sum(seconds.values()),
        "flat_config": configs.flatten(run.config.to_dict()),
        "train_faces": int(np.sum(examples.split == run.config.data.train_split)) if examples else None,
    }
    if run.rows:
        draws = _learning_curves(run, ceilings)
        page["curves"] = [plots.svg(draw) for draw in draws]
        plots.png(out / "learning_curves.png", draws)
    if run.result:
        draw = plots.confusion(run.splits[run.split]["confusion"], run.result["label_names"])
        page["confusion"] = plots.svg(draw, (4.6, 4.3))
        plots.png(out / "confusion.png", [draw], (4.6, 4.3))
    if predictions:
        draw = plots.reliability(
            metrics.reliability(predictions.probabilities, predictions.labels),
            metrics.expected_calibration_error(predictions.probabilities, predictions.labels),
        )
        page["reliability"] = plots.svg(draw)
        plots.png(out / "reliability.png", [draw])
    page["sheets"] = _sheets(run, predictions, examples, out) if examples is not None else []
    return _render("run.html", out / PAGE, page)


def compare(workdirs: Sequence[str | os.PathLike], out: str | os.PathLike) -> pathlib.Path:
    """Write a page with several runs side by side into the folder `out`; returns the page's path.

    Raises:
      UserError: one of `workdirs` is no run's folder.
    """
    runs = [records.read(workdir) for workdir in workdirs]
    if len({run.name for run in runs}) < len(runs):
        runs = [dataclasses.replace(run, name=str(run.workdir)) for run in runs]
    flat = [configs.flatten(run.config.to_dict()) for run in runs]
    keys = sorted(set().union(*flat))
    absent = object()
    differences = [
        (key, ["" if (value := one.get(key, absent)) is absent else value for one in flat])
        for key in keys
        if len({repr(one.get(key, absent)) for one in flat}) > 1
    ]
    return _render(
        "comparison.html",
        pathlib.Path(out) / PAGE,
        {
            "title": f"{len(runs)} runs compared",
            "runs": runs,
            "differences": differences,
            "table": _comparison_table(runs),
            "plots": [plots.svg(draw) for draw in _comparison_plots(runs)],
        },
    )


def _seconds(run: records.Records) -> dict[str, float]:
    """Wall clock by phase: of the result, else of the last row; {} of a cross-validation."""
    if run.result and not run.folds:
        return run.result["seconds"]
    prefix = "seconds_"
    return (
        {key.removeprefix(prefix): value for key, value in run.rows[-1].items() if key.startswith(prefix)}
        if run.rows
        else {}
    )


def _learning_curves(run: records.Records, ceilings: dict[str, float]) -> list[plots.Draw]:
    select, epochs = run.config.data.select_split, [row["epoch"] for row in run.rows]

    def of(metric: str) -> dict[str, Any]:
        return {
            name: (epochs, [row[f"{prefix}_{metric}"] for row in run.rows])
            for name, prefix in (("training", "train"), (select, select))
        }

    best = run.result["best_epoch"] if run.result else None
    rate = {"learning rate": (epochs, [row["learning_rate"] for row in run.rows])}
    return [
        plots.curves("Accuracy", of("accuracy"), share=True, best=best, ceiling=ceilings.get(select)),
        plots.curves("Loss", of("loss"), best=best),
        plots.curves("Learning rate", rate, log=min(rate["learning rate"][1]) > 0),
    ]


def _sheets(
    run: records.Records, predictions: records.Predictions | None, examples: Examples, out: pathlib.Path
) -> list[tuple[str, str, list[faces.Face]]]:
    """The pages of faces as (heading, words, faces); the sample and the training faces also as picture files."""
    sheets = []
    if predictions:
        split = examples.of_split(run.split)

        def faces_at(indices: np.ndarray) -> list[faces.Face]:
            return faces.predicted(split, predictions, indices)

        sample = faces_at(faces.sample(predictions))
        _save_sheet(out / "faces.png", sample)
        sheets = [
            (
                f"Faces of {run.split}",
                "At even distances through the split. ✓: the true name and its probability; "
                "✗: the name given, and below it the true one.",
                sample,
            ),
            (
                "Most confident mistakes",
                "The wrong answers the network was surest of: its own errors, and the labels'.",
                faces_at(faces.confident_mistakes(predictions)),
            ),
            (
                "Least certain",
                "The faces whose best guess has the lowest probability.",
                faces_at(faces.least_certain(predictions)),
            ),
        ]
    trained, values = faces.as_trained(run.config, examples)
    _save_sheet(out / "augmented.png", trained)
    return [
        *sheets,
        (
            "Training faces as the network sees them",
            f"The beginning of the first batch, augmented and scaled: {values}.",
            trained,
        ),
    ]


def _save_sheet(path: pathlib.Path, shown: Sequence[faces.Face]) -> None:
    colours = {True: plots.COLOURS[2], False: plots.COLOURS[5], None: plots.INK}
    plots.sheet(
        path,
        np.stack([face.image for face in shown]),
        [("\n".join(face.lines), colours[face.correct]) for face in shown],
    )


def _comparison_table(runs: Sequence[records.Records]) -> list[tuple[str, list[str]]]:
    """Rows of (what, one text a run); what a run lacks is an empty text."""
    splits = list(dict.fromkeys(name for run in runs for name in run.splits))
    table = []
    for split in splits:
        scores = [run.splits.get(split) for run in runs]

        def row(label: str, text: str, scores: Sequence[Any] = scores) -> tuple[str, list[str]]:
            return label, [text.format(**s) if s else "" for s in scores]

        table += [
            row(f"{split} accuracy", "{accuracy:.2%} ± {standard_error:.2%}"),
            (f"{split} against {runs[0].name}", ["", *(_paired(runs[0], run, split) for run in runs[1:])]),
            row(f"{split} macro-F1", "{macro_f1:.2%}"),
            row(f"{split} loss", "{loss:.4f}"),
        ]
    for label, text in (
        ("best epoch", "{best_epoch} of {epochs}"),
        ("selected on", "{selected_on}"),
        ("training images/s", "{train_examples_per_second:,.0f}"),
    ):
        table.append((label, [text.format(**run.result) if run.result and not run.folds else "" for run in runs]))
    for label, text in (("training seconds", "{train_seconds:,.0f}"), ("all seconds", "{wall_seconds:,.0f}")):
        table.append((label, [text.format(**run.result) if run.result else "not finished" for run in runs]))
    return table


def _paired(first: records.Records, other: records.Records, split: str) -> str:
    """The difference of two runs' accuracies and its standard error over the faces of one split, if they share it."""
    one, two = first.predictions(split), other.predictions(split)
    if one is None or two is None or not np.array_equal(one.labels, two.labels):
        return ""
    difference = two.correct.astype(float) - one.correct
    return f"{difference.mean():+.2%} ± {difference.std() / np.sqrt(len(difference)):.2%}"


def _comparison_plots(runs: Sequence[records.Records]) -> list[plots.Draw]:
    def accuracy(run: records.Records) -> list[float]:
        return [row[f"{run.config.data.select_split}_accuracy"] for row in run.rows]

    draws, trained, finished = [], [run for run in runs if run.rows], [run for run in runs if run.result]
    for x, xlabel in (("epoch", "epoch"), ("seconds_train", "seconds of training")) if trained else ():
        series = {run.name: ([row[x] for row in run.rows], accuracy(run)) for run in trained}
        draws.append(plots.curves("Accuracy on the selection split", series, xlabel=xlabel, share=True))
    if len({(tuple(run.result["label_names"]), run.split) for run in finished}) == 1:
        recalls = {run.name: [c["recall"] for c in run.splits[run.split]["per_class"].values()] for run in finished}
        draws.append(plots.bars(f"Recall on {finished[0].split}", finished[0].result["label_names"], recalls))
    return draws


def _render(template: str, path: pathlib.Path, page: dict[str, Any]) -> pathlib.Path:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fer_jax.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = lambda value, digits=1: f"{100 * value:.{digits}f}"
    with files.atomic_path(path) as tmp:
        tmp.write_text(environment.get_template(template).render(page))
    return path
