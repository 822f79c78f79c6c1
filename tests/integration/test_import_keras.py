"""From a Keras file to a bundle that scores as it did in Keras, and what bad input gets."""

import json

import pytest

from fer_jax.bundle import manifest


@pytest.mark.slow
def test_published_weights_reach_the_published_score(command, real_data, fer2013_csv, tmp_path):
    weights = real_data / "models" / "fer2013_mini_XCEPTION.107-0.66.hdf5"
    out, scores = tmp_path / "keras.bundle", tmp_path / "scores.json"
    printed = command("tools.import_keras", f"--weights={weights}", "--model=mini_xception", f"--out={out}").stdout
    assert printed.splitlines()[-1] == f"done: {out}"
    read = manifest.read(out)
    assert (read.input.size, read.input.channels, read.input.scaling) == (64, 1, "signed")
    assert read.model["parameters"] == 58_423
    assert weights.name in read.provenance["training_data"]
    command("tools.evaluate", f"--bundle={out}", "--split=PublicTest", f"--data={fer2013_csv}", f"--json={scores}")
    split = json.loads(scores.read_text(encoding="utf-8"))["splits"]["PublicTest"]
    assert split["examples"] == 3_589
    assert split["accuracy"] == pytest.approx(0.6503, abs=0.002)  # of Keras itself on the same images


def test_mistakes_are_one_line_and_write_nothing(mistakes, real_data, tmp_path):
    weights = real_data / "models" / "fer2013_mini_XCEPTION.107-0.66.hdf5"
    out = f"--out={tmp_path / 'x.bundle'}"
    missing, labels = mistakes(
        f"import-keras --weights=nothing.hdf5 {out}", f"import-keras --weights={weights} --labels=a,b {out}"
    )
    named = "error: no weights at nothing.hdf5: expected fer2013_mini_XCEPTION.107-0.66.hdf5 of "
    assert missing.startswith(named)
    assert "has 7 classes, --labels names 2: give them in the order of its training data" in labels
    assert list(tmp_path.iterdir()) == []
