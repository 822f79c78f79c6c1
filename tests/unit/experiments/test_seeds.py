"""Several seeds in one program are the runs of each seed alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import default
from fer_jax import result as results
from fer_jax.data import identity
from fer_jax.data.examples import Examples
from fer_jax.errors import UserError
from fer_jax.experiments import seeds
from fer_jax.experiments.run import load_run
from fer_jax.training import metric_log, setup, step
from fer_jax.training.program import TrainProgram
from tests import datasets

SEEDS = (3, 4)


@pytest.fixture
def config():
    config = default.get_config()
    config.seed, config.batch_size, config.input.size, config.parallel.steps_per_dispatch = 3, 8, 16, 2
    config.model.args = ConfigDict({"block_features": (8,)})
    config.optim.name, config.optim.averaging, config.optim.ema_decay = "sgd", "ema", 0.9
    # Whole numbers, scaled by a factor alone: inputs that do not depend on how a compiler rounds float32.
    config.augment.erase, config.input.scaling = 0.5, "unit"
    config.data.pipeline = "device"
    return config


def test_one_step_of_all_is_one_step_of_each_in_float64(config):
    rng = np.random.default_rng(0)
    examples = Examples(
        images=rng.integers(0, 256, (24, 16, 16, 1), dtype=np.uint8),
        split=np.full(24, "Training"),
        labels=rng.integers(0, 7, 24, dtype=np.int32),
        label_names=tuple("abcdefg"),
    )

    def stepped(seeds_):
        """The states and metrics after one step, and the states before it."""
        setups = []
        for seed in seeds_:
            of_one = config.copy_and_resolve_references()
            of_one.seed = seed
            setups.append(setup.create(of_one, 7))
        program = TrainProgram(setups[0], examples, seeds_, 1, devices=jax.devices()[:2])
        program.load([jax.tree.map(as_float64, made.fresh_state()) for made in setups])
        metrics = program.run(next(program.feeds(0, 1)))
        return jax.device_get((program.states(), metrics))

    def as_float64(leaf):
        return np.asarray(leaf, np.float64 if leaf.dtype == jnp.float32 else leaf.dtype)

    with jax.enable_x64(True):
        states, metrics = stepped(SEEDS)
        assert metrics["loss"].shape == (1, len(SEEDS))
        for i, seed in enumerate(SEEDS):
            [own_state], own_metrics = stepped([seed])
            np.testing.assert_allclose(metrics["loss"][:, i], own_metrics["loss"][:, 0], rtol=1e-12, atol=1e-12)
            for ours, expected in zip(jax.tree.leaves(states[i]), jax.tree.leaves(own_state), strict=True):
                np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)
    kernels = [state.params["stem1_conv"]["kernel"] for state in states]
    assert not np.array_equal(*kernels)


def test_each_seed_leaves_its_run_and_all_their_mean(config, tmp_path, monkeypatch):
    config.seeds, config.epochs, config.data.source, config.data.args.examples = 2, 1, "synthetic", 70
    config.data.cache_dir = str(tmp_path / "cache")
    result = seeds.train_and_score_seeds(config, tmp_path / "run")
    assert result == results.read(tmp_path / "run")
    accuracies = []
    for seed in SEEDS:
        own = results.read(tmp_path / f"run/seed_{seed}")
        assert own.seed == seed
        accuracies.append(own.splits["PrivateTest"]["accuracy"])
        [row] = metric_log.read_metrics(tmp_path / f"run/seed_{seed}")
        assert row["PublicTest_accuracy"] == own.splits["PublicTest"]["accuracy"]
    found = result.splits["PrivateTest"]
    assert found["mean_accuracy"] == pytest.approx(np.mean(accuracies))
    assert found["std_accuracy"] == pytest.approx(np.std(accuracies, ddof=1))
    # Once more: finished runs are read, not trained.
    monkeypatch.setattr(step, "make_train_step", None)
    assert seeds.train_and_score_seeds(config, tmp_path / "run").splits == result.splits


def test_splits_are_drawn_once_for_all_seeds(config, tmp_path):
    config.seeds, config.epochs, config.data.source, config.data.cache_dir = 2, 1, "folder", str(tmp_path / "cache")
    counts = {"train": 10, "test": 3}  # as Kaggle's: the selection split is carved
    config.data.path = str(datasets.write_folder(tmp_path / "faces", counts=counts, size=16))
    seeds.train_and_score_seeds(config, tmp_path / "run")
    of_all, *of_each = (identity.load(tmp_path / "run" / name) for name in ("", "seed_3", "seed_4"))
    assert {name: split["examples"] for name, split in of_all.splits.items()} == {
        "PrivateTest": 9,
        "Training": 27,
        "PublicTest": 3,
    }
    for own in of_each:
        assert own.difference(of_all) == ""
    with pytest.raises(UserError, match=r"run holds 2 runs, not one: give one of them, such as .*seed_3"):
        load_run(tmp_path / "run")
    assert load_run(tmp_path / "run/seed_4").result.seed == 4
