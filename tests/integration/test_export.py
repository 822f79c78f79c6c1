"""From a finished run to a bundle, and what bad input gets."""

import json

import pytest

from fer_jax.bundle import manifest

WORDS = ("--name=drawn", "--note=The only run.")
SMALL = ("--config.epochs=1", "--config.batch_size=42", "--config.data.args.examples=210")


@pytest.fixture(scope="module")
def finished(command, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run") / "quickstart"
    command("fer_jax.main", "--config=configs/quickstart.py", f"--workdir={workdir}", *SMALL)
    return workdir


@pytest.fixture(scope="module")
def exported(command, finished):
    """(folder of the bundle, what the command printed)."""
    out = finished.parent / "quickstart.bundle"
    return out, command("tools.export", f"--workdir={finished}", f"--out={out}", "--int8", "--float16", *WORDS).stdout


def test_every_format_has_a_line_and_the_classes_their_recall(exported):
    out, printed = exported
    lines = printed.splitlines()
    assert [line.split()[0] for line in lines[:6]] == ["format", "flax", "onnx", "float16", "int8", "stablehlo"]
    assert lines[8].split() == ["recall", "examples", "flax", "onnx", "float16", "int8", "stablehlo"]
    assert [line.split()[:2] for line in lines[9:16]] == [[name, "3"] for name in manifest.read(out).labels]
    assert lines[-1] == f"done: {out}"


def test_the_bundle_carries_the_run(exported, finished):
    read = manifest.read(exported[0])
    result = json.loads((finished / "result.json").read_text(encoding="utf-8"))
    assert read.labels == tuple(result["label_names"])
    assert read.name == "drawn"
    assert read.file("card").read_text(encoding="utf-8").startswith("# drawn\n")
    assert "\nThe only run.\n" in read.file("card").read_text(encoding="utf-8")
    assert read.provenance["result"]["splits"]["PublicTest"]["accuracy"] == result["splits"]["PublicTest"]["accuracy"]
    assert read.provenance["training_data"].startswith(result["data"])
    assert read.provenance["formats"]["onnx"]["accuracy"] == pytest.approx(
        result["splits"]["PublicTest"]["accuracy"], abs=0.05
    )  # one face of 21: bfloat16 on accelerators
    assert read.provenance["licence"].startswith("Apache-2.0, code and weights")


def test_an_exported_file_is_scored_as_it_runs(command, exported, tmp_path):
    out, _ = exported
    command("tools.evaluate", f"--bundle={out}", "--format=int8", f"--json={tmp_path / 'scores.json'}")
    scores = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))["splits"]["PublicTest"]
    assert scores["examples"] == 21
    assert scores["accuracy"] == manifest.read(out).provenance["formats"]["int8"]["accuracy"]


def test_a_bundle_is_calibrated_again_in_a_copy(command, exported, tmp_path):
    out, copy = exported[0], tmp_path / "copy"
    command("tools.evaluate", f"--bundle={out}", "--calibrate", "--coverage=0.5", f"--out={copy}", "--prior=flat")
    original, calibrated = manifest.read(out), manifest.read(copy)
    assert sum(original.provenance["class_counts"].values()) == 168
    assert calibrated.uncertain_below != original.uncertain_below
    assert calibrated.temperature == original.temperature
    card = calibrated.file("card").read_text().splitlines()[-1]
    assert (
        card.startswith("Calibrated again on 21 faces of")
        and "with the prior flat" in card
        and "the scores above are without" in card
    )
    assert f"the temperature is {original.temperature:.3f}," in card


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--workdir={run}", "--out={run}"), "which is no part of a bundle and would be lost: give --out a folder"),
        (("--workdir={run}/nothing", "--out={run}/new"), "is no run's folder: it has no config.json"),
    ],
)
def test_bad_input_is_one_line(command, finished, arguments, message):
    before = sorted(finished.iterdir())
    done = command("tools.export", *(argument.format(run=finished) for argument in arguments), check=False)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert sorted(finished.iterdir()) == before
