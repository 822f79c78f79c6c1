"""Training and what comes after it in a few calls: `fer_jax.train`, `fer_jax.load`, `run.evaluate`, `run.export`."""

import base64
import contextlib
import dataclasses
import html
import logging as standard_logging
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from fer_jax import config as configs
from fer_jax import environment, files
from fer_jax.bundle import manifest
from fer_jax.bundle.formats import GRAPHS
from fer_jax.distributed import cluster
from fer_jax.errors import Lines
from fer_jax.experiments import run, rundata, scoring
from fer_jax.export import exporting
from fer_jax.export.trained import Trained, license_note, training_data_note
from fer_jax.result import Evaluation, RunResult
from fer_jax.training import metric_log
from fer_jax.training.train import Session


@dataclasses.dataclass(frozen=True, repr=False)
class TrainedRun:
    """A run in its folder.

    Attributes:
      workdir: the folder.
      checkpoint: which one is evaluated and exported: "best", of the chosen epoch, or "last".
    """

    workdir: pathlib.Path
    checkpoint: str = "best"

    @property
    def result(self) -> RunResult | None:
        """The content of result.json; None while the run is not finished."""
        return run.read_run_result(self.workdir)

    def __repr__(self) -> str:
        result = self.result
        if result is None:
            return f"TrainedRun {self.workdir}\nnot finished: {len(metric_log.read_metrics(self.workdir))} evaluations"
        return (
            f"TrainedRun {self.workdir}: {result.config}, {result.model} of {result.parameters:,} parameters\n"
            f"{run.summary(result)}"
        )

    def _repr_html_(self) -> str:
        """The same for notebooks, with the learning curves of the report."""
        curves = pathlib.Path(self.workdir) / "report" / "learning_curves.png"
        picture = ""
        if curves.is_file():
            encoded = base64.b64encode(curves.read_bytes()).decode()
            picture = f'<img alt="learning curves" src="data:image/png;base64,{encoded}">'
        return f"<pre>{html.escape(repr(self))}</pre>{picture}"

    def evaluate(self, split: str = "", data: str | os.PathLike = "", tta: Sequence[str] = ()) -> Evaluation:
        """Scores of one split, every example counted once.

        Args:
          split: its name; "" is the one that the epoch was chosen on.
          data: FER2013's csv, a folder or a list of images with the same labels; "" is the run's own.
          tta: test-time augmentation to score beside the plain figure: "flip", "ten_crop".

        Raises:
          UserError: no run there, or no such split or data.
        """
        predictor = scoring.of_runs([self.workdir], self.checkpoint)
        return scoring.score(predictor, split or predictor.selected_on, os.fspath(data), tuple(tta))

    def export(
        self,
        out: str | os.PathLike,
        *,
        data: str | os.PathLike = "",
        formats: Sequence[str] = (),
        compact: str = "",
        license: str = "",
        name: str = "",
        note: str = "",
    ) -> exporting.Exported:
        """Write a bundle, after each format was compared with the network over the run's selection split.

        Args:
          out: its folder: new, or a bundle to be replaced.
          data: where the run's data lies now, if not where it was trained from.
          formats: graphs to add: "float16", in half precision; "int8", in 8-bit integers, its ranges fitted to
            training faces.
          compact: "float16" or "int8": write one graph, model.onnx, its weights stored so and computed with in float32.
          license: terms of the weights; "" is the note on the run's data source.
          name: of the model, on its card and in its files; "" is the config's.
          note: a sentence for the card on how it was made, such as how it was chosen among several runs.

        Raises:
          UserError: no run there, its data is gone, or `out` holds something else.
        """
        out = files.expand(out)
        manifest.refuse_other_content(out)
        loaded = run.load_run(self.workdir, self.checkpoint)
        config, result, scored = loaded.config, loaded.result, _scored(loaded)
        needs_faces = any(GRAPHS[role].needs_faces for role in formats if role in GRAPHS)
        evaluation, calibration, counts = rundata.to_export(
            config, self.workdir, loaded.label_names, os.fspath(data), needs_faces
        )
        fitted = (scored and scored.calibration) or {"temperature": 1.0, "uncertain_below": 0.0}
        trained = Trained(
            config,
            loaded.variables,
            loaded.label_names,
            training_data_note(config, result),
            license or license_note(config.data.source),
            scored,
            fitted["temperature"],
            fitted["uncertain_below"],
            (result and result.class_counts) or counts,
            name,
            note,
        )
        return exporting.export(
            out, trained, evaluation=evaluation, calibration=calibration, formats=formats, compact=compact
        )


def _scored(loaded: run.Run) -> RunResult | None:
    """The run's result where it is of these weights, else None, with a warning: a card has no scores then."""
    result, epoch = loaded.result, loaded.progress.epoch
    if result is None:
        logging.warning("%s is not finished: what is exported are its weights of epoch %d", loaded.workdir, epoch)
    elif result.best_epoch != epoch:
        logging.warning(
            "%s was scored with the weights of epoch %d, those of epoch %d are exported: the card has no scores",
            *(loaded.workdir, result.best_epoch, epoch),
        )
        return None
    return result


def train(
    recipe: str | os.PathLike | ConfigDict,
    *,
    data: str | os.PathLike = "",
    workdir: str | os.PathLike = "",
    verbose: bool = True,
    on_epoch: Callable[[dict[str, Any]], Any] | None = None,
    **changes: Any,
) -> TrainedRun:
    """Train a recipe, or go on with a run of it that was interrupted; a finished one is not trained again.

    Ctrl-C and SIGTERM end the training after the steps that were begun, save, and raise `fer_jax.errors.Preempted`; the
    same call resumes. A second Ctrl-C stops at once.

        run = fer_jax.train("xception", data="fer2013.csv", workdir="runs/mine", epochs=5)
        run = fer_jax.train("mine.py", **{"optim.learning_rate": 1e-3})

    Args:
      recipe: a name, a file, either with a variant ("xception:distilled"), or a config.
      data: file or folder of the data set; "" is the recipe's own.
      workdir: folder of the run; "" is runs/NAME, by the config's name.
      verbose: whether to write a line for each epoch to standard error, and on a terminal or in a notebook a bar.
      on_epoch: called after each evaluation with its row of metrics ("epoch", "train_loss", "train_accuracy", the
        selection split's, "learning_rate", ...).
      **changes: other values of the config, by dotted keys.

    Raises:
      UserError: no such recipe or key, a bad value, bad data, a folder of another run.
      Preempted: a signal asked for the end; everything is saved.
    """
    environment.init()
    config = recipe if isinstance(recipe, ConfigDict) else configs.read(os.fspath(recipe))
    if data:
        changes["data.path"] = os.fspath(data)
    config = configs.changed(config, changes)
    folder = files.check_output(workdir or pathlib.Path("runs") / config.name, folder=True)
    bar = None if "ipykernel" not in sys.modules else True
    session = Session(on_epoch, bar if verbose else False)
    with cluster.interruptible(), _log_shown() if verbose else contextlib.nullcontext():
        run.train_and_score(config, folder, session=session)
    return TrainedRun(folder)


@contextlib.contextmanager
def _log_shown() -> Iterator[None]:
    """Send this package's log to standard error meanwhile."""
    lines, before = Lines(), logging.get_verbosity()
    standard_logging.root.addHandler(lines)
    logging.set_verbosity(logging.INFO)
    try:
        yield
    finally:
        logging.set_verbosity(before)
        standard_logging.root.removeHandler(lines)


def load(workdir: str | os.PathLike, checkpoint: str = "best") -> TrainedRun:
    """A run that was trained before; UserError where `workdir` holds none."""
    environment.init()
    folder = files.expand(workdir)
    run.load_run(folder, checkpoint)
    return TrainedRun(folder, checkpoint)
