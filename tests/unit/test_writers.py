import csv

from fer_jax.writers import MetricWriter, read_metrics


def rows(n):
    return [{"epoch": i, "step": 10 * i, "loss": 1 / i} for i in range(1, n + 1)]


def test_rows_are_in_json_and_csv_and_events(tmp_path):
    writer = MetricWriter(tmp_path, 0)
    for row in rows(3):
        writer.write(row)
    writer.close()
    assert read_metrics(tmp_path) == rows(3)
    with (tmp_path / "metrics.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [10, 20, 30]
    assert [p.name.startswith("events.out.tfevents") for p in (tmp_path / "events").iterdir()] == [True]


def test_resuming_drops_what_will_be_written_again(tmp_path):
    writer = MetricWriter(tmp_path, 0)
    for row in rows(3):
        writer.write(row)
    writer.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 4, "st')  # cut short by a kill
    writer = MetricWriter(tmp_path, 20)
    writer.write(rows(3)[2])
    writer.close()
    assert read_metrics(tmp_path) == rows(3)
    with (tmp_path / "metrics.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [10, 20, 30]
