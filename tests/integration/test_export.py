"""From a finished run to a bundle, and what bad input gets."""

import json

import pytest

from fer_jax.bundle import manifest

WORDS = ("--name=drawn", "--note=The only run.")


@pytest.fixture(scope="module")
def exported(command, whole, tmp_path_factory):
    """(folder of the bundle, what the command printed)."""
    out = tmp_path_factory.mktemp("exported") / "tiny.bundle"
    return out, command("tools.export", f"--workdir={whole}", f"--out={out}", "--int8", "--float16", *WORDS).stdout


def test_every_format_has_a_line_and_the_classes_their_recall(exported):
    out, printed = exported
    lines = printed.splitlines()
    assert [line.split()[0] for line in lines[:6]] == ["format", "flax", "onnx", "float16", "int8", "stablehlo"]
    assert lines[8].split() == ["recall", "examples", "flax", "onnx", "float16", "int8", "stablehlo"]
    assert [line.split()[:2] for line in lines[9:16]] == [[name, "2"] for name in manifest.read(out).labels]
    assert lines[-1] == f"done: {out}"


def test_the_bundle_carries_the_run(exported, whole):
    read = manifest.read(exported[0])
    result = json.loads((whole / "result.json").read_text(encoding="utf-8"))
    assert read.labels == tuple(result["label_names"])
    assert read.name == "drawn"
    assert read.file("card").read_text(encoding="utf-8").startswith("# drawn\n")
    assert "\nThe only run.\n" in read.file("card").read_text(encoding="utf-8")
    assert read.provenance["result"]["splits"]["PublicTest"]["accuracy"] == result["splits"]["PublicTest"]["accuracy"]
    assert read.provenance["training_data"].startswith(result["data"])
    accuracy = result["splits"]["PublicTest"]["accuracy"]
    # one face of 14: bfloat16 on accelerators
    assert read.provenance["formats"]["onnx"]["accuracy"] == pytest.approx(accuracy, abs=0.075)
    assert read.provenance["licence"].startswith("Apache-2.0, code and weights")


def test_an_exported_file_is_scored_as_it_runs(command, exported, tmp_path):
    out, _ = exported
    command("tools.evaluate", f"--bundle={out}", "--format=int8", f"--json={tmp_path / 'scores.json'}")
    scores = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))["splits"]["PublicTest"]
    assert scores["examples"] == 14
    assert scores["accuracy"] == manifest.read(out).provenance["formats"]["int8"]["accuracy"]


def test_a_bundle_is_calibrated_again_in_a_copy(command, exported, tmp_path):
    out, copy = exported[0], tmp_path / "copy"
    command("tools.evaluate", f"--bundle={out}", "--calibrate", "--coverage=0.5", f"--out={copy}", "--prior=flat")
    original, calibrated = manifest.read(out), manifest.read(copy)
    assert sum(original.provenance["class_counts"].values()) == 112
    assert calibrated.uncertain_below != original.uncertain_below
    assert calibrated.temperature == original.temperature
    card = calibrated.file("card").read_text().splitlines()[-1]
    assert card.startswith("Calibrated again on 14 faces of")
    assert "with the prior flat" in card and "the scores above are without" in card
    assert f"the temperature is {original.temperature:.3f}," in card


def test_bad_input_is_one_line(mistakes, whole):
    before = sorted(whole.iterdir())
    lost, none = mistakes(
        f"export --workdir={whole} --out={whole}", f"export --workdir={whole}/nothing --out={whole}/new"
    )
    assert "which is no part of a bundle and would be lost: give --out a folder" in lost
    assert "is no run's folder: it has no config.json" in none
    assert sorted(whole.iterdir()) == before
