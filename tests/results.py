"""Results of runs that were never trained, for tests of what reads them."""

import numpy as np

from fer_jax.evaluation import metrics
from fer_jax.result import FoldsResult, RunResult, SeedsResult

NAMES = ("happy", "sad")
SCORES = metrics.scores(np.array([[3.0, 0], [2, 0], [2, 1], [1, 2]]), np.array([0, 0, 1, 1]), NAMES)
CALIBRATION = {
    "fitted_on": "PublicTest",
    "temperature": 1.25,
    "uncertain_below": 0.4,
    "coverage": 0.9,
    "accuracy_when_certain": 0.8,
    "expected_calibration_error": {"before": 0.051, "after": 0.012},
}
_OF_ALL = {
    "config": "small",
    "data": "4 synthetic faces",
    "split_note": "No person is both trained on and held out.",
    "label_names": NAMES,
    "train_seconds": 10.0,
    "wall_seconds": 12.5,
    "versions": {"jax": "0.0.1", "device": "1 x cpu", "cpus": "2"},
    "command": "python -m fer_jax.main --config=configs/small.py",
}
_OF_MODELS = {"model": "mini_xception", "parameters": 58423, "selected_on": "PublicTest", "selected_by": "accuracy"}


def run_result(**changes):
    values = {
        "seed": 3,
        "best_epoch": 2,
        "epochs": 5,
        "splits": {"PublicTest": SCORES},
        "train_examples": 640,
        "train_examples_per_second": 62.4,
        "seconds": {"startup": 2.0, "train": 10.0, "eval": 0.5},
        "calibration": CALIBRATION,
    }
    return RunResult(**_OF_ALL | _OF_MODELS | values | changes)


def seeds_result(**changes):
    values = {
        "seeds": (3, 4),
        "splits": {
            "PublicTest": {"mean_accuracy": 0.75, "std_accuracy": 0.02, "mean_macro_f1": 0.7, "std_macro_f1": 0.03}
        },
        "per_seed": tuple(
            {"seed": seed, "best_epoch": 2, "epochs": 5, "splits": {"PublicTest": SCORES}} for seed in (3, 4)
        ),
        "train_examples_per_second": 124.8,
    }
    return SeedsResult(**_OF_ALL | _OF_MODELS | values | changes)


def folds_result(**changes):
    values = {
        "seed": 3,
        "folds": 2,
        "mean_accuracy": 0.751,
        "std_accuracy": 0.032,
        "pooled": SCORES,
        "per_fold": tuple(SCORES | {"best_epoch": epoch} for epoch in (11, 12)),
    }
    return FoldsResult(**_OF_ALL | values | changes)
