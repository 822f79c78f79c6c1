"""Cross-validation: one run a fold, and what they say together."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fer_jax import config as configs
from fer_jax import environment, files
from fer_jax.data import cache, clean, splits
from fer_jax.distributed import cluster
from fer_jax.evaluation import metrics
from fer_jax.experiments.run import RESULT, train_and_score


def cross_validate(config: ConfigDict, workdir: str | os.PathLike) -> dict[str, Any]:
    """Train and score every fold of `config.data.folds` in `workdir`/fold_NN, and return the content of result.json.

    In each fold the epoch is chosen on a part of the training folds, never on the fold that is scored. Run again it
    resumes at the fold it had reached.

    Returns:
      {"folds", "mean_accuracy", "std_accuracy" (sample standard deviation over folds), "pooled" (the scores of all
      test predictions together, every example once), "per_fold", ...}.

    Raises:
      UserError: see `fer_jax.experiments.run.train_and_score` and `fer_jax.data.splits.folds`.
    """
    workdir = pathlib.Path(workdir)
    configs.validate(config)
    configs.refuse_other(config, workdir)
    # Not yet split and cleaned: that is done anew in every fold.
    examples = cache.read(config.data, config.input)
    folds = splits.folds(examples, config.data, config.seed)
    workdir.mkdir(parents=True, exist_ok=True)
    configs.save(config, workdir)
    results, logits, labels = [], [], []
    for number, (train, test) in enumerate(folds, 1):
        logging.info("fold %d of %d: %d examples train, %d test", number, len(folds), len(train), len(test))
        folder = workdir / f"fold_{number:02d}"
        of_fold = clean.apply(splits.of_fold(examples, train, test, config.data, config.seed), config.data, config.seed)
        results.append(train_and_score(config, folder, of_fold))
        with np.load(folder / "predictions" / f"{config.data.test_split}.npz") as predictions:
            logits.append(predictions["logits"])
            labels.append(predictions["labels"])
    accuracies = [result["splits"][config.data.test_split]["accuracy"] for result in results]
    result = {
        "config": config.name,
        "seed": config.seed,
        "data": examples.description,
        "split_note": splits.note(config.data, of_fold, crossval=True),
        "label_names": list(of_fold.label_names),
        "folds": len(folds),
        "mean_accuracy": float(np.mean(accuracies)),
        "std_accuracy": float(np.std(accuracies, ddof=1)),
        "per_fold": [{"best_epoch": r["best_epoch"], **r["splits"][config.data.test_split]} for r in results],
        "pooled": metrics.scores(np.concatenate(logits), np.concatenate(labels), of_fold.label_names),
        "train_seconds": sum(r["train_seconds"] for r in results),
        "wall_seconds": sum(r["wall_seconds"] for r in results),
        "versions": environment.versions(),
        "command": environment.command(),
    }

    def conclude() -> None:
        from fer_jax import report  # matplotlib: slow to import, and of no use before this point

        files.write_json(workdir / RESULT, result)
        report.write(workdir)

    cluster.run_on_primary(conclude)
    logging.info(
        "%d folds: accuracy %.4f +- %.4f (standard deviation over folds), pooled %.4f of %d examples. %s",
        len(folds),
        result["mean_accuracy"],
        result["std_accuracy"],
        result["pooled"]["accuracy"],
        result["pooled"]["examples"],
        result["split_note"],
    )
    return result
