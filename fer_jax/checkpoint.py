"""Checkpoints of a run: orbax writes the arrays, a small json beside them holds the host's state.

    checkpoints/00000224/arrays/...      orbax
                         host.json       best score, counters, seconds, examples, ...
                         checksums.json  sha256 of every other file, written last

A step's folder is written aside by a background thread and renamed when it is complete, so a folder with a number for
a name is whole unless the disk failed later; checksums are verified before it is used, and a damaged one is passed
over for the one before it. The newest `keep` are kept, and the best beside them.
"""

from __future__ import annotations

import concurrent.futures
import json
import pathlib
import shutil
from typing import Any

import flax.serialization
import jax
import numpy as np
from absl import logging

from fer_jax import files
from fer_jax.errors import UserError
from fer_jax.state import TrainState

ARRAYS, HOST, CHECKSUMS = "arrays", "host.json", "checksums.json"


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

        Waits for the write before it, and raises what that one raised.
        """
        self.wait()
        # Copied before training goes on: the step donates its state.
        arrays = jax.device_get(flax.serialization.to_state_dict(state))
        self._writing = self._writer.submit(self._write, int(state.step), arrays, dict(host))

    def wait(self) -> None:
        """Return when the last `save` is on disk; raises what it raised."""
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
        import orbax.checkpoint as ocp

        with files.atomic_path(self.folder / f"{step:08d}") as aside:
            aside.mkdir(parents=True, exist_ok=True)
            with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
                checkpointer.save(aside.absolute() / ARRAYS, arrays)
            files.write_json(aside / HOST, host)
            sums = {str(p.relative_to(aside)): files.sha256(p) for p in sorted(aside.rglob("*")) if p.is_file()}
            files.write_json(aside / CHECKSUMS, sums)
        for old in self.steps()[:-self._keep]:
            if old != host.get("best_step"):
                shutil.rmtree(self.folder / f"{old:08d}")

    def restore(self, template: TrainState, step: int | None = None) -> tuple[TrainState, dict[str, Any]] | None:
        """(state, host) of `step`, or of the newest that is whole; None when there is none.

        Args:
          template: a state of the same structure and shapes; the result's leaves are numpy arrays.

        Raises:
          UserError: when `step` is damaged or absent, or the checkpoint is of another network or optimiser.
        """
        for candidate in [step] if step is not None else reversed(self.steps()):
            damage = self.damage(candidate)
            if damage is None:
                return self._read(candidate, template)
            if step is not None:
                raise UserError(f"checkpoint {self.folder / f'{candidate:08d}'}: {damage}")
            logging.warning("checkpoint %s is passed over: %s", self.folder / f"{candidate:08d}", damage)
        return None

    def damage(self, step: int) -> str | None:
        """What is wrong with the files of a checkpoint, or None."""
        folder = self.folder / f"{step:08d}"
        try:
            sums = json.loads((folder / CHECKSUMS).read_text())
        except (OSError, ValueError) as error:
            return f"{CHECKSUMS} cannot be read ({error.__class__.__name__})"
        for name, expected in sums.items():
            if not (folder / name).is_file():
                return f"{name} is missing"
            if files.sha256(folder / name) != expected:
                return f"{name} has changed since it was written"
        return None

    def host(self, step: int) -> dict[str, Any]:
        """The json beside a checkpoint's arrays."""
        return json.loads((self.folder / f"{step:08d}" / HOST).read_text())

    def _read(self, step: int, template: TrainState) -> tuple[TrainState, dict[str, Any]]:
        import orbax.checkpoint as ocp

        path = self.folder.absolute() / f"{step:08d}" / ARRAYS
        with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
            # Restored as saved and compared afterwards, so that a difference can be named.
            metadata = checkpointer.metadata(path).item_metadata.tree
            as_saved = jax.tree.map(lambda m: np.empty(m.shape, m.dtype), metadata)
            arrays = checkpointer.restore(path, args=ocp.args.StandardRestore(as_saved))
        expected = _shapes(flax.serialization.to_state_dict(template))
        found = _shapes(arrays)
        if expected != found:
            name = sorted(expected.items() ^ found.items())[0][0]
            raise UserError(f"checkpoint {self.folder / f'{step:08d}'} is of another network or optimiser: {name} is "
                            f"{found.get(name, 'absent')}, expected {expected.get(name, 'absent')}; "
                            "use another --workdir")
        return flax.serialization.from_state_dict(template, arrays), self.host(step)


def _shapes(tree: Any) -> dict[str, tuple[tuple[int, ...], str]]:
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): (x.shape, str(x.dtype))
            for path, x in leaves}
