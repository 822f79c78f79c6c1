"""An exported bundle is whole, agrees with Flax, and replaces only another bundle."""

import numpy as np
import pytest

from fer_jax.bundle import manifest
from fer_jax.errors import UserError
from fer_jax.export import exporting, graph
from fer_jax.faces import cropping


def arguments(tiny, **changes):
    trained = exporting.Trained(tiny.config, tiny.variables, tiny.faces.label_names, "synthetic faces", "none")
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


def test_without_its_data_synthetic_faces_verify_and_nothing_is_scored(tiny, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()  # empty: nothing to lose
    monkeypatch.setattr(exporting, "SYNTHETIC_FACES", 9)
    written = exporting.export(tmp_path / "out", **arguments(tiny, evaluation=None))
    assert all(f.scores is None and len(f.logits) == 9 for f in written.formats)
    assert set(written.bundle.files) == {"onnx", "stablehlo", "weights", "card"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "notes.txt",
            "holds notes.txt, which is no part of a bundle and would be lost: give --out a folder that is new",
        ),
        (None, "out is a file: give --out a folder"),
    ],
)
def test_nothing_else_is_overwritten(tiny, tmp_path, content, message):
    out = tmp_path / "out"
    if content:
        out.mkdir()
        (out / content).write_text("mine", encoding="utf-8")
        (out / manifest.MANIFEST).write_text("{}", encoding="utf-8")
    else:
        out.write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match=message):
        exporting.export(out, **arguments(tiny))
    assert (out / content if content else out).read_text(encoding="utf-8") == "mine"


def test_a_bundle_gives_way_to_another(exported, tmp_path):
    manifest.refuse_other_content(tmp_path / "new")
    manifest.refuse_other_content(exported.bundle.path)


def test_int8_needs_training_faces(tiny, tmp_path):
    with pytest.raises(UserError, match="there are none: give the run's data by --data"):
        exporting.export(tmp_path / "out", **arguments(tiny, int8=True))


def test_a_compact_bundle_is_one_graph_and_its_card(tiny, tmp_path):
    trained = exporting.Trained(tiny.config, tiny.variables, tiny.faces.label_names, "synthetic faces", "none")
    evaluation = tiny.faces.of_split("PublicTest")
    made = exporting.export(tmp_path / "small", trained, evaluation=evaluation, compact="int8")
    assert sorted(made.bundle.files) == ["card", "onnx"]
    assert sorted(path.name for path in made.bundle.path.iterdir()) == ["README.md", "bundle.json", "model.onnx"]
    assert made.bundle.model["stored"] == "int8"
    assert "stores its weights in int8 and computes in float32" in made.bundle.file("card").read_text()
    assert [one.role for one in made.formats] == ["flax", "onnx"]
    assert set(made.bundle.provenance["formats"]) == {"onnx"}
    with pytest.raises(UserError, match=r"--compact writes model\.onnx alone: leave --float16"):
        exporting.export(tmp_path / "x", trained, evaluation=evaluation, float16=True, compact="int8")
