"""The SPMD step: the same result whatever wraps it and however many devices share the batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from configs import default
from fer_jax.data import sampler
from fer_jax.models import registry
from fer_jax.training import setup, step
from fer_jax.training.program import TrainProgram

BATCH, STEPS, SIZE = 16, 2, 16


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def config_of(**changes):
    config = default.get_config()
    config.batch_size = BATCH
    config.input.size = SIZE
    # One block instead of four: everything the step meets, in a fraction of the compile time.
    config.model.args = ConfigDict({"block_features": (16,)})
    config.optim.name = "sgd"
    config.optim.learning_rate = 0.05
    config.optim.averaging = "ema"
    config.augment.rotation, config.augment.shift, config.augment.mixup = 10.0, 0.1, 0.2
    config.update_from_flattened_dict(changes)
    return config


class Trainer:
    """A compiled chunk of `steps` steps on the first `devices` devices."""

    def __init__(self, config, examples, devices, steps, dtype=jnp.float32, platform=None):
        made = setup.create(config, 7, 10, 5, platform)
        self.program = TrainProgram(made, examples, steps, devices=jax.devices()[:devices])
        self.load(jax.tree.map(lambda x: x.astype(dtype) if x.dtype == jnp.float32 else x, made.fresh_state()))

    def load(self, state):
        self.program.load(state)

    @property
    def state(self):
        return self.program.state

    def run(self, chunks=1):
        for feed in self.program.feeds(int(self.state.step), chunks):
            metrics = self.program.run(feed)
        return jax.device_get((self.state, metrics))


def differences(a, b):
    return max(
        float(np.max(np.abs(np.asarray(x, np.float64) - np.asarray(y, np.float64)), initial=0))
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def test_pmap_and_shard_map_agree_and_compile_once(examples, caplog):
    results = []
    for api in ("pmap", "shard_map"):
        caplog.clear()
        trainer = Trainer(config_of(**{"parallel.api": api}), examples, 8, STEPS)
        with jax.log_compiles():
            results.append(trainer.run(chunks=3))
        messages = [record.getMessage() for record in caplog.records]
        compiled = [text for text in messages if "Compiling" in text and "chunk" in text]
        compiled = compiled or [text for text in messages if text.startswith("Compiling")]
        assert len(compiled) == 1, compiled
    (a, ma), (b, mb) = results
    assert differences(a, b) == 0
    assert differences(ma, mb) == 0
    assert a.step == 3 * STEPS


def test_one_two_and_eight_devices_agree_in_float64(examples, float64):
    results = [Trainer(config_of(), examples, n, 1, jnp.float64).run() for n in (1, 2, 8)]
    assert results[0][0].params["stem1_conv"]["kernel"].dtype == np.float64
    for state_, metrics in results[1:]:
        # images are augmented in float32 whatever the weights are, so the agreement is to its rounding
        assert differences(state_, results[0][0]) < 1e-9
        assert differences(metrics, results[0][1]) < 1e-9


@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_what_gpus_and_tpus_compute_is_what_cpus_do_on_one_device_and_eight(examples, float64, platform):
    config = config_of(**{"optim.name": "muon", "dtype": "float32"})
    expected, expected_metrics = Trainer(config, examples, 1, 1, jnp.float64, "cpu").run()
    for devices in (1, 8):
        state_, metrics = Trainer(config, examples, devices, 1, jnp.float64, platform).run()
        # images are augmented in float32, by products on TPUs
        assert differences(metrics, expected_metrics) < 2e-4
        assert differences(state_, expected) < 2e-4


def test_frozen_layers_stay_what_they_are_beside_trained_ones(examples):
    changes = {"optim.trainable_from": "block1_conv2", "optim.name": "muon"}
    trainer = Trainer(config_of(**changes), examples, 2, STEPS)
    before = jax.device_get(trainer.state)
    after, _ = trainer.run()
    for kind in ("params", "batch_stats"):
        old, new = getattr(before, kind), getattr(after, kind)
        moved = {layer for layer in old if differences(old[layer], new[layer])}
        assert moved == {"block1_conv2", "block1_norm2", "classes_conv"} & set(old)


def test_local_batchnorm_differs_and_leaves_one_state(examples):
    config = config_of(**{"parallel.sync_batchnorm": False})
    local = Trainer(config, examples, 8, 1)
    local.run()
    synced, _ = Trainer(config_of(), examples, 8, 1).run()
    assert differences(jax.device_get(local.state), synced) > 1e-5
    kernel = local.state.params["block1_conv1"]["pointwise_kernel"]
    assert len({np.asarray(shard.data).tobytes() for shard in kernel.addressable_shards}) == 1


def test_two_chunks_of_one_step_are_one_chunk_of_two(examples):
    one, _ = Trainer(config_of(), examples, 8, 2).run()
    two, _ = Trainer(config_of(), examples, 8, 1).run(chunks=2)
    assert differences(one.params, two.params) < 1e-5


def test_loss_and_correct_are_those_of_the_global_batch(examples):
    still = dict.fromkeys(("augment.rotation", "augment.shift", "augment.mixup", "augment.flip"), 0.0)
    trainer = Trainer(config_of(**still, **{"optim.learning_rate": 1e-9}), examples, 8, 1)
    before = jax.device_get(trainer.state)
    _, metrics = trainer.run()
    rows = sampler.Order(0, np.zeros(40)).indices(0, 1, BATCH)[0]
    logits, _ = registry.from_config(config_of(), 7).apply(
        {"params": before.params, "batch_stats": before.batch_stats},
        examples.images[rows].astype(np.float32) / 127.5 - 1,
        True,
        mutable=["batch_stats"],
    )
    logp = np.asarray(jax.nn.log_softmax(logits), np.float64)
    labels = examples.labels[rows]
    np.testing.assert_allclose(metrics["loss"], [-logp[np.arange(BATCH), labels].mean()], rtol=1e-5)
    assert metrics["correct"] == (logp.argmax(-1) == labels).sum()


def test_running_statistics_forget_their_start_within_ten_steps(examples):
    """A network that does not learn: its statistics are those of its batches, on any number of devices."""
    still = ("augment.rotation", "augment.shift", "augment.mixup")
    config = config_of(**{"optim.learning_rate": 1e-12, **dict.fromkeys(still, 0.0)})
    states = [Trainer(config, examples, devices, 20).run()[0] for devices in (1, 8)]
    assert differences(states[0].batch_stats, states[1].batch_stats) < 1e-4
    rows = sampler.Order(0, np.zeros(40)).indices(0, 20, BATCH)
    model = registry.from_config(config, 7)
    _, updated = model.apply(
        {"params": states[0].params, "batch_stats": states[0].batch_stats},
        examples.images[rows.ravel()].astype(np.float32) / 127.5 - 1,
        True,
        mutable=["batch_stats"],
    )
    running, batch = states[0].batch_stats["stem1_norm"], updated["batch_stats"]["stem1_norm"]
    np.testing.assert_allclose(running["mean"], batch["mean"], atol=0.05 * np.sqrt(batch["var"].max()))
    np.testing.assert_allclose(running["var"], batch["var"], rtol=0.1)


def test_the_end_of_the_training_is_not_warped():
    assert setup.create(config_of(**{"augment.no_warp_fraction": 0.3}), 7, 10, 5).warp_off_step == 7
    assert setup.create(config_of(), 7, 10, 5).warp_off_step == 10


PARAMS = {
    "conv": {"bias": np.array([1.0, 2.0]), "kernel": np.ones((1, 1, 2, 2))},
    "head": {"bias": np.array([9.0])},
    "norm": {"bias": np.array([3.0]), "scale": np.array([4.0])},
}


@pytest.mark.parametrize(
    ("groups", "joined"),
    [
        ({}, [[1.0, 2.0, 9.0, 3.0, 4.0], None, None, None]),
        ({"conv": "frozen", "norm": "frozen", "head": "head"}, [[1.0, 2.0, 3.0, 4.0], [9.0], None, None]),
    ],
)
def test_families_are_joined_where_the_first_of_them_was(groups, joined):
    packed = step.pack(PARAMS, groups)
    found = [packed["conv"]["bias"], packed["head"]["bias"], packed["norm"]["bias"], packed["norm"]["scale"]]
    assert [None if isinstance(one, optax.MaskedNode) else one.tolist() for one in found] == joined
    assert packed["conv"]["kernel"] is PARAMS["conv"]["kernel"]


def test_what_an_optimizer_keeps_is_packed_as_the_parameters_are():
    optimizer = optax.partition(
        {"plain": optax.sgd(0.1, momentum=0.9), "adam": optax.adam(0.1)},
        lambda params: jax.tree.map(lambda p: "adam" if p.ndim == 1 else "plain", params),
    )
    params = jax.tree.map(jnp.asarray, PARAMS)
    expected, state = optimizer.update(params, optimizer.init(params), params)
    packed = step.pack(params, {})
    found, packed_state = optimizer.update(packed, step.pack(optimizer.init(params), {}), packed)
    ours = step.unpack(found, params, {}), step.unpack(packed_state, state, {})
    assert jax.tree.structure(ours) == jax.tree.structure((expected, state))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), ours, (expected, state))


def test_the_gradient_of_packed_parameters_is_packed():
    def loss(packed):
        return sum((i + 1) * leaf.sum() for i, leaf in enumerate(jax.tree.leaves(step.unpack(packed, PARAMS, {}))))

    gradient = jax.grad(loss)(step.pack(PARAMS, {}))
    np.testing.assert_array_equal(gradient["conv"]["bias"], [1, 1, 3, 4, 5])
    np.testing.assert_array_equal(gradient["conv"]["kernel"], np.full((1, 1, 2, 2), 2.0))
