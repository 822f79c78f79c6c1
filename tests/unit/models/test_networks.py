"""Every network's layers, shapes and parameters, as the papers and reports give them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import default
from fer_jax.errors import UserError
from fer_jax.models import registry
from fer_jax.models.network import Upsample, layers_of

# name, arguments, (H, W, C), classes: trained parameters, statistics of BatchNorm
TOTALS = [
    ("mini_xception", {}, (48, 48, 1), 7, 56_951, 1_472),
    ("mini_xception", {"enlarge_to": 64}, (48, 48, 1), 7, 56_951, 1_472),
    ("vgg16", {}, (48, 48, 3), 7, 14_714_688 + 513 * 7, 0),
    ("jaffe_basic", {}, (128, 128, 3), 7, 37_349, 0),
    ("jaffe_dropout", {}, (128, 128, 3), 7, 37_989, 0),
    ("jaffe_best", {}, (128, 128, 3), 7, 7_954_391, 0),
    ("ckplus_model1", {}, (128, 128, 3), 7, 30_321_415, 0),
    ("ckplus_model2", {}, (128, 128, 3), 7, 67_119_623, 0),
    ("ckplus_model1", {"batch_norm": True}, (128, 128, 3), 7, 30_321_415 + 2 * 384, 2 * 384),
    ("ckplus_model2", {"batch_norm": True}, (128, 128, 3), 7, 67_119_623 + 2 * 128, 2 * 128),
    ("six_conv", {}, (48, 48, 1), 6, 91_482, 0),
    ("vgg", {}, (40, 40, 1), 7, 29_886_919 + 2 * 1_920, 2 * 1_920),
    ("vgg", {"dense_features": ()}, (48, 48, 1), 7, 4_687_815 + 2 * 1_920, 2 * 1_920),
    ("resnet18", {}, (48, 48, 1), 7, 11_171_271, 9_600),
]


@pytest.mark.parametrize(("name", "args", "shape", "classes", "trained", "statistics"), TOTALS)
def test_parameters_are_those_published(name, args, shape, classes, trained, statistics):
    assert {row[0] for row in TOTALS} == set(registry.MODELS)
    rows = layers_of(registry.create(name, classes, args), shape)
    assert sum(row.trained for row in rows) == trained
    assert sum(row.statistics for row in rows) == statistics


# The layers with parameters, and those that change the shape: (name, output, numbers in it). VGG16 is compared with
# Keras' own in test_pretrained.py.
LAYERS = {
    "jaffe_basic": [
        ("conv1", (128, 128, 5), 380),
        ("pool1", (42, 42, 5), 0),
        ("conv2", (13, 13, 15), 1_890),
        ("pool2", (6, 6, 15), 0),
        ("flatten", (540,), 0),
        ("dense1", (64,), 34_624),
        ("classes", (7,), 455),
    ],
    "jaffe_dropout": [
        ("conv1", (128, 128, 5), 380),
        ("pool1", (42, 42, 5), 0),
        ("dropout1", (42, 42, 5), 0),
        ("conv2", (13, 13, 15), 1_890),
        ("pool2", (6, 6, 15), 0),
        ("conv3", (1, 1, 80), 30_080),
        ("dropout2", (1, 1, 80), 0),
        ("flatten", (80,), 0),
        ("dense1", (64,), 5_184),
        ("classes", (7,), 455),
    ],
    "jaffe_best": [
        ("conv1", (128, 128, 6), 456),
        ("pool1", (64, 64, 6), 0),
        ("conv2", (64, 64, 16), 2_416),
        ("pool2", (32, 32, 16), 0),
        ("conv3", (28, 28, 120), 48_120),
        ("dropout1", (28, 28, 120), 0),
        ("flatten", (94_080,), 0),
        ("dense1", (84,), 7_902_804),
        ("dropout2", (84,), 0),
        ("classes", (7,), 595),
    ],
    "ckplus_model1": [
        ("conv1", (128, 128, 128), 9_728),
        ("pool1", (64, 64, 128), 0),
        ("conv2", (60, 60, 256), 819_456),
        ("pool2", (30, 30, 256), 0),
        ("flatten", (230_400,), 0),
        ("dense1", (128,), 29_491_328),
        ("dropout", (128,), 0),
        ("classes", (7,), 903),
    ],
    "ckplus_model2": [
        ("conv1", (128, 128, 128), 9_728),
        ("pool1", (64, 64, 128), 0),
        ("flatten", (524_288,), 0),
        ("dense1", (128,), 67_108_992),
        ("dropout", (128,), 0),
        ("classes", (7,), 903),
    ],
    "six_conv": [
        ("conv1", (48, 48, 22), 1_430),
        ("conv2", (48, 48, 22), 30_998),
        ("pool2", (24, 24, 22), 0),
        ("conv3", (24, 24, 22), 30_998),
        ("conv4", (24, 24, 22), 7_766),
        ("pool4", (6, 6, 22), 0),
        ("conv5", (6, 6, 22), 7_766),
        ("conv6", (6, 6, 22), 7_766),
        ("flatten", (792,), 0),
        ("dropout", (792,), 0),
        ("classes", (6,), 4_758),
    ],
    "mini_xception": [
        ("stem1_conv", (46, 46, 8), 72),
        ("stem1_norm", (46, 46, 8), 32),
        ("stem2_conv", (44, 44, 8), 576),
        ("stem2_norm", (44, 44, 8), 32),
        *[
            row
            for block, (side, before, features) in enumerate(((44, 8, 16), (22, 16, 32), (11, 32, 64), (6, 64, 128)), 1)
            for half, maps in [(((side + 1) // 2,) * 2, (side, side, features))]
            for row in [
                (f"block{block}_residual_conv", (*half, features), before * features),
                (f"block{block}_residual_norm", (*half, features), 4 * features),
                (f"block{block}_conv1", maps, 9 * before + before * features),
                (f"block{block}_norm1", maps, 4 * features),
                (f"block{block}_conv2", maps, 9 * features + features * features),
                (f"block{block}_norm2", maps, 4 * features),
                (f"block{block}_pool", (*half, features), 0),
            ]
        ],
        ("classes_conv", (3, 3, 7), 8_071),
        ("pool", (7,), 0),
    ],
    "vgg": [
        *[
            row
            for stage, (side, before, features) in enumerate(
                ((40, 1, 64), (20, 64, 128), (10, 128, 256), (5, 256, 512)), 1
            )
            for maps in [(side, side, features)]
            for row in [
                (f"stage{stage}_conv1", maps, 9 * before * features + features),
                (f"stage{stage}_norm1", maps, 4 * features),
                (f"stage{stage}_conv2", maps, 9 * features * features + features),
                (f"stage{stage}_norm2", maps, 4 * features),
                (f"stage{stage}_pool", (side // 2, side // 2, features), 0),
            ]
        ],
        ("flatten", (2_048,), 0),
        ("dense1", (4_096,), 8_392_704),
        ("dropout1", (4_096,), 0),
        ("dense2", (4_096,), 16_781_312),
        ("dropout2", (4_096,), 0),
        ("classes", (7,), 28_679),
    ],
    "resnet18": [
        ("stem_conv", (48, 48, 64), 576),
        ("stem_norm", (48, 48, 64), 256),
        *[
            row
            for stage, (side, before, features) in enumerate(
                ((48, 64, 64), (24, 64, 128), (12, 128, 256), (6, 256, 512)), 1
            )
            for maps in [(side, side, features)]
            for block, entering in ((1, before), (2, features))
            for row in [
                (f"stage{stage}_block{block}_1_conv", maps, 9 * entering * features),
                (f"stage{stage}_block{block}_1_norm", maps, 4 * features),
                (f"stage{stage}_block{block}_2_conv", maps, 9 * features * features),
                (f"stage{stage}_block{block}_2_norm", maps, 4 * features),
                *(
                    [
                        (f"stage{stage}_block{block}_shortcut_conv", maps, entering * features),
                        (f"stage{stage}_block{block}_shortcut_norm", maps, 4 * features),
                    ]
                    if entering != features
                    else []
                ),
            ]
        ],
        ("pool", (512,), 0),
        ("dropout", (512,), 0),
        ("classes", (7,), 3_591),
    ],
}


@pytest.mark.parametrize(
    ("name", "shape", "classes"), [(row[0], row[2], row[3]) for row in TOTALS if not row[1] and row[0] in LAYERS]
)
def test_layers_are_those_published(name, shape, classes):
    found = [
        (row.name, row.output_shape, row.trained + row.statistics)
        for row in layers_of(registry.create(name, classes), shape)
    ]
    assert found == LAYERS[name]


SMALL = {"jaffe_basic": 64, "jaffe_dropout": 128, "jaffe_best": 32, "ckplus_model1": 16, "ckplus_model2": 8}
SMALL |= {"six_conv": 16, "mini_xception": 24, "vgg": 16, "vgg16": 32, "resnet18": 16}
POOLED_HEADS = {"mini_xception", "resnet18", "vgg"}


def small(name, variables_of, dtype=None):
    """A network with variables and the narrowest images it takes."""
    args = {"dense_features": ()} if name == "vgg" else {}
    model = registry.create(name, 5, args, dtype=dtype, implementation="plain")
    images = np.random.default_rng(0).uniform(-1, 1, (2, SMALL[name], SMALL[name], 3)).astype(np.float32)
    return model, variables_of(model, images.shape[1:]), images


@pytest.mark.parametrize("name", registry.MODELS)
def test_logits_are_float32_and_maps_are_shown(name, variables_of):
    model, variables, images = small(name, variables_of, jnp.bfloat16)
    logits, sown = jax.jit(lambda v, x: model.apply(v, x, False, mutable=["intermediates"]))(variables, images)
    sown = {key: value[0] for key, value in sown["intermediates"].items()}
    assert logits.shape == (2, 5)
    assert logits.dtype == jnp.float32
    assert set(variables) <= {"params", "batch_stats"}
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    assert np.abs(logits[0] - logits[1]).max() > 1e-4
    assert sown["features"].ndim == 4
    assert ("class_maps" in sown) == (name in POOLED_HEADS)
    if "class_maps" in sown:
        assert sown["class_maps"].shape[1:] == (2, 2, 5)
        np.testing.assert_allclose(sown["class_maps"].mean(axis=(1, 2)), logits, rtol=1e-3, atol=1e-4)


def test_bfloat16_is_refused_where_cpus_make_nan_of_it(monkeypatch):
    config = default.get_config()
    config.dtype = "bfloat16"
    monkeypatch.setattr(jax, "__version_info__", (0, 12, 0))
    monkeypatch.setenv("XLA_FLAGS", registry.WHOLE_BFLOAT16)
    assert registry.from_config(config, 7).dtype == jnp.bfloat16
    monkeypatch.setenv("XLA_FLAGS", "")
    with pytest.raises(UserError, match="makes NaN of some bfloat16 convolutions on CPUs: take float32, or set"):
        registry.from_config(config, 7)
    config.dtype = "auto"
    assert registry.from_config(config, 7).dtype is None
    monkeypatch.setattr(jax, "__version_info__", (0, 10, 2))
    config.dtype = "bfloat16"
    assert registry.from_config(config, 7).dtype == jnp.bfloat16


DROPOUTS = {"jaffe_dropout": 2, "jaffe_best": 2, "ckplus_model1": 1, "ckplus_model2": 1, "six_conv": 1, "vgg": 1}


@pytest.mark.parametrize("name", registry.MODELS)
def test_dropout_is_drawn_in_training_only(name, variables_of):
    model, variables, images = small(name, variables_of)

    def draws(train):
        traced = jax.make_jaxpr(
            lambda key: model.apply(variables, images, train, rngs={"dropout": key}, mutable=["batch_stats"])
        )
        return str(traced(jax.random.key(0))).count("random_bits[")

    assert draws(True) == DROPOUTS.get(name, 0)
    assert draws(False) == 0


def test_the_gradient_with_respect_to_the_tapped_features(variables_of):
    model, variables, images = small("vgg", variables_of)  # linear after them
    maps = jax.eval_shape(lambda: model.apply(variables, images, False, mutable=["intermediates"]))[1]
    maps = maps["intermediates"]["features"][0]

    @jax.jit
    def score(change):
        return model.apply({**variables, "perturbations": {"features": change}}, images, False)[:, 3].sum()

    gradient = jax.jit(jax.grad(score))(jnp.zeros(maps.shape))
    np.testing.assert_allclose(score(gradient) - score(0 * gradient), (gradient**2).sum(), rtol=1e-3)


@pytest.mark.parametrize("shape", [(2, 24, 24, 1), (1, 7, 9, 3)])
def test_upsampling_is_linear_interpolation(shape):
    images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = jax.image.resize(images, (shape[0], 32, 32, shape[3]), "linear")
    np.testing.assert_allclose(Upsample(32).apply({}, images), expected, atol=1e-6)


def test_names_and_arguments():
    with pytest.raises(UserError, match=r"config.model.name is 'vgg19': expected one of .*vgg, vgg16"):
        registry.create("vgg19", 7)
    with pytest.raises(UserError, match=r"model.args has width: vgg takes dense_features, dropout, stage_features"):
        registry.create("vgg", 7, {"width": 3})
    assert registry.create("mini_xception", 7, {"block_features": [8, 16]}).block_features == (8, 16)
