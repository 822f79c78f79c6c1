"""A page beside every run, in one file that opens with nothing else: what was trained, how well it does, on whom.

Every number comes from the records in the folder (see `fer_jax.report.records`). A page is made to be
shown: of paths it holds names alone.
"""

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from fer_jax import config as configs
from fer_jax import environment, templates
from fer_jax.data.examples import Examples
from fer_jax.evaluation import metrics
from fer_jax.report import faces, plots, records
from fer_jax.result import FoldsResult, RunResult, SeedsResult

PAGE = "index.html"


def write(
    workdir: str | os.PathLike, examples: Examples | None = None, out: str | os.PathLike | None = None
) -> pathlib.Path:
    """Write the report of a run, of several seeds or of a cross-validation; returns the path of its index.html.

    Pictures are PNG files beside it. What has not been recorded yet (predictions, a result, an epoch) is left out.

    Args:
      workdir: the folder.
      examples: the run's data as it was trained on, for the pages of faces; None leaves them out. Of several runs it is
        not used: the faces are in the runs' own reports.
      out: the folder to write into, `workdir`/report unless given.

    Raises:
      UserError: `workdir` is no run's folder, or `examples` are not those of the run's predictions.
    """
    found = records.read(workdir)
    out = pathlib.Path(workdir) / "report" if out is None else pathlib.Path(out)
    if found.inside or isinstance(found.result, SeedsResult | FoldsResult):
        return _write_repeated(found, out)
    return _write_run(found, examples, out)


def _write_run(run: records.Records, examples: Examples | None, out: pathlib.Path) -> pathlib.Path:
    predictions = run.predictions(run.split) if run.split else None
    if examples is not None and predictions is not None:
        predictions.require_same(examples.labels_of(run.split))
    seconds = _seconds(run)
    ceilings = {name: s["noise_ceiling"] for name, s in run.splits.items() if "noise_ceiling" in s}
    page: dict[str, Any] = _basics(run) | {
        "config": run.config,
        "rows": run.rows,
        "splits": run.splits,
        "split": run.split,
        "ceilings": ceilings,
        "seconds": seconds,
        "total_seconds": sum(seconds.values()),
        "train_faces": int(np.sum(examples.split == run.config.data.train_split)) if examples else None,
    }
    if run.rows:
        draws = _learning_curves(run, ceilings)
        page["curves"] = [plots.svg(draw) for draw in draws]
        plots.png(out / "learning_curves.png", draws)
    if run.result:
        page["confusion"] = _confusion(run.splits[run.split]["confusion"], run.result.label_names, out)
    if predictions:
        draw = plots.reliability(
            metrics.reliability(predictions.probabilities, predictions.labels),
            metrics.expected_calibration_error(predictions.probabilities, predictions.labels),
        )
        page["reliability"] = plots.svg(draw, copy=out / "reliability.png")
    page["sheets"] = _sheets(run, predictions, examples, out) if examples is not None else []
    return templates.write(out / PAGE, "run.html", page)


@dataclasses.dataclass(frozen=True)
class _Member:
    """One of several runs: its folder, what it is called in the table, its scores by split and its best epoch."""

    folder: str
    name: str
    splits: dict[str, Any]
    best_epoch: int | None


def _write_repeated(found: records.Records, out: pathlib.Path) -> pathlib.Path:
    """The page of several seeds or of a cross-validation."""
    result, inside = found.result, [records.read(found.workdir / folder) for folder in found.inside]
    word = "seed" if (result.folders if result else found.inside)[0].startswith("seed") else "fold"
    match result:
        case FoldsResult():
            test = found.config.data.test_split
            members = [
                _Member(folder, str(number), {test: scores}, scores["best_epoch"])
                for number, (folder, scores) in enumerate(zip(result.folders, result.per_fold, strict=True), 1)
            ]
            counts, per_class = result.pooled["confusion"], result.pooled["per_class"]
            mean, std = result.mean_accuracy, result.std_accuracy
        case SeedsResult():
            members = [
                _Member(folder, str(of["seed"]), of["splits"], of["best_epoch"])
                for folder, of in zip(result.folders, result.per_seed, strict=True)
            ]
            scores = [of["splits"][found.split] for of in result.per_seed]
            means = {}
            for name, first in scores[0]["per_class"].items():
                each = [of["per_class"][name] for of in scores]
                means[name] = {key: float(np.mean([c[key] for c in each])) for key in ("precision", "recall", "f1")}
                means[name] |= {
                    "examples": first["examples"],
                    "recall_std": float(np.std([c["recall"] for c in each], ddof=1)),
                }
            counts, per_class = np.sum([s["confusion"] for s in scores], axis=0), means
            mean, std = (result.splits[found.split][f"{of}_accuracy"] for of in ("mean", "std"))
        case _:
            members = [_Member(run.name, run.name, run.splits, None) for run in inside]
            counts = per_class = mean = std = None
    page: dict[str, Any] = _basics(found) | {
        "source": found.config.data.source,
        "word": word,
        "split": found.split,
        "members": members,
        "columns": list(dict.fromkeys(name for member in members for name in member.splits)),
        "mean": mean,
        "std": std,
        "per_class": per_class,
    }
    if trained := [run for run in inside if run.rows]:
        draws = comparison_curves(trained)
        page["curves"] = [plots.svg(draw) for draw in draws]
        plots.png(out / "learning_curves.png", draws)
    if result:
        page["confusion"] = _confusion(counts, result.label_names, out)
    return templates.write(out / PAGE, "repeated.html", page)


def _basics(found: records.Records) -> dict[str, Any]:
    """Fields of every page."""
    return {
        "title": f"{found.name}: report",
        "model": found.config.model.name,
        "result": found.result,
        "command": environment.without_folders(found.result.command) if found.result else "",
        "flat_config": configs.flatten(configs.without_folders(found.config).to_dict()),
    }


def _confusion(counts: Any, label_names: Sequence[str], out: pathlib.Path) -> str:
    """The confusion matrix as SVG; the same is written to `out` as PNG."""
    draw = plots.confusion(counts, label_names)
    return plots.svg(draw, (4.6, 4.3), out / "confusion.png")


def _seconds(run: records.Records) -> dict[str, float]:
    """Wall clock by phase: of the result, else of the last row."""
    if isinstance(run.result, RunResult):
        return run.result.seconds
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

    best = run.result.best_epoch if isinstance(run.result, RunResult) else None
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

        sample = faces_at(faces.sample(len(split)))
        save_sheet(out / "faces.png", sample)
        sheets = [
            (
                f"Faces of {run.split}",
                "Evenly spaced through the split. ✓: the true name and its probability; "
                "✗: the predicted name, and below it the true one.",
                sample,
            ),
            (
                "Most confident mistakes",
                "The wrong predictions of the highest probability: the network's errors, and the labels'.",
                faces_at(faces.confident_mistakes(predictions)),
            ),
            (
                "Least certain",
                "The faces whose predicted class has the lowest probability.",
                faces_at(faces.least_certain(predictions)),
            ),
        ]
    trained, values = faces.as_trained(run.config, examples)
    save_sheet(out / "augmented.png", trained)
    return [
        *sheets,
        (
            "Training faces as the network sees them",
            f"The beginning of the first batch, augmented and scaled: {values}. Below each face stands its training "
            "target, the shares of at least 5 % of a soft one.",
            trained,
        ),
    ]


def save_sheet(path: pathlib.Path, shown: Sequence[faces.Face]) -> None:
    """Write faces with their lines below them as one picture."""
    colors = {True: plots.COLORS[2], False: plots.COLORS[5], None: plots.INK}
    plots.sheet(
        path,
        np.stack([face.image for face in shown]),
        [("\n".join(face.lines), colors[face.correct]) for face in shown],
    )


def comparison_curves(runs: Sequence[records.Records]) -> list[plots.Draw]:
    """The accuracy on the selection split of runs that have rows, by epoch and by seconds of training."""

    def accuracy(run: records.Records) -> list[float]:
        return [row[f"{run.config.data.select_split}_accuracy"] for row in run.rows]

    return [
        plots.curves(
            "Accuracy on the selection split",
            {run.name: ([row[x] for row in run.rows], accuracy(run)) for run in runs},
            xlabel=xlabel,
            share=True,
        )
        for x, xlabel in (("epoch", "epoch"), ("seconds_train", "seconds of training"))
    ]
