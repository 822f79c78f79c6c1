"""Rows of metrics in JSON lines, csv and TensorBoard events, also after a resume."""

import csv

from fer_jax.training.metric_log import MetricWriter, read_metrics


def rows(n):
    return [{"epoch": i, "step": 10 * i, "loss": 1 / i} for i in range(1, n + 1)]


def test_rows_are_in_json_and_csv_and_events(tmp_path):
    writer = MetricWriter(tmp_path, 0)
    for row in rows(3):
        writer.write(row)
    writer.close()
    assert read_metrics(tmp_path) == rows(3)
    with (tmp_path / "metrics.csv").open(encoding="utf-8") as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [10, 20, 30]
    assert [p.name.startswith("events.out.tfevents") for p in (tmp_path / "events").iterdir()] == [True]


def test_resuming_drops_what_will_be_written_again(tmp_path):
    writer = MetricWriter(tmp_path, 0)
    for row in rows(3):
        writer.write(row)
    writer.close()
    with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"epoch": 4, "st')  # cut short by a kill
    writer = MetricWriter(tmp_path, 20)
    writer.write(rows(3)[2])
    writer.close()
    assert read_metrics(tmp_path) == rows(3)
    with (tmp_path / "metrics.csv").open(encoding="utf-8") as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [10, 20, 30]


def test_a_run_begun_by_an_older_version_gets_the_new_columns(tmp_path):
    writer = MetricWriter(tmp_path, 0)
    writer.write({"step": 1, "loss": 2.0})
    writer.write({"step": 2, "loss": 1.0, "share": 0.9})
    writer.write({"step": 3, "loss": 0.5, "share": 0.8})
    writer.close()
    with (tmp_path / "metrics.csv").open(encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["step", "loss", "share"],
            ["1", "2.0", ""],
            ["2", "1.0", "0.9"],
            ["3", "0.5", "0.8"],
        ]
