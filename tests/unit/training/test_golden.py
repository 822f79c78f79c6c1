"""What a seed gives is pinned: the order, the first training images, the initial weights and three training steps.

The numbers are those of the commit that added them. A change here is a breaking change for everybody who reports a
result with its seed.
"""

import hashlib
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import xception
from fer_jax.data import augmentation, sampler
from fer_jax.data.examples import Examples
from fer_jax.training import setup
from fer_jax.training.program import TrainProgram

PINNED = pathlib.Path(__file__).with_name("golden.json")
BATCH, STEPS, EXAMPLES = 8, 3, 40
# Float32 images and random numbers enter the float64 steps, so backends agree to single precision only.
TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def examples():
    bits = np.random.Philox(key=np.array([7, 11], np.uint64)).random_raw(EXAMPLES * 48 * 48 // 8)
    return Examples(
        images=bits.view(np.uint8).reshape(EXAMPLES, 48, 48, 1) // 4 + 96,
        labels=(np.arange(EXAMPLES) % 7).astype(np.int32),
        split=np.full(EXAMPLES, "Training"),
        label_names=("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
    )


@pytest.fixture(scope="module")
def config():
    config = xception.get_config("best")
    config.batch_size, config.seed = BATCH, 3
    config.augment.erase, config.augment.mixup = 0.5, 0.2
    return config


def fingerprint(array) -> list[float]:
    """Mean, root mean square and a fixed projection: equal for equal arrays, and comparable with a tolerance."""
    flat = np.asarray(array, np.float64).ravel()
    projection = np.cos(np.arange(flat.size) * 1.618)
    return [float(flat.mean()), float(np.sqrt(np.mean(flat**2))), float(flat @ projection / np.sqrt(flat.size))]


def check(name, found):
    pinned = json.loads(PINNED.read_text())[name]
    same = found == pinned if isinstance(pinned, str) else np.allclose(found, pinned, rtol=TOLERANCE, atol=TOLERANCE)
    assert same, (
        f"{name}: a seed gave {pinned} and now gives {found}. If that is not meant, it is a defect. If it is, put the "
        f"new value in {PINNED.name} and say under 'Breaking changes' in CHANGELOG.md what no longer equals older runs."
    )


def test_the_order_of_the_examples(config):
    order = sampler.Order(config.seed, np.zeros(EXAMPLES)).indices(2, 6, BATCH)
    check("order", hashlib.sha256(order.astype("<i4").tobytes()).hexdigest())


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_the_first_training_images(config, examples, interpolation):
    config = config.copy_and_resolve_references()
    config.augment.interpolation = interpolation
    rows = sampler.Order(config.seed, np.zeros(EXAMPLES)).indices(0, 1, BATCH)[0]
    inputs, targets = jax.jit(
        lambda images, targets: augmentation.training_inputs(config, images, targets, jnp.int32(0), jnp.arange(BATCH))
    )(examples.images[rows], examples.targets()[rows])
    check(f"first_images_{interpolation}", fingerprint(inputs))
    check("first_targets", fingerprint(targets))


def test_the_initial_weights(config):
    params = setup.create(config, 7).fresh_state().params
    names = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    check("initial_weights", fingerprint(np.concatenate([np.ravel(names[name]) for name in sorted(names)])))


def test_three_steps_of_mini_xception(config, examples):
    with jax.enable_x64(True):
        made = setup.create(config, 7, 20, 5)
        program = TrainProgram(made, examples, STEPS, devices=jax.devices()[:1])
        fresh = made.fresh_state()
        program.load(jax.tree.map(lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, fresh))
        metrics = jax.device_get(program.run(next(program.feeds(0, 1))))
        state = jax.device_get(program.state)
    check("losses", metrics["loss"].tolist())
    check("gradient_norms", metrics["gradient_norm"].tolist())
    for name in ("params", "batch_stats", "ema"):
        leaves = jax.tree.leaves(getattr(state, name))
        check(f"{name}_after_three_steps", fingerprint(np.concatenate([np.ravel(leaf) for leaf in leaves])))
