"""Checkpoints of a run: orbax writes the arrays, a small json beside them holds the host's state.

    checkpoints/00000224/arrays/...      orbax
                         host.json       `Progress`
                         checksums.json  sha256 of every other file, written last

A background thread writes a step's folder to a temporary path and renames it when it is complete, so a folder with a
number for a name is whole unless the disk failed later. Checksums are verified before it is used, and a damaged one is
passed over for the one before it. The newest `KEPT` stay, and the best beside them.

The state is the same on every device of every process, so the primary process alone writes and reads it, and sends what
it read to the others. The folder need not be shared between hosts, and the writing thread never waits for another
process, which could itself be waiting in a collective of the next step.
"""

import concurrent.futures
import dataclasses
import json
import logging as standard_logging
import math
import pathlib
import shutil
from typing import Any

import flax.serialization
import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fer_jax import files
from fer_jax.distributed import cluster
from fer_jax.errors import UserError
from fer_jax.models.network import Network
from fer_jax.training import setup
from fer_jax.training.setup import TrainState

ARRAYS, HOST, CHECKSUMS = "arrays", "host.json", "checksums.json"
KEPT = 2  # newest checkpoints
FORMAT = 1  # of a checkpoint's folder and of the host's state in it


@dataclasses.dataclass
class Progress:
    """The host's part of a checkpoint: how far a run has come.

    Attributes:
      step: steps done.
      epoch: whole epochs done.
      epoch_loss, epoch_correct: sums over the steps of the epoch begun (float64 of the steps' mean losses; examples).
      examples: training examples seen.
      best_score: of `config.eval.select_by`, signed so that more is better.
      best_epoch, best_step: where it was reached; -1 before the first evaluation.
      waited: evaluations since then.
      lr_scale: factor of the learning rate that the plateau schedule has led to.
      finished: no epoch is left, or early stopping ended the run.
      seconds: wall clock by phase, over all sessions of the run.
      label_names: in the order of the logits.
      fingerprint: of the examples, see `fer_jax.data.identity`; "" where none was taken.
    """

    step: int = 0
    epoch: int = 0
    epoch_loss: float = 0.0
    epoch_correct: float = 0.0
    examples: int = 0
    best_score: float = -math.inf
    best_epoch: int = -1
    best_step: int = -1
    waited: int = 0
    lr_scale: float = 1.0
    finished: bool = False
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    label_names: tuple[str, ...] = ()
    fingerprint: str = ""


class Checkpoints:
    """The checkpoints of one workdir."""

    def __init__(self, workdir: pathlib.Path):
        """Nothing is read or written yet."""
        self.folder = pathlib.Path(workdir) / "checkpoints"
        self._writer = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing: concurrent.futures.Future | None = None

    def steps(self) -> list[int]:
        """Steps of the checkpoints on disk, ascending."""
        return sorted(int(p.name) for p in self.folder.glob("[0-9]*") if p.name.isdigit() and p.is_dir())

    def save(self, state: TrainState, progress: Progress) -> None:
        """Write the state and the progress in the background.

        Waits for the previous write, and raises what that one raised. Does nothing except in the primary process.
        """
        if not cluster.is_primary():
            return
        self.wait()
        # Copied before training continues: the step donates its state.
        arrays = jax.device_get(flax.serialization.to_state_dict(state))
        self._writing = self._writer.submit(self._write, int(arrays["step"]), arrays, dataclasses.asdict(progress))

    def wait(self) -> None:
        """Return when the last `save` is on disk; UserError when it could not be written."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def close(self) -> None:
        """Finish writing and end the thread."""
        try:
            self.wait()
        finally:
            self._writer.shutdown()

    def _write(self, step: int, arrays: Any, host: dict[str, Any]) -> None:
        try:
            with files.atomic_path(self.folder / f"{step:08d}") as tmp:
                tmp.mkdir(parents=True, exist_ok=True)
                with _checkpointer() as checkpointer:
                    checkpointer.save(tmp.absolute() / ARRAYS, arrays)
                files.write_json(tmp / HOST, {"format": FORMAT} | host)
                sums = {str(p.relative_to(tmp)): files.sha256(p) for p in sorted(tmp.rglob("*")) if p.is_file()}
                files.write_json(tmp / CHECKSUMS, sums)
        except (OSError, ValueError) as error:  # tensorstore's are ValueErrors
            whole = [old for old in self.steps() if self.damage(old) is None]
            kept = f"the checkpoint of step {whole[-1]} is whole" if whole else "there is no other checkpoint"
            reason = str(error).splitlines()[0].rpartition('": ')[2]  # tensorstore names its own files first
            raise UserError(
                f"the checkpoint of step {step} could not be written to {self.folder} ({reason}); {kept}: "
                "make room and run the same command again"
            ) from error
        # Steps after this one are damaged ones that were passed over: they do not count as kept.
        for old in [old for old in self.steps() if old <= step][:-KEPT]:
            if old != host["best_step"]:
                shutil.rmtree(self.folder / f"{old:08d}")

    def restore(self, template: TrainState, step: int | None = None) -> tuple[TrainState, Progress] | None:
        """(state, progress) of `step`, or of the newest that is whole; None without one.

        The primary process reads; all must call.

        Args:
          template: a state of the same structure and shapes; the result's leaves are numpy arrays.

        Raises:
          UserError: when `step` is damaged or absent, or the checkpoint is of another format, network or optimizer.
        """
        found = cluster.run_on_primary(lambda: self._restore(template, step))
        if found is None:
            return None
        arrays, progress = found
        restored: Any = flax.serialization.from_state_dict(template, arrays)
        return restored, progress

    def newest(self) -> Progress | None:
        """Progress of the newest checkpoint that is whole, in every process; None without one."""
        return cluster.run_on_primary(
            lambda: next((self._progress(step) for step in reversed(self.steps()) if self.damage(step) is None), None)
        )

    def _restore(self, template: TrainState, step: int | None) -> tuple[Any, Progress] | None:
        for candidate in [step] if step is not None else reversed(self.steps()):
            if (damage := self.damage(candidate)) is None:
                return self._read(candidate, template), self._progress(candidate)
            if step is not None:
                raise UserError(f"checkpoint {self.folder / f'{candidate:08d}'}: {damage}")
            logging.warning("checkpoint %s is passed over: %s", self.folder / f"{candidate:08d}", damage)
        return None

    def damage(self, step: int) -> str | None:
        """Describe what is wrong with the files of a checkpoint; None if they are whole."""
        folder = self.folder / f"{step:08d}"
        try:
            sums = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            return f"{CHECKSUMS} cannot be read ({error.__class__.__name__})"
        for name, expected in sums.items():
            if not (folder / name).is_file():
                return f"{name} is missing"
            if files.sha256(folder / name) != expected:
                return f"{name} has changed since it was written"
        return None

    def _progress(self, step: int) -> Progress:
        host = json.loads((self.folder / f"{step:08d}" / HOST).read_text(encoding="utf-8"))
        if (found := host.pop("format", None)) != FORMAT:
            raise UserError(
                f"checkpoint {self.folder / f'{step:08d}'} has format {found}, expected {FORMAT}: use the "
                "version of fer_jax that wrote it, or another --workdir"
            )
        return Progress(**host | {"label_names": tuple(host["label_names"])})

    def _read(self, step: int, template: TrainState) -> Any:
        import orbax.checkpoint as ocp

        path = self.folder.absolute() / f"{step:08d}" / ARRAYS
        with _checkpointer() as checkpointer:
            # Restored as saved and compared afterwards, so that a difference can be named.
            metadata = checkpointer.metadata(path).item_metadata.tree
            as_saved = jax.tree.map(lambda m: np.empty(m.shape, m.dtype), metadata)
            arrays = checkpointer.restore(path, args=ocp.args.StandardRestore(as_saved))
        expected = _shapes(flax.serialization.to_state_dict(template))
        found = _shapes(arrays)
        if expected != found:
            name = sorted(expected.items() ^ found.items())[0][0]
            raise UserError(
                f"checkpoint {self.folder / f'{step:08d}'} is of another network or optimizer: {name} is "
                f"{found.get(name, 'absent')}, expected {expected.get(name, 'absent')}; "
                "use another --workdir"
            )
        return arrays


def restore_best(config: ConfigDict, workdir: pathlib.Path, which: str) -> tuple[Network, TrainState, Progress]:
    """(model, state, progress) of a run's "best" or "last" checkpoint; UserError without one."""
    if which not in ("best", "last"):
        raise UserError(f"unknown checkpoint {which!r}: expected best or last")
    checkpoints = Checkpoints(workdir)
    newest = checkpoints.newest()
    if newest is None:
        raise UserError(f"{workdir} has no whole checkpoint: train first with fer-jax train --workdir={workdir}")
    if which == "best" and newest.best_step < 0:
        raise UserError(f"{workdir} has not been evaluated yet, so no checkpoint is the best: train on, or choose last")
    made = setup.create(config, len(newest.label_names))
    step = newest.best_step if which == "best" else newest.step
    restored = checkpoints.restore(made.state_shapes, step)
    if restored is None:
        raise UserError(f"{workdir} has no checkpoint of step {step}: train on, or choose last")
    return made.inference_model, *restored


def _not_orbax(record: standard_logging.LogRecord) -> bool:
    return "orbax" not in record.pathname


def _checkpointer() -> Any:
    """Orbax as if this were the only process, without its log of a traceback: errors are a line here."""
    import orbax.checkpoint as ocp

    logging.get_absl_logger().addFilter(_not_orbax)  # added once, however often
    options = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0}, barrier_sync_key_prefix="first")
    handler = ocp.StandardCheckpointHandler(multiprocessing_options=options)
    return ocp.Checkpointer(handler, multiprocessing_options=options)


def _shapes(tree: Any) -> dict[str, tuple[tuple[int, ...], str]]:
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): (x.shape, str(x.dtype)) for path, x in leaves}
