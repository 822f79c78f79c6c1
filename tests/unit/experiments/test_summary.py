"""The table of --mode=summary."""

from fer_jax.experiments import summary
from fer_jax.models import registry
from fer_jax.models.network import layer_groups


def test_table_of_a_small_network():
    lines = summary.table(registry.create("jaffe_basic", 7), (128, 128, 3)).splitlines()
    assert lines[0] == "JaffeBasic, input (128, 128, 3), 7 classes"
    assert "conv2 (Conv)                                    (None, 13, 13, 15)               1,890" in lines
    assert lines[-3:-1] == ["Parameters: 37,349 (0.1 MiB in float32)", "Trainable: 37,349"]
    assert lines[-1] == "Not trainable: 0 (0 statistics of BatchNorm, 0 frozen)"
    wide = summary.table(registry.create("resnet18", 7), (1024, 1024, 3))
    assert "  (None, 1024, 1024, 64)  " in wide
    assert max(map(len, [*lines, *wide.splitlines()])) <= summary.WIDTH


def test_statistics_and_frozen_layers_are_not_trainable():
    model = registry.create("mini_xception", 7)
    lines = summary.table(model, (48, 48, 1), layer_groups(model, (48, 48, 1), "classes")).splitlines()
    assert lines[-3:] == [
        "Parameters: 58,423 (0.2 MiB in float32)",
        "Trainable: 8,071",
        "Not trainable: 50,352 (0 statistics of BatchNorm, 50,352 frozen)",
    ]
    assert lines[3].endswith("frozen")
    lines = summary.table(model, (48, 48, 1)).splitlines()
    assert lines[-1] == "Not trainable: 1,472 (1,472 statistics of BatchNorm, 0 frozen)"
    assert not lines[3].endswith("frozen")
