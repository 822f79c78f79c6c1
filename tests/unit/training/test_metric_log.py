"""Rows of metrics in JSON lines, csv and loggers by name, also after a resume."""

import csv
import sys
import types

import pytest

from configs import default
from fer_jax.errors import UserError
from fer_jax.training.metric_log import MetricWriter, read_metrics
from tests.conftest import REPOSITORY, run_python


def writer_of(workdir, step, *loggers):
    config = default.get_config()
    config.log = loggers or ("tensorboard",)
    return MetricWriter(workdir, step, config)


def rows(n):
    return [{"epoch": i, "step": 10 * i, "loss": 1 / i} for i in range(1, n + 1)]


def written(workdir):
    """What is logged in JSON lines, whose steps the csv has too."""
    with (workdir / "metrics.csv").open(encoding="utf-8") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    found = read_metrics(workdir)
    assert [row["step"] for row in found] == steps
    return found


def test_rows_are_in_json_and_csv_and_events_and_resuming_drops_what_will_be_written_again(tmp_path):
    writer = writer_of(tmp_path, 0)
    for row in rows(3):
        writer.write(row)
    writer.close()
    assert written(tmp_path) == rows(3)
    assert [p.name.startswith("events.out.tfevents") for p in (tmp_path / "events").iterdir()] == [True]
    with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"epoch": 4, "st')  # cut short by a kill
    writer = writer_of(tmp_path, 20)
    writer.write(rows(3)[2])
    writer.close()
    assert written(tmp_path) == rows(3)


class Recorder:
    """Stands for a logging service: a module whose calls are recorded, and its run."""

    def __init__(self):
        self.calls = []
        self.id = "run-1"
        self.info = types.SimpleNamespace(run_id="run-1")

    def __getattr__(self, name):
        def call(*arguments, **named):
            self.calls.append((name, arguments, named))
            return self

        return call

    def named(self, name):
        return [(arguments, named) for called, arguments, named in self.calls if called == name]


@pytest.mark.parametrize(("name", "start", "given"), [("wandb", "init", "id"), ("mlflow", "start_run", "run_id")])
def test_a_logger_gets_the_rows_and_goes_on_with_its_run_after_a_resume(tmp_path, monkeypatch, name, start, given):
    monkeypatch.setitem(sys.modules, name, recorder := Recorder())
    for step in (0, 10):
        writer = writer_of(tmp_path, step, name)
        writer.write({"epoch": 1, "step": step + 10, "loss": 0.5, "absent": None})
        writer.close()
    assert [named[given] for _, named in recorder.named(start)] == [None, "run-1"]
    logged = recorder.named("log" if name == "wandb" else "log_metrics")
    assert logged == [(({"epoch": 1, "loss": 0.5},), {"step": step}) for step in (10, 20)]
    assert len(recorder.named("finish" if name == "wandb" else "end_run")) == 2
    assert not (tmp_path / "events").exists()


def test_a_logger_whose_package_is_absent_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"config\.log has wandb, which needs the package wandb: pip install wandb, or"):
        writer_of(tmp_path, 0, "wandb")


def test_a_logger_that_does_not_start_is_one_line(tmp_path, monkeypatch):
    def init(**_):
        raise RuntimeError("api_key not configured\nrun wandb login")

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    meant = r"config\.log has wandb, which does not start \(api_key not configured run wandb login\): set it up, or"
    monkeypatch.setitem(sys.modules, "mlflow", recorder := Recorder())
    with pytest.raises(UserError, match=meant):
        writer_of(tmp_path, 0, "mlflow", "wandb")
    assert len(recorder.named("end_run")) == 1, "the one that had started"


@pytest.mark.parametrize("call", ["write(rows(1)[0])", "close()"])
def test_a_full_disk_is_one_line_with_the_path(tmp_path, call):
    """In a process of its own, whose exit would write the events again."""
    code = """if True:
        import errno, pathlib, sys
        from tensorboardX.event_file_writer import EventsWriter
        from fer_jax import cli
        from tests.unit.training.test_metric_log import rows, writer_of

        def full(self):
            raise OSError(errno.ENOSPC, "No space left on device")

        writer = writer_of(pathlib.Path(sys.argv[1]), 0)
        EventsWriter.flush = full
        with cli.one_line_errors():
            writer."""
    done = run_python("-c", code + call, tmp_path, cwd=REPOSITORY)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and str(tmp_path) in line and "No space left" in line
