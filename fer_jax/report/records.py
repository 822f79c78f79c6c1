"""Records that runs left in their folders, read back: the only source of a report's numbers."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from scipy.special import softmax

from fer_jax import config as configs
from fer_jax import files
from fer_jax import result as results
from fer_jax.errors import UserError
from fer_jax.result import FoldsResult, Result, RunResult, SeedsResult
from fer_jax.training import metric_log


@dataclasses.dataclass(frozen=True)
class Records:
    """The records in the folder of a run, of several seeds or of a cross-validation.

    Attributes:
      workdir: the folder.
      name: what people call it, the folder's name.
      config: config.json.
      rows: of metrics.jsonl, one an evaluated epoch; empty before the first, and where several runs are inside.
      result: result.json, or None while it is not finished.
      inside: names of the runs' folders in it; () of a single run.
    """

    workdir: pathlib.Path
    name: str
    config: ConfigDict
    rows: list[dict[str, Any]]
    result: Result | None
    inside: tuple[str, ...] = ()

    @property
    def splits(self) -> dict[str, Any]:
        """The scores by split, {} before the end; of a cross-validation those of all its test predictions together.

        Of several seeds they are the means and standard deviations of `SeedsResult`.
        """
        match self.result:
            case None:
                return {}
            case FoldsResult(folds=folds, pooled=pooled):
                return {f"all {folds} folds": pooled}
            case RunResult(splits=splits) | SeedsResult(splits=splits):
                return splits

    @property
    def split(self) -> str:
        """The split shown in detail: the test split where it was scored, else the one selected on; "" until then."""
        return list(self.splits)[-1] if self.splits else ""

    def predictions(self, split: str) -> Predictions | None:
        """Predictions of one split; None where the run kept none."""
        path = self.workdir / "predictions" / f"{split}.npz"
        if not path.exists():
            return None
        arrays = files.read_npz(path, "a run's predictions", "delete it, and the report goes without")
        return Predictions(softmax(arrays["logits"].astype(np.float64), axis=1), arrays["labels"])


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Probabilities float64 (N, classes) and labels int32 (N,), in the order of `Examples.of_split`."""

    probabilities: np.ndarray
    labels: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """int64 (N,), the most probable class."""
        return self.probabilities.argmax(axis=1)

    @property
    def confidence(self) -> np.ndarray:
        """float64 (N,), the probability of the predicted class."""
        return self.probabilities.max(axis=1)

    @property
    def correct(self) -> np.ndarray:
        """bool (N,)."""
        return self.predicted == self.labels

    def require_same(self, labels: np.ndarray) -> None:
        """UserError when these are not the predictions of examples with `labels` (N,)."""
        if not np.array_equal(self.labels, labels):
            raise UserError(
                f"the data has {len(labels)} labels that are not those of the run's {len(self.labels)} "
                "predictions: give the data of the run, or report without faces (--nofaces)"
            )


def read(workdir: str | os.PathLike) -> Records:
    """The records in `workdir`; UserError when it is no run's folder."""
    workdir = pathlib.Path(workdir)
    return Records(
        workdir,
        workdir.resolve().name,
        configs.load(workdir),
        metric_log.read_metrics(workdir),
        results.read(workdir),
        tuple(results.runs_inside(workdir)),
    )
