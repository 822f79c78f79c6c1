"""Checkpoints of a run: orbax writes the arrays, a small json beside them holds the host's state.

    checkpoints/00000224/arrays/...      orbax
                         host.json       best score, counters, seconds, examples, ...
                         checksums.json  sha256 of every other file, written last

A background thread writes a step's folder to a temporary path and renames it when it is complete, so a folder with a
number for a name is whole unless the disk failed later. Checksums are verified before it is used, and a damaged one is
passed over for the one before it. The newest `keep` are kept, and the best beside them.

The state is the same on every device of every process, so the primary process alone writes and reads it, and sends what
it read to the others. The folder need not be shared between hosts, and the writing thread never waits for another
process, which could itself be waiting in a collective of the next step.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import logging as standard_logging
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import flax.serialization
import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fer_jax import files
from fer_jax.distributed import cluster
from fer_jax.errors import UserError
from fer_jax.training.state import TrainState

ARRAYS, HOST, CHECKSUMS = "arrays", "host.json", "checksums.json"
FORMAT = 1  # of a checkpoint's folder and of the host's state in it


class Policy:
    """When a checkpoint is due: every N epochs, steps or minutes, whichever comes first."""

    def __init__(
        self, config: ConfigDict, steps_per_epoch: int, step: int, clock: Callable[[], float] = time.monotonic
    ):
        """`config` is the run's `config.checkpoint`, `step` that of the checkpoint the run continues from, or 0."""
        self._periods = [steps for steps in (config.every_epochs * steps_per_epoch, config.every_steps) if steps]
        self._seconds, self._clock = config.every_minutes * 60, clock
        self.saved(step)

    def due(self, step: int) -> bool:
        """Whether to save the state of `step`."""
        # Whole periods since step 0: a resumed run saves at the same steps as one that was not interrupted.
        return any(step // period > self.last_step // period for period in self._periods) or (
            bool(self._seconds) and self._clock() - self._last_time >= self._seconds
        )

    def saved(self, step: int) -> None:
        """Note that the state of `step` has been saved."""
        self.last_step, self._last_time = step, self._clock()


class Checkpoints:
    """The checkpoints of one workdir."""

    def __init__(self, workdir: pathlib.Path, keep: int):
        """`keep` is how many of the newest stay on disk."""
        self.folder = pathlib.Path(workdir) / "checkpoints"
        self._keep = keep
        self._writer = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing: concurrent.futures.Future | None = None

    def steps(self) -> list[int]:
        """Steps of the checkpoints on disk, ascending."""
        return sorted(int(p.name) for p in self.folder.glob("[0-9]*") if p.name.isdigit() and p.is_dir())

    def save(self, state: TrainState, host: dict[str, Any]) -> None:
        """Write `state` in the background; `host` is a JSON-able dict whose "best_step" names the best checkpoint.

        Waits for the previous write, and raises what that one raised. Does nothing except in the primary process.
        """
        if not cluster.is_primary():
            return
        self.wait()
        # Copied before training continues: the step donates its state.
        arrays = jax.device_get(flax.serialization.to_state_dict(state))
        self._writing = self._writer.submit(self._write, int(arrays["step"]), arrays, dict(host))

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
            with _orbax_silent(), files.atomic_path(self.folder / f"{step:08d}") as tmp:
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
        for old in [old for old in self.steps() if old <= step][: -self._keep]:
            if old != host.get("best_step"):
                shutil.rmtree(self.folder / f"{old:08d}")

    def restore(self, template: TrainState, step: int | None = None) -> tuple[TrainState, dict[str, Any]] | None:
        """(state, host) of `step`, or of the newest that is whole; None when there is none.

        The primary process reads; all must call.

        Args:
          template: a state of the same structure and shapes; the result's leaves are numpy arrays.

        Raises:
          UserError: when `step` is damaged or absent, or the checkpoint is of another format, network or optimiser.
        """
        found = cluster.run_on_primary(lambda: self._restore(template, step))
        if found is None:
            return None
        arrays, host = found
        return flax.serialization.from_state_dict(template, arrays), host

    def newest(self) -> dict[str, Any] | None:
        """The json beside the newest checkpoint that is whole, in every process; None when there is none."""
        return cluster.run_on_primary(
            lambda: next((self._host(step) for step in reversed(self.steps()) if self.damage(step) is None), None)
        )

    def _restore(self, template: TrainState, step: int | None) -> tuple[Any, dict[str, Any]] | None:
        for candidate in [step] if step is not None else reversed(self.steps()):
            damage = self.damage(candidate)
            if damage is None:
                host = self._host(candidate)
                return self._read(candidate, template), host
            if step is not None:
                raise UserError(f"checkpoint {self.folder / f'{candidate:08d}'}: {damage}")
            logging.warning("checkpoint %s is passed over: %s", self.folder / f"{candidate:08d}", damage)
        return None

    def damage(self, step: int) -> str | None:
        """What is wrong with the files of a checkpoint, or None."""
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

    def _host(self, step: int) -> dict[str, Any]:
        host = json.loads((self.folder / f"{step:08d}" / HOST).read_text(encoding="utf-8"))
        if (found := host.pop("format", None)) != FORMAT:
            raise UserError(
                f"checkpoint {self.folder / f'{step:08d}'} has format {found}, expected {FORMAT}: use the "
                "version of fer_jax that wrote it, or another --workdir"
            )
        return host

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
                f"checkpoint {self.folder / f'{step:08d}'} is of another network or optimiser: {name} is "
                f"{found.get(name, 'absent')}, expected {expected.get(name, 'absent')}; "
                "use another --workdir"
            )
        return arrays


@contextlib.contextmanager
def _orbax_silent() -> Iterator[None]:
    """Suppress Orbax's own log of the traceback: the error is reported in one line here."""

    def ours(record: standard_logging.LogRecord) -> bool:
        return "orbax" not in record.pathname

    logger = logging.get_absl_logger()
    logger.addFilter(ours)
    try:
        yield
    finally:
        logger.removeFilter(ours)


def _checkpointer() -> Any:
    """Orbax as if this were the only process."""
    import orbax.checkpoint as ocp

    options = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0}, barrier_sync_key_prefix="first")
    handler = ocp.StandardCheckpointHandler(multiprocessing_options=options)
    return ocp.Checkpointer(handler, multiprocessing_options=options)


def _shapes(tree: Any) -> dict[str, tuple[tuple[int, ...], str]]:
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): (x.shape, str(x.dtype)) for path, x in leaves}
