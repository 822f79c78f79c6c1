"""Metrics of a run as it goes: one row an evaluation as json and csv, and to loggers by name."""

import contextlib
import csv
import json
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from fer_jax import files
from fer_jax.errors import UserError

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
    """Appends rows to metrics.jsonl and metrics.csv of a workdir, and to the loggers of `config.log`."""

    def __init__(self, workdir: pathlib.Path, step: int, config: ConfigDict):
        """Rows after `step` are dropped: a resumed run will write them again.

        Raises UserError for a logger that does not start, after closing those that did.
        """
        self._workdir = pathlib.Path(workdir)
        self._loggers = []
        with contextlib.ExitStack() as opened:
            for name in config.log:
                self._loggers.append(_opened(name, self._workdir, step, config))
                opened.callback(self._loggers[-1].close)
            self._opened = opened.pop_all()
        rows = [row for row in read_metrics(workdir) if row["step"] <= step]
        with files.atomic_path(self._workdir / JSONL) as tmp:
            tmp.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        with files.atomic_path(self._workdir / CSV) as tmp:
            tmp.touch()
            for row in rows:
                _append_csv(tmp, row)

    def write(self, row: dict[str, Any]) -> None:
        """Add one row; it must have "step", and the keys of those before.

        OSError with the workdir's path where nothing more can be written.
        """
        with self._named_errors():
            with (self._workdir / JSONL).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            _append_csv(self._workdir / CSV, row)
            values = {name: value for name, value in row.items() if name != "step" and value is not None}
            for logger in self._loggers:
                logger.write(values, row["step"])

    def close(self) -> None:
        """Close the loggers; OSError as `write`."""
        with self._named_errors():
            self._opened.close()

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # an open file that is full does not name itself
            raise OSError(error.errno, error.strerror, str(self._workdir)) from error


def _append_csv(path: pathlib.Path, row: dict[str, Any]) -> None:
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, row)
        if not file.tell():
            writer.writeheader()
        writer.writerow(row)


class Logger(NamedTuple):
    """A destination of metrics besides the run's folder: what adds (values, step), and what closes it."""

    write: Callable[[dict[str, Any], int], Any]
    close: Callable[[], Any]


def _tensorboard(workdir: pathlib.Path, step: int, config: ConfigDict) -> Logger:
    """Events in the run's folder.

    Not by tensorboardX' SummaryWriter, whose thread and exit handler write again after the disk was full.
    """
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto import event_pb2
    from tensorboardX.summary import scalar

    (workdir / "events").mkdir(parents=True, exist_ok=True)
    proto: Any = event_pb2  # its classes are made when it is imported
    events = EventsWriter(str(workdir / "events" / "events"))
    if step:  # what an interrupted session wrote from here on does not count
        start = proto.SessionLog(status=proto.SessionLog.START)
        events.write_event(proto.Event(wall_time=time.time(), step=step + 1, session_log=start))

    def write(values: dict[str, Any], step: int) -> None:
        for name, value in values.items():
            events.write_event(proto.Event(wall_time=time.time(), step=step, summary=scalar(name, value)))
        events.flush()

    return Logger(write, events.close)


def _wandb(workdir: pathlib.Path, step: int, config: ConfigDict) -> Logger:
    """A run of Weights & Biases; WANDB_MODE, WANDB_PROJECT and its other variables say where it goes."""
    import wandb  # pyright: ignore[reportMissingImports]

    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "fer_jax"),
        name=config.name,
        dir=str(workdir),
        config=config.to_dict(),
        id=_kept_id(workdir, "wandb", step),
        resume="allow",
    )
    _keep_id(workdir, "wandb", run.id)
    return Logger(lambda values, step: run.log(values, step=step), run.finish)


def _mlflow(workdir: pathlib.Path, step: int, config: ConfigDict) -> Logger:
    """A run of MLflow; MLFLOW_TRACKING_URI says where it goes."""
    import mlflow  # pyright: ignore[reportMissingImports]

    kept = _kept_id(workdir, "mlflow", step)
    run = mlflow.start_run(run_id=kept, run_name=None if kept else config.name)
    _keep_id(workdir, "mlflow", run.info.run_id)
    if not kept:
        mlflow.log_params({key: value for key, value in config.to_dict().items() if not isinstance(value, dict)})
        mlflow.log_dict(json.loads(config.to_json()), "config.json")
    return Logger(lambda values, step: mlflow.log_metrics(values, step=step), mlflow.end_run)


# Each imports its package when it is called.
LOGGERS = {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow}


def _opened(name: str, workdir: pathlib.Path, step: int, config: ConfigDict) -> Logger:
    try:
        return LOGGERS[name](workdir, step, config)
    except ModuleNotFoundError as error:
        raise UserError(
            f"config.log has {name}, which needs the package {error.name}: pip install {error.name}, or leave it out"
        ) from None
    except (OSError, UserError):  # say a full disk themselves
        raise
    except Exception as error:  # of the package: no login, a server that does not answer, a store that it refuses
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"config.log has {name}, which does not start ({reason}): set it up, or leave it out"
        ) from error


def _kept_id(workdir: pathlib.Path, name: str, step: int) -> str | None:
    """The id under which a logger knows the run that is resumed at `step`; None of one that starts."""
    path = workdir / f"{name}.id"
    return path.read_text(encoding="utf-8").strip() if step and path.is_file() else None


def _keep_id(workdir: pathlib.Path, name: str, value: str) -> None:
    with files.atomic_path(workdir / f"{name}.id") as tmp:
        tmp.write_text(value, encoding="utf-8")
