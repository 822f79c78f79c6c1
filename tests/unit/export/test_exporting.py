"""An exported bundle is whole, agrees with Flax, and replaces only another bundle."""

import functools
import sys
import types

import jax
import numpy as np
import pytest

from fer_jax.bundle import formats, manifest, runtime, weights
from fer_jax.errors import UserError
from fer_jax.export import exporting, graph
from fer_jax.export.trained import Trained
from fer_jax.faces import cropping


def arguments(tiny, **changes):
    trained = Trained(tiny.config, tiny.variables, tiny.faces.label_names, "synthetic faces", "none")
    return {"trained": trained, "evaluation": tiny.faces.of_split("PublicTest"), **changes}


def test_the_bundle_is_whole_and_says_where_it_comes_from(exported, tiny):
    read = manifest.read(exported.bundle.path)
    assert set(read.files) == {"onnx", "float16", "int8", "stablehlo", "weights", "card"}
    assert read.labels == tiny.faces.label_names
    assert read.input == manifest.Input(48, 1, "signed", "area")
    assert read.crop == cropping.CROP
    assert (read.temperature, read.uncertain_below) == (1.5, 0.3)
    assert read.model == {"name": "mini_xception", "args": {"block_features": [8, 16]}, "parameters": 3079}
    assert read.provenance["training_data"] == "21 synthetic faces"
    assert set(read.provenance["formats"]) == {"onnx", "float16", "int8", "stablehlo"}
    assert [entry.name for entry in exported.bundle.path.parent.iterdir()] == ["tiny.bundle"]


def test_flax_is_the_reference_as_training_evaluates_it(exported, tiny):
    by_role = {f.role: f for f in exported.formats}
    np.testing.assert_allclose(by_role["flax"].logits, tiny.logits[21:], rtol=1e-4, atol=1e-5)
    assert max(by_role[role].largest_difference for role in ("onnx", "stablehlo")) < 1e-5
    assert exported.formats[0].scores["examples"] == 21


def test_a_graph_that_disagrees_writes_nothing(tiny, tmp_path, monkeypatch):
    def shifted(*arguments):
        infer = original(*arguments)
        return lambda images: {"logits": infer(images)["logits"] + 2e-4}

    original = graph.inference
    monkeypatch.setattr(graph, "inference", shifted)
    with pytest.raises(RuntimeError, match=r"model.onnx differs from Flax by 2\.\de-04 .* no bundle was written"):
        exporting.export(tmp_path / "out", **arguments(tiny))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("notes.txt", "holds notes.txt, .* would be lost: give --out a folder"),
        (None, "out is a file: give --out a"),
    ],
)
def test_nothing_but_a_bundle_is_overwritten(exported, tiny, tmp_path, content, words):
    manifest.refuse_other_content(tmp_path / "new")
    manifest.refuse_other_content(exported.bundle.path)
    out = tmp_path / "out"
    if content:
        out.mkdir()
        (out / content).write_text("mine", encoding="utf-8")
        (out / manifest.MANIFEST).write_text("{}", encoding="utf-8")
    else:
        out.write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match=words):
        exporting.export(out, **arguments(tiny))
    assert (out / content if content else out).read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"formats": ["int8"]}, "there are none: give the run's data by --data"),
        ({"formats": ["tflite"]}, "unknown format 'tflite': expected some of onnx, float16, int8"),
        ({"compact": "int4"}, "unknown compact 'int4': expected one of float16, int8"),
        ({"formats": ["float16"], "compact": "int8"}, r"--compact writes model\.onnx alone: leave --float16 out"),
    ],
)
def test_what_cannot_be_written(tiny, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        exporting.export(tmp_path / "out", **arguments(tiny, **changes))
    assert list(tmp_path.iterdir()) == []


def test_a_compact_bundle_is_one_graph_with_half_weights(tiny, tmp_path):
    made = exporting.export(tmp_path / "small", **arguments(tiny, compact="int8"))
    assert sorted(made.bundle.files) == ["card", "onnx", "weights"]
    assert made.bundle.model["stored"] == "int8"
    assert "stores its weights in int8 and computes in float32" in made.bundle.file("card").read_text()
    assert [one.role for one in made.formats] == ["flax", "onnx"]
    assert set(made.bundle.provenance["formats"]) == {"onnx"}
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-7)
    jax.tree.map(close, weights.load(made.bundle), tiny.variables)
    assert made.bundle.file("weights").stat().st_size < 0.6 * 4 * made.bundle.model["parameters"] + 6000


def test_another_format_is_a_row_and_a_module_and_without_its_data_synthetic_faces_verify(tiny, tmp_path, monkeypatch):
    """Its file, its flag and the roles of bundle.json follow; nothing is scored."""
    (tmp_path / "out").mkdir()  # empty: nothing to lose
    monkeypatch.setattr(exporting, "SYNTHETIC_FACES", 9)
    module = types.ModuleType("other_format")
    module.save = lambda path, source: path.write_bytes(source.file("onnx").read_bytes())
    module.load = formats.function("fer_jax.bundle.runtime:open_onnx")
    monkeypatch.setitem(sys.modules, "other_format", module)
    row = formats.Format("model.other", "another graph", "other_format:save", "other_format:load", 1e-4, optional=True)
    monkeypatch.setitem(formats.GRAPHS, "other", row)
    monkeypatch.setitem(formats.FILES, "other", row.file)
    manifest._schema.cache_clear()
    made = exporting.export(tmp_path / "out", **arguments(tiny, evaluation=None, formats=["other"]))
    assert all(f.scores is None and len(f.logits) == 9 for f in made.formats)
    assert set(made.bundle.files) == {"onnx", "stablehlo", "weights", "card", "other"}
    assert made.bundle.file("other").name == "model.other"
    assert runtime.open_bundle(made.bundle, "other")(tiny.faces.images[:3])["logits"].shape == (3, 7)
    manifest._schema.cache_clear()
