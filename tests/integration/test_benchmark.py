"""The benchmark command, at a size that takes seconds."""

import json


def test_training_steps_are_measured(command):
    done = command("tools.benchmark", "step", "--config=configs/quickstart.py", "--batch=16", "--steps=2", "--json",
                   "--runs=2", "--seconds=0.1", "--config.data.examples=70",
                   "--config.model.args={'block_features': (8,)}")
    record = json.loads(done.stdout)
    assert record["batch"] == 16
    assert len(record["runs"]) == 2
    assert record["images_per_s"] > 0
    assert {"jax", "device"} <= set(record["versions"])


def test_what_cannot_be_measured_is_one_line(command):
    done = command("tools.benchmark", "speed", check=False)
    assert done.returncode == 2
    assert done.stderr == "error: 'speed' cannot be measured: expected step, scaling, serve\n"
