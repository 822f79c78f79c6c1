"""What a run writes down as it goes: one row an evaluation as json, csv and TensorBoard events, and a progress bar."""

from __future__ import annotations

import csv
import json
import pathlib
from typing import Any

from fer_jax import files

JSONL, CSV = "metrics.jsonl", "metrics.csv"


def read_metrics(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """The rows of `metrics.jsonl` in order; [] when there is none. A last line cut short by a crash is left out."""
    path = pathlib.Path(workdir) / JSONL
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


class MetricWriter:
    """Appends rows to metrics.jsonl, metrics.csv and TensorBoard events of a workdir."""

    def __init__(self, workdir: pathlib.Path, step: int):
        """Rows after `step` are dropped: a resumed run will write them again."""
        from tensorboardX import SummaryWriter

        self._workdir = pathlib.Path(workdir)
        self._rows = [row for row in read_metrics(workdir) if row["step"] <= step]
        self._rewrite()
        self._events = SummaryWriter(str(self._workdir / "events"), purge_step=step + 1 if step else None)

    def write(self, row: dict[str, Any]) -> None:
        """Add one row; it must have "step". A key that no row had before becomes a column, empty in those."""
        self._rows.append(row)
        if not row.keys() <= self._columns.keys():  # the first row, or a run begun by an older version
            self._rewrite()
        else:
            with (self._workdir / JSONL).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            with (self._workdir / CSV).open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self._columns).writerow(row)
        for name, value in row.items():
            if name != "step" and value is not None:
                self._events.add_scalar(name, value, row["step"])
        self._events.flush()

    def _rewrite(self) -> None:
        self._columns = dict.fromkeys(key for row in self._rows for key in row)
        with files.atomic_path(self._workdir / JSONL) as tmp:
            tmp.write_text("".join(json.dumps(row) + "\n" for row in self._rows), encoding="utf-8")
        with files.atomic_path(self._workdir / CSV) as tmp, tmp.open("w", newline="", encoding="utf-8") as file:
            if self._rows:
                writer = csv.DictWriter(file, self._columns)
                writer.writeheader()
                writer.writerows(self._rows)

    def close(self) -> None:
        """Close the event file."""
        self._events.close()


class NullWriter:
    """Stands for `MetricWriter` on the processes that do not write."""

    def write(self, row: dict[str, Any]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""
