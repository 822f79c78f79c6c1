"""Cross-validation: one run per fold, and the scores of all folds together."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fer_jax import config as configs
from fer_jax import environment, files
from fer_jax.data import cache, splits
from fer_jax.distributed import cluster
from fer_jax.errors import UserError
from fer_jax.evaluation import metrics
from fer_jax.experiments import rundata
from fer_jax.experiments.run import keeping_its_epochs, train_and_score
from fer_jax.result import FOLD_FOLDER, FoldsResult, RunResult


def cross_validate(config: ConfigDict, workdir: str | os.PathLike, only: int = 0) -> FoldsResult | None:
    """Train and score every fold of `config.data.folds` in `workdir`/fold_NN, and return their result, also written.

    In each fold the epoch is chosen on a part of the training folds (with `config.data.fold_split` on the data's select
    split), never on the fold that is scored. Run again it resumes at the fold it had reached.

    Args:
      config: of all folds.
      workdir: the folder of all folds.
      only: the number of the one fold to train, from 1, so that several processes or machines share the folds; a call
        without it then finds them finished and pools their scores. 0 trains all.

    Returns:
      the result of all folds; None with `only`.

    Raises:
      UserError: there is no fold `only`; see also `fer_jax.experiments.run.train_and_score` and
        `fer_jax.data.splits.folds`.
    """
    workdir = pathlib.Path(workdir)
    configs.validate(config)
    cluster.run_on_primary(lambda: configs.refuse_other(config, workdir))
    configs.require_inputs(config, workdir)
    # Not yet split and cleaned: that is done anew in every fold.
    examples = cache.read(config.data, config.input)
    folds = splits.folds(examples, config.data, config.seed)
    if only > len(folds):
        raise UserError(f"--fold={only}: expected 1 to {len(folds)}, one of the folds; 0 trains all")
    cluster.run_on_primary(lambda: configs.save(config, workdir))
    results, logits, labels = [], [], []
    for number, (train, test) in enumerate(folds, 1):
        if only not in (0, number):
            continue
        logging.info("fold %d of %d: %d examples train, %d test", number, len(folds), len(train), len(test))
        folder = workdir / FOLD_FOLDER.format(number)
        assigned = splits.of_fold(examples, train, test, config.data, config.seed)
        data = rundata.of_assigned(config, assigned, config.seed)
        with keeping_its_epochs(workdir):
            results.append(train_and_score(config, folder, data))
        predictions = cluster.run_on_primary(lambda folder=folder: _predictions(folder, config.data.test_split))
        logits.append(predictions["logits"])
        labels.append(predictions["labels"])
    if only:
        return None
    pooled = metrics.scores(np.concatenate(logits), np.concatenate(labels), data.examples.label_names)
    note = splits.note(config.data, data.examples, crossval=True)
    result = cluster.run_on_primary(lambda: _conclude(config, workdir, examples.description, results, pooled, note))
    logging.info(
        "%d folds: accuracy %.4f +- %.4f (standard deviation over folds), pooled %.4f of %d examples. %s",
        len(folds),
        result.mean_accuracy,
        result.std_accuracy,
        result.pooled["accuracy"],
        result.pooled["examples"],
        result.split_note,
    )
    return result


def _predictions(folder: pathlib.Path, split: str) -> dict[str, np.ndarray]:
    """{"logits", "labels"} that a run left."""
    return files.read_npz(folder / "predictions" / f"{split}.npz", "a fold's predictions", f"delete {folder}")


def _conclude(
    config: ConfigDict,
    workdir: pathlib.Path,
    data: str,
    results: list[RunResult],
    pooled: dict[str, Any],
    note: str,
) -> FoldsResult:
    """Write result.json and the report."""
    of_folds = [result.splits[config.data.test_split] for result in results]
    accuracies = [scores["accuracy"] for scores in of_folds]
    result = FoldsResult(
        config=config.name,
        seed=config.seed,
        data=data,
        split_note=note,
        label_names=results[0].label_names,
        folds=len(results),
        mean_accuracy=float(np.mean(accuracies)),
        std_accuracy=float(np.std(accuracies, ddof=1)),
        per_fold=tuple(
            {"best_epoch": result.best_epoch, **scores} for result, scores in zip(results, of_folds, strict=True)
        ),
        pooled=pooled,
        train_seconds=sum(result.train_seconds for result in results),
        wall_seconds=sum(result.wall_seconds for result in results),
        versions=environment.versions(),
        command=environment.command(),
    )
    from fer_jax.report import page  # matplotlib: slow to import, and of no use before this point

    result.write(workdir)
    page.write(workdir)
    return result
