"""Weights of Keras and torchvision and of bundles: read in every layout, refused when they are another network's."""

import os
import sys
import types
import warnings

import h5py
import jax
import numpy as np
import pytest
import safetensors.numpy

from configs import default
from fer_jax.bundle import manifest, weights
from fer_jax.errors import UserError
from fer_jax.models import pretrained, registry, vgg

UPSAMPLE = next(name for name in registry.arguments("mini_xception") if name.endswith("_to"))
SEVEN = tuple("abcdefg")
LAYERS = [
    f"block{block}_conv{i}"
    for block, (convolutions, _) in enumerate(vgg.VGG16_BLOCKS, 1)
    for i in range(1, convolutions + 1)
]


def new_variables(name="vgg16", num_classes=7, shape=(32, 32, 3), args=None):
    """Every parameter 7, so that what was loaded and what was kept can be told apart."""
    model = registry.create(name, num_classes, args)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), np.zeros((1, *shape), np.float32), False))
    return jax.tree.map(lambda leaf: np.full(leaf.shape, 7, leaf.dtype), shapes)


@pytest.fixture(scope="module")
def keras_vgg16(tmp_path_factory):
    """Keras' own VGG16 with drawn weights: (folder of its files, images, features, {layer: (kernel, bias)})."""
    os.environ.setdefault("KERAS_BACKEND", "jax")  # spares the import of TensorFlow
    keras = pytest.importorskip("keras")
    folder, rng = tmp_path_factory.mktemp("vgg16"), np.random.default_rng(0)
    model = keras.applications.VGG16(weights=None, include_top=False, input_shape=(64, 64, 3))
    drawn = {}
    for layer in model.layers:
        if layer.weights:
            shape = layer.kernel.shape
            kernel = rng.normal(size=shape).astype(np.float32) * np.sqrt(2 / np.prod(shape[:-1]))
            drawn[layer.name] = kernel.astype(np.float32), rng.normal(size=shape[-1:]).astype(np.float32) / 10
            layer.set_weights(drawn[layer.name])
    with warnings.catch_warnings():  # of Keras itself, about numpy 2
        warnings.simplefilter("ignore", DeprecationWarning)
        model.save(folder / "whole.h5")
        model.save_weights(folder / "keras3.weights.h5")
    images = rng.uniform(size=(2, 64, 64, 3)).astype(np.float32)
    return folder, images, np.asarray(model(images)), drawn


@pytest.mark.parametrize("file", ["whole.h5", "keras3.weights.h5"])
def test_features_of_keras(keras_vgg16, file):
    folder, images, expected, _ = keras_vgg16
    variables, fresh = pretrained.load(folder / file, "vgg16", new_variables(), SEVEN)
    assert fresh == ["classes"]
    model = registry.create("vgg16", 7)
    _, sown = jax.jit(lambda v, x: model.apply(v, x, False, mutable=["intermediates"]))(variables, images)
    maps = np.asarray(sown["intermediates"]["features"][0])
    features = maps.reshape(2, 2, 2, 2, 2, 512).max(axis=(2, 4))  # block5_pool
    assert expected.std() > 0.1
    np.testing.assert_allclose(features, expected, atol=1e-4)


def small_layers():
    """Arrays of VGG16's shapes, all of one value a layer, to be quick."""
    shapes = new_variables()["params"]
    return {
        layer: {key: np.full(array.shape, i + 1, np.float32) for key, array in sorted(shapes[layer].items())}
        for i, layer in enumerate(LAYERS)
    }


def write_keras_2(path, layers, name="{layer}/{layer}/{weight}:0", inside=""):
    with h5py.File(path, "w") as file:
        root = file.create_group(inside) if inside else file
        root.attrs["layer_names"] = [layer.encode() for layer in ("input_1", *layers)]
        root.create_group("input_1").attrs["weight_names"] = []
        for layer, arrays in layers.items():
            group, names = root.create_group(layer), []
            for weight in ("kernel", "bias"):
                if weight in arrays:
                    full = name.format(layer=layer, weight=weight, letter={"kernel": "W", "bias": "b"}[weight])
                    names.append(full.split("/", 1)[1].encode())
                    root[full] = arrays[weight]
            group.attrs["weight_names"] = names
    return path


def write_state_dict(path, layers):
    """torchvision's names and layout: 0, 2, pool, 5, 7, pool, 10, ..."""
    numbers = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    state = {"classifier.0.weight": np.zeros((2, 2), np.float32)}
    for number, arrays in zip(numbers, layers.values(), strict=True):
        state[f"features.{number}.weight"] = np.ascontiguousarray(arrays["kernel"].transpose(3, 2, 0, 1))
        state[f"features.{number}.bias"] = arrays["bias"]
    safetensors.numpy.save_file(state, path)
    return path


WRITERS = {
    "official.h5": lambda path, layers: write_keras_2(path, layers, "{layer}/{layer}_{letter}_1:0"),
    "keras2.h5": write_keras_2,
    "keras2_whole.hdf5": lambda path, layers: write_keras_2(path, layers, inside="model_weights"),
    "sorted.h5": lambda path, layers: write_keras_2(path, dict(sorted(layers.items(), reverse=True))),
    "vgg16.safetensors": write_state_dict,
}


@pytest.mark.parametrize("file", WRITERS)
def test_every_layout_puts_every_layer_in_its_place(tmp_path, file):
    layers = small_layers()
    variables, fresh = pretrained.load(WRITERS[file](tmp_path / file, layers), "vgg16", new_variables(), SEVEN)
    assert fresh == ["classes"]
    for layer, arrays in layers.items():
        for key, array in arrays.items():
            assert np.array_equal(variables["params"][layer][key], array), (layer, key)
    assert (variables["params"]["classes"]["kernel"] == 7).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("file", ["keras2.h5", "vgg16.safetensors"])
def test_weights_that_are_no_numbers_are_refused(tmp_path, file, value):
    layers = small_layers()
    layers["block1_conv2"]["bias"][3] = value
    with pytest.raises(UserError, match=r"has numbers that are infinite or NaN: give weights of a training that conv"):
        pretrained.load(WRITERS[file](tmp_path / file, layers), "vgg16", new_variables(), SEVEN)


def test_torch_kernels_are_transposed(tmp_path):
    layers = small_layers()
    rng = np.random.default_rng(0)
    kernel = layers["block3_conv2"]["kernel"] = rng.normal(size=(3, 3, 256, 256)).astype(np.float32)
    path = write_state_dict(tmp_path / "vgg16.safetensors", layers)
    variables, _ = pretrained.load(path, "vgg16", new_variables(), SEVEN)
    assert np.array_equal(variables["params"]["block3_conv2"]["kernel"], kernel)


def test_pth_by_torch_and_without_it(tmp_path, monkeypatch):
    state = safetensors.numpy.load_file(write_state_dict(tmp_path / "vgg16.safetensors", small_layers()))
    (tmp_path / "vgg16.pth").write_bytes(b"\x80\x02 a pickle")

    def load(path, map_location, weights_only):
        assert weights_only  # a pickle may run any code otherwise
        return {key: types.SimpleNamespace(numpy=lambda array=array: array) for key, array in state.items()}

    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(load=load))
    variables, _ = pretrained.load(tmp_path / "vgg16.pth", "vgg16", new_variables(), SEVEN)
    assert (variables["params"]["block5_conv3"]["bias"] == 13).all()
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"vgg16.pth: a pickle of PyTorch, which is not installed here: install t"):
        pretrained.load(tmp_path / "vgg16.pth", "vgg16", new_variables(), SEVEN)


def test_missing_file_names_the_official_one_and_its_checksum(tmp_path):
    official = r"vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5 of Keras \(md5 6d6bbae143d832006294945121d1f1fc\)"
    with pytest.raises(UserError, match=f"no weights at .*x.h5: expected one of mini_xception.* or {official}"):
        pretrained.load(tmp_path / "x.h5", "vgg16", {}, SEVEN)
    with pytest.raises(UserError, match=r"no weights at .*x: expected one of mini_xception.*, the path of a bundle$"):
        pretrained.load(tmp_path / "x", "resnet18", {}, SEVEN)
    (tmp_path / "weights.h5").touch()
    with pytest.raises(UserError, match=r"weights.h5: not a file of weights that is read for resnet18: expected a"):
        pretrained.load(tmp_path / "weights.h5", "resnet18", {}, SEVEN)


def test_missing_layers_and_wrong_shapes_are_named(tmp_path):
    layers = small_layers()
    del layers["block4_conv2"], layers["block5_conv1"]["bias"]
    layers["block2_conv1"]["kernel"] = np.zeros((3, 3, 64, 96), np.float32)
    path = write_keras_2(tmp_path / "other.h5", layers)
    with pytest.raises(UserError) as caught:
        pretrained.load(path, "vgg16", new_variables(), SEVEN)
    message = str(caught.value)
    assert "\n" not in message
    assert "not the weights of this vgg16: missing " in message
    for name in ("block4_conv2/bias", "block4_conv2/kernel", "block5_conv1/bias"):
        assert name in message
    assert "block2_conv1/kernel is (3, 3, 64, 96) instead of (3, 3, 64, 128)" in message


def test_damaged_files(tmp_path):
    whole = write_keras_2(tmp_path / "whole.h5", small_layers()).read_bytes()
    damaged = {"cut.h5": whole[:100_000], "text.h5": b"no HDF5", "text.safetensors": b"no safetensors"}
    for name, data in damaged.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=rf"{name}: .*copy it again"):
            pretrained.load(tmp_path / name, "vgg16", new_variables(), SEVEN)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["numbers"] = np.arange(3)
    with pytest.raises(UserError, match=r"other.h5: an HDF5 file without Keras' weights"):
        pretrained.load(tmp_path / "other.h5", "vgg16", new_variables(), SEVEN)


@pytest.fixture
def small_bundle(tmp_path):
    """A bundle of weights alone: a narrow mini-Xception with 7 classes, all of its numbers 3."""
    args = {"block_features": (4,)}
    folder = tmp_path / "small.bundle"
    folder.mkdir()
    variables = jax.tree.map(lambda leaf: leaf * 0 + 3, new_variables("mini_xception", args=args, shape=(24, 24, 1)))
    weights.save(folder / manifest.FILES["weights"], variables)
    manifest.write(
        folder,
        name="small",
        labels=list("abcdefg"),
        input=manifest.Input(24, 1, "signed", "area"),
        crop={"border": "replicate", "detectors": {}},
        temperature=1.0,
        uncertain_below=0.0,
        model={"name": "mini_xception", "args": args, "parameters": 1_000},
        provenance={"licence": "", "training_data": "", "result": None, "config": {}, "versions": {}, "created": ""},
    )
    return folder, args


def test_a_bundle_fills_all_but_the_head_of_other_classes(small_bundle):
    folder, args = small_bundle
    template = new_variables("mini_xception", 7, (24, 24, 1), args)
    variables, fresh = pretrained.load(folder, "mini_xception", template, SEVEN)
    assert fresh == []
    assert set(np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(variables)])) == {3}
    assert jax.tree.structure(variables) == jax.tree.structure(template)
    variables, fresh = pretrained.load(folder, "mini_xception", template, ("cat", "dog", *"hijkl"))
    assert fresh == ["classes_conv"]
    assert (variables["params"]["classes_conv"]["bias"] == 7).all()
    assert (variables["batch_stats"]["stem1_norm"]["mean"] == 3).all()
    with pytest.raises(UserError, match=r"a bundle of mini_xception, and config.model.name is 'vgg16'"):
        pretrained.load(folder, "vgg16", {}, SEVEN)
    wide = new_variables("mini_xception", shape=(24, 24, 1))
    with pytest.raises(UserError, match=r"block1_conv1/pointwise_kernel is \(1, 1, 8, 4\) instead of \(1, 1, 8, 16\)"):
        pretrained.load(folder, "mini_xception", wide, SEVEN)


@pytest.mark.parametrize(
    ("names", "bias", "left"),
    [
        ("gfedcba", [6, 5, 4, 3, 2, 1, 0], []),
        ("ca", [2, 0], []),
        ("hAbi", [7, 0, 1, 7], ["classes_conv of h, i"]),
    ],
)
def test_the_columns_of_a_head_go_by_name(small_bundle, names, bias, left):
    folder, args = small_bundle
    stored = weights.load(manifest.read(folder))
    stored["params"]["classes_conv"]["bias"] = np.arange(7, dtype=np.float32)
    stored["params"]["classes_conv"]["kernel"][...] = np.arange(7)
    rewrite(folder, stored)
    template = new_variables("mini_xception", len(names), (24, 24, 1), args)
    variables, fresh = pretrained.load(folder, "mini_xception", template, tuple(names))
    head = variables["params"]["classes_conv"]
    assert head["bias"].tolist() == bias
    assert head["kernel"].shape == (3, 3, 4, len(names)) and (head["kernel"] == bias).all()
    assert fresh == left


def rewrite(folder, variables):
    """Other weights in a bundle that is already there."""
    found = manifest.read(folder)
    weights.save(folder / manifest.FILES["weights"], variables)
    (folder / manifest.MANIFEST).unlink()
    manifest.write(
        folder,
        **{key: getattr(found, key) for key in ("name", "labels", "input", "crop", "temperature", "uncertain_below")},
        model=found.model,
        provenance=found.provenance,
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input.scaling": "unit"}, r"input.scaling 'signed', here 'unit': leave config.input.scaling out"),
        ({"input.size": 48}, r"input.size 24, here 48: leave config.input.size out, a bundle brings its own$"),
        ({"input.crop": 20}, r"input.crop 0, here 20: leave config.input.crop out"),
        ({"model.args": {"block_features": (4,), UPSAMPLE: 32}}, rf"model.args.{UPSAMPLE} 0, here 32"),
        ({"model.name": "vgg16", "model.args": {}}, r"model.name 'mini_xception', here 'vgg16'"),
    ],
)
def test_a_bundle_of_another_input_is_refused(small_bundle, changes, message):
    config = default.get_config()
    config.model.pretrained, config.model.name, config.input.scaling = str(small_bundle[0]), "vgg16", "unit"
    pretrained.adopt(config)
    assert (config.model.name, config.input.size, config.input.scaling) == ("mini_xception", 24, "signed")
    assert config.model.args.to_dict() == {"block_features": (4,)}
    pretrained.refuse_other_input(config)
    for key, value in changes.items():
        group, name = key.split(".")
        config[group][name] = value
    with pytest.raises(UserError, match=message):
        pretrained.refuse_other_input(config)


def test_a_bundle_without_weights_is_refused(small_bundle):
    folder, _ = small_bundle
    (folder / manifest.FILES["weights"]).rename(folder / manifest.FILES["onnx"])
    path = folder / manifest.MANIFEST
    written = path.read_text(encoding="utf-8").replace(manifest.FILES["weights"], manifest.FILES["onnx"])
    path.write_text(written.replace('"role": "weights"', '"role": "onnx"'), encoding="utf-8")
    config = default.get_config()
    config.model.pretrained = str(folder)
    with pytest.raises(UserError, match="has no weights file"):
        pretrained.refuse_other_input(config)
