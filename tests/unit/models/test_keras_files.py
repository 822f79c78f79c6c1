"""Keras' mini-Xception: layers matched by the graph, other networks refused, the published file read."""

import json
import zipfile

import h5py
import jax
import numpy as np
import pytest

from fer_jax.errors import UserError
from fer_jax.models import keras_files, pretrained

PUBLISHED = "fer2013_mini_XCEPTION.107-0.66.hdf5"


class Saved:
    """A Keras 2 model built layer by layer, and written as model.save does."""

    def __init__(self):
        self.layers, self.weights, self.rng = [], {}, np.random.default_rng(0)
        self.add("InputLayer", "input_1", [], batch_input_shape=[None, 24, 24, 1])

    def add(self, class_name, name, inputs, **config):
        self.layers.append(
            {
                "class_name": class_name,
                "name": name,
                "config": {"name": name, **config},
                "inbound_nodes": [[[layer, 0, 0, {}] for layer in inputs]] if inputs else [],
            }
        )
        return name

    def weigh(self, name, **shapes):
        self.weights[name] = {key: self.rng.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}
        return name

    def conv(self, name, x, before, after, size=3, padding="same", strides=1, bias=False):
        self.add("Conv2D", name, [x], kernel_size=[size, size], padding=padding, strides=[strides, strides])
        return self.weigh(name, kernel=(size, size, before, after), **({"bias": (after,)} if bias else {}))

    def separable(self, name, x, before, after):
        self.add("SeparableConv2D", name, [x], kernel_size=[3, 3], padding="same", strides=[1, 1])
        return self.weigh(name, depthwise_kernel=(3, 3, before, 1), pointwise_kernel=(1, 1, before, after))

    def norm(self, name, x, features, epsilon=1e-3):
        self.add("BatchNormalization", name, [x], epsilon=epsilon)
        return self.weigh(name, **dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), (features,)))

    def relu(self, name, x):
        return self.add("Activation", name, [x], activation="relu")

    def write(self, path):
        with h5py.File(path, "w") as file:
            file.attrs["model_config"] = json.dumps({"class_name": "Model", "config": {"layers": self.layers}})
            root = file.create_group("model_weights")
            for layer, arrays in self.weights.items():
                root.create_group(layer).attrs["weight_names"] = [f"{layer}_1/{key}:0".encode() for key in arrays]
                for key, array in arrays.items():
                    root[f"{layer}/{layer}_1/{key}:0"] = array
        return path


def mini_xception(bias=False, changed=None, scaled=None):
    """Two blocks of 4 and 6 filters, the layers numbered against the order of the graph.

    Args:
      bias: of the first convolution.
      changed: {layer: {"class_name" or a key of its config: value}}.
      scaled: config of a Rescaling after the input.
    """
    saved = Saved()
    x = saved.add("Rescaling", "rescaling", ["input_1"], **scaled) if scaled else "input_1"
    x = saved.norm("bn_9", saved.conv("conv_9", x, 1, 3, padding="valid", bias=bias), 3)
    x = saved.norm("bn_8", saved.conv("conv_8", saved.relu("relu_9", x), 3, 3, padding="valid"), 3)
    x, before = saved.relu("relu_8", x), 3
    for block, after in enumerate((4, 6)):
        residual = saved.norm(f"bn_{7 - block}", saved.conv(f"conv_{7 - block}", x, before, after, 1, strides=2), after)
        for i in range(2):
            name = f"{4 - 2 * block - i}"
            x = saved.norm(f"bn_s{name}", saved.separable(f"separable_{name}", x, after if i else before, after), after)
            x = x if i else saved.relu(f"relu_{name}", x)
        pool = saved.add("MaxPooling2D", f"pool_{block}", [x], pool_size=[3, 3], strides=[2, 2], padding="same")
        x = saved.add("Dropout", f"dropout_{block}", [saved.add("Add", f"add_{block}", [pool, residual])], rate=0.3)
        before = after
    x = saved.add("GlobalAveragePooling2D", "average", [saved.conv("conv_1", x, 6, 5, bias=True)])
    saved.add("Activation", "predictions", [x], activation="softmax")
    for layer in saved.layers:
        for key, value in (changed or {}).get(layer["name"], {}).items():
            (layer if key == "class_name" else layer["config"])[key] = value
    return saved


def test_layers_are_matched_by_the_graph(tmp_path):
    saved = mini_xception()
    found, variables = pretrained.import_mini_xception(saved.write(tmp_path / "x.hdf5"))
    assert found.args == {"stem_features": 3, "block_features": (4, 6)}
    assert (found.num_classes, found.input_size, found.channels) == (5, 24, 1)
    params, statistics = variables["params"], variables["batch_stats"]
    for ours, theirs in (
        ("stem1_conv", "conv_9"),
        ("stem2_conv", "conv_8"),
        ("block1_residual_conv", "conv_7"),
        ("block2_residual_conv", "conv_6"),
        ("classes_conv", "conv_1"),
    ):
        assert np.array_equal(params[ours]["kernel"], saved.weights[theirs]["kernel"]), ours
    for ours, theirs in (("block1_conv1", "4"), ("block1_conv2", "3"), ("block2_conv1", "2"), ("block2_conv2", "1")):
        their = saved.weights[f"separable_{theirs}"]
        assert np.array_equal(params[ours]["pointwise_kernel"], their["pointwise_kernel"]), ours
        assert np.array_equal(params[ours]["depthwise_kernel"][:, :, 0], their["depthwise_kernel"][..., 0]), ours
        norm = ours.replace("conv", "norm")
        assert np.array_equal(params[norm]["scale"], saved.weights[f"bn_s{theirs}"]["gamma"])
        assert np.array_equal(statistics[norm]["var"], saved.weights[f"bn_s{theirs}"]["moving_variance"])
    assert np.array_equal(statistics["block2_residual_norm"]["mean"], saved.weights["bn_6"]["moving_mean"])
    assert np.array_equal(params["stem1_norm"]["bias"], saved.weights["bn_9"]["beta"])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"bias": True}, "conv_9 holds bias, kernel, expected kernel"),
        ({"scaled": {"scale": 1 / 255, "offset": 0.0}}, "rescaling has scale 0.0039.*, expected 0.0078"),
        *(
            ({"changed": {layer: {key: value}}}, rf"not a mini-Xception: {layer} (has {key}|is a) .*, expected ")
            for layer, key, value in (
                ("conv_9", "padding", "same"),
                ("conv_9", "activation", "elu"),
                ("conv_7", "groups", 2),
                ("bn_9", "epsilon", 1e-5),
                ("relu_9", "activation", "swish"),
                ("relu_8", "class_name", "LeakyReLU"),
                ("separable_3", "dilation_rate", [2, 2]),
                ("separable_3", "depth_multiplier", 2),
                ("pool_1", "class_name", "AveragePooling2D"),
                ("pool_1", "pool_size", [2, 2]),
                ("add_0", "class_name", "Concatenate"),
                ("average", "class_name", "GlobalMaxPooling2D"),
                ("predictions", "activation", "sigmoid"),
            )
        ),
    ],
)
def test_another_network_is_refused(tmp_path, other, message):
    with pytest.raises(UserError, match=message):
        pretrained.import_mini_xception(mini_xception(**other).write(tmp_path / "x.hdf5"))


def test_layers_in_a_circle_are_refused(tmp_path):
    saved = mini_xception()
    next(layer for layer in saved.layers if layer["name"] == "conv_7")["inbound_nodes"] = [[["dropout_1", 0, 0, {}]]]
    with pytest.raises(UserError, match="not a mini-Xception"):
        pretrained.import_mini_xception(saved.write(tmp_path / "x.hdf5"))


def test_a_norm_without_scale_or_center_and_the_same_scaling_are_read(tmp_path):
    saved = mini_xception(scaled={"scale": 1 / 127.5, "offset": -1})
    del saved.weights["bn_9"]["gamma"], saved.weights["bn_8"]["beta"]
    _, variables = pretrained.import_mini_xception(saved.write(tmp_path / "x.hdf5"))
    assert (variables["params"]["stem1_norm"]["scale"] == 1).all()
    assert (variables["params"]["stem2_norm"]["bias"] == 0).all()


def external_link(file):
    file["model_weights/conv_9/other"] = h5py.ExternalLink("secret.h5", "/x")


def external_storage(file):
    file.create_dataset("model_weights/other", (4,), "f4", external=[("secret.bin", 0, 16)])


def virtual(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("secret.h5", "x", (4,))
    file.create_virtual_dataset("model_weights/other", layout)


def huge(file):
    file.create_dataset("model_weights/other", (1 << 40,), "f4", chunks=(1024,))


def text(file):
    del file["model_weights/conv_9/conv_9_1/kernel:0"]
    file["model_weights/conv_9/conv_9_1/kernel:0"] = "words"


def unnamed(file):
    del file.attrs["model_config"]


def architecture(text):
    """A change of a file to another architecture."""
    return lambda file: file.attrs.update(model_config=text if isinstance(text, str) else json.dumps(text))


DENSE = {"class_name": "Dense", "config": {"name": "d"}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (external_link, "other is a link to /x, which is not followed"),
        (external_storage, "other keeps its data in another file"),
        (virtual, "other keeps its data in another file"),
        (huge, "other has 4,398,046,511,104 bytes, expected at most"),
        (text, "not a readable HDF5 file"),
        (unnamed, "holds weights without the architecture .*: save the whole model"),
        (architecture({"class_name": "Sequential", "config": [DENSE]}), "not a mini-Xc"),
        (architecture({"class_name": "Sequential", "config": [DENSE | {"config": {}}]}), "names no layers"),
        (architecture({"class_name": "Model"}), "names no layers"),
        (architecture("{"), r"its architecture \(model_config\) is not JSON"),
    ],
)
def test_a_file_that_keras_does_not_write_so_is_refused(tmp_path, change, words):
    path = mini_xception().write(tmp_path / "x.hdf5")
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(UserError, match=rf"x\.hdf5: .*{words}"):
        pretrained.import_mini_xception(path)


def test_a_missing_file_and_a_keras_archive(tmp_path):
    with pytest.raises(UserError, match=r"no weights at .*x.hdf5: expected fer2013_mini_XCEPTION.107-0.66.hdf5 of "):
        pretrained.import_mini_xception(tmp_path / "x.hdf5")
    with zipfile.ZipFile(tmp_path / "x.hdf5", "w") as archive:
        archive.writestr("model.weights.h5", "")
    with pytest.raises(UserError, match=r"x.hdf5: not HDF5, .* or save a .keras model as .h5"):
        pretrained.import_mini_xception(tmp_path / "x.hdf5")


def test_graph_of_keras_3(tmp_path):
    """Keras 3 writes the inputs of a layer as keras_history, and one list of two for an addition."""
    saved = mini_xception()
    for layer in saved.layers:
        inputs = [
            {"class_name": "__keras_tensor__", "config": {"shape": [None, 3], "keras_history": [name, 0, 0]}}
            for [nodes] in [layer["inbound_nodes"] or [[]]]
            for name, *_ in nodes
        ]
        layer["inbound_nodes"] = [{"args": [inputs if len(inputs) > 1 else inputs[0]], "kwargs": {}}] if inputs else []
    saved.layers[0]["config"]["batch_shape"] = saved.layers[0]["config"].pop("batch_input_shape")
    path = saved.write(tmp_path / "x.h5")
    assert keras_files.read(path).inputs("add_0") == ["pool_0", "bn_7"]
    assert pretrained.import_mini_xception(path)[0].input_size == 24


def test_published_weights_fit(real_data):
    found, variables = pretrained.import_mini_xception(real_data / "models" / PUBLISHED)
    assert (found.input_size, found.channels, found.num_classes) == (64, 1, 7)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 58_423
