"""Unit tests compile much and compute little. Fixtures that several rooms' tests share are here."""

import os
import pickle
import types

import absl.logging
import jax
import numpy as np
import pytest

from configs import default
from fer_jax.bundle import manifest
from fer_jax.data.examples import Examples
from fer_jax.data.sources import synthetic
from fer_jax.labels import FER2013
from fer_jax.models import registry
from tests import datasets, serving
from tests.conftest import FAST_COMPILE

jax.config.update("jax_disable_most_optimizations", True)
# XLA reads its flags once: commands that a test runs do not inherit these.
flags = os.environ["XLA_FLAGS"]
os.environ["XLA_FLAGS"] = f"{flags} {FAST_COMPILE}"
jax.devices()
os.environ["XLA_FLAGS"] = flags


def _variables(model, shape):
    """Variables of a network for images (H, W, C): nothing is one or zero, so that nothing cancels unseen."""
    rng = np.random.default_rng(0)

    def draw(path, array):
        if path[-1].key in ("scale", "var"):
            return rng.uniform(0.5, 2, array.shape).astype(np.float32)
        spread = np.prod(array.shape[:-1]) ** -0.5 if array.ndim > 1 else 0.3
        return (spread * rng.normal(size=array.shape)).astype(np.float32)

    images = jax.ShapeDtypeStruct((1, *shape), np.float32)
    return jax.tree_util.tree_map_with_path(
        draw, jax.eval_shape(lambda x: model.init(jax.random.key(0), x, False), images)
    )


@pytest.fixture(scope="session", autouse=True)
def compiled(shared):
    """Programs that one test compiled are there for the others, of all workers."""
    jax.config.update("jax_compilation_cache_dir", str(shared("compiled", lambda folder: None)))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


@pytest.fixture
def caplog(caplog, monkeypatch):
    """pytest's, which sees what absl logs from INFO on, whatever level and handler an earlier test left absl with."""
    monkeypatch.setattr(absl.logging.get_absl_logger(), "propagate", True)
    caplog.set_level("INFO", logger="absl")
    return caplog


@pytest.fixture
def undrawn(monkeypatch):
    """Pages whose plots are left out: drawing them takes most of the time of a small run."""
    from fer_jax.report import plots

    monkeypatch.setattr(plots, "svg", lambda *_, **__: "<svg></svg>")
    for name in ("png", "sheet"):
        monkeypatch.setattr(plots, name, lambda *_, **__: None)


@pytest.fixture(scope="session")
def variables_of():
    """A function from a network and its images' shape (H, W, C) to random variables."""
    return _variables


@pytest.fixture(scope="session")
def examples():
    """Forty images of noise, 16x16 and gray, of seven classes, all to train on."""
    return datasets.noise(["Training"] * 40)


@pytest.fixture(scope="session")
def tiny():
    """config, plain model, variables and faces of a small mini-Xception, and Flax' logits; tests only read them."""
    config = default.get_config()
    config.data.source = "synthetic"
    config.model.args = {"block_features": (8, 16)}
    model = registry.create("mini_xception", 7, config.model.args, implementation="plain")
    variables = _variables(model, (48, 48, 1))
    labels = np.arange(42, dtype=np.int32) % 7
    faces = Examples(synthetic.draw(labels, 48), labels, np.repeat(["Training", "PublicTest"], 21), FER2013)
    pixels = faces.images / np.float32(127.5) - 1
    logits = np.asarray(jax.jit(lambda x: model.apply(variables, x, False))(pixels))
    return types.SimpleNamespace(config=config, model=model, variables=variables, faces=faces, logits=logits)


@pytest.fixture(scope="session")
def exported(tiny, shared):
    """The tiny network in every format: what `exporting.export` returned."""
    from fer_jax.export import exporting
    from fer_jax.export.trained import Trained

    about = tiny.faces.label_names, "21 synthetic faces", "none needed"
    trained = Trained(tiny.config, tiny.variables, *about, temperature=1.5, uncertain_below=0.3)
    splits = {"evaluation": "PublicTest", "calibration": "Training"}
    examples = {role: tiny.faces.of_split(name) for role, name in splits.items()}

    def make(folder):
        (folder / "out").mkdir()
        made = exporting.export(folder / "out" / "tiny.bundle", trained, **examples, formats=("float16", "int8"))
        (folder / "made").write_bytes(pickle.dumps(made))

    return pickle.loads((shared("exported", make) / "made").read_bytes())


@pytest.fixture(scope="session")
def manifest_arguments():
    """Arguments of `bundle.write` that are good."""
    return {
        "name": "tiny",
        "labels": ("happy", "sad"),
        "input": manifest.Input(size=48, channels=1, scaling="signed", resize="area"),
        "crop": {"border": "replicate", "detectors": {"haar": {"enlarge": 1.1, "offset": (0.0, 0.02)}}},
        "temperature": 1.3,
        "uncertain_below": 0.4,
        "model": {"name": "mini_xception", "args": {}, "parameters": 58423},
        "provenance": {
            "licence": "research only",
            "training_data": "synthetic faces",
            "result": None,
            "config": {"seed": 0},
            "versions": {"jax": "0"},
            "created": "2026-01-01T00:00:00Z",
        },
    }


@pytest.fixture(scope="session")
def brightness_bundle(tmp_path_factory):
    """Folder of a bundle that tells labels by brightness."""
    return serving.write_bundle(tmp_path_factory.mktemp("bundles") / "brightness")


@pytest.fixture(scope="session")
def map_bundle(tmp_path_factory):
    """Folder of the same with class maps."""
    return serving.write_bundle(tmp_path_factory.mktemp("bundles") / "maps", maps=True)


@pytest.fixture(scope="session")
def yunet_model(real_data):
    """Path of YuNet's weights."""
    path = real_data / "models" / "face_detection_yunet_2023mar.onnx"
    if not path.is_file():
        pytest.skip(f"no YuNet weights at {path}")
    return path


@pytest.fixture(scope="session")
def group_picture(real_data):
    """uint8 BGR photograph of six people."""
    import cv2

    return cv2.imread(str(real_data / "video" / "group.jpg"))
