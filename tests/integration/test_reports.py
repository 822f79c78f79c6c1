"""Each report's config trains from the command line, on synthetic faces in its data set's own layout."""

import json

import numpy as np
import pytest
import safetensors.numpy

from tests import datasets

# The nets with large dense layers see fewer pixels here than configured; all else is as configured.
SMALLER = ("--config.input.size=32",)
CASES = {
    "xception.py:paper": ("fer2013", ("--config.epochs=1",), 7),
    "vgg16.py": ("vgg16", ("--config.epochs=1",), 7),
    "jaffe.py:basic,split=random": ("jaffe", ("--config.epochs=2",), 7),
    "jaffe.py:dropout": ("jaffe", ("--config.epochs=1",), 7),
    "jaffe.py:best,optimizer=nadam": ("jaffe", ("--config.epochs=1", "--config.input.size=48"), 7),
    "ckplus.py:model1": ("ckplus", ("--config.epochs=1", *SMALLER), 7),
    "ckplus.py:model2,norm=batch,split=random": ("ckplus", ("--config.epochs=1", *SMALLER), 7),
    "six_conv.py": ("fer2013", ("--config.epochs=1", "--config.data.args.subsample_happy_by=3"), 6),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Flags for each data set."""
    folder = tmp_path_factory.mktemp("data")
    csv = datasets.write_fer2013(folder / "fer2013")
    weights = folder / "vgg16.safetensors"
    rng, state, channels = np.random.default_rng(0), {}, 3
    numbers = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # torchvision's
    for number, width in zip(numbers, (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512), strict=True):
        state[f"features.{number}.weight"] = rng.normal(0, 0.05, (width, channels, 3, 3)).astype(np.float32)
        state[f"features.{number}.bias"] = np.zeros(width, np.float32)
        channels = width
    safetensors.numpy.save_file(state, weights)
    path = "--config.data.path={}".format
    return {
        "fer2013": (path(csv),),
        "vgg16": (path(csv), f"--config.model.pretrained={weights}"),
        "jaffe": (path(datasets.write_jaffe(folder / "jaffe", people=10)),),
        "ckplus": (path(datasets.write_ckplus(folder / "ckplus", "original", people=6)),),
    }


@pytest.mark.parametrize(
    "config", [pytest.param(name, marks=pytest.mark.slow if name == "jaffe.py:dropout" else ()) for name in CASES]
)
def test_a_shortened_training_gives_a_scored_result(command, data, tmp_path, config):
    source, flags, classes = CASES[config]
    command(
        "fer_jax.main",
        f"--config=configs/{config}",
        f"--workdir={tmp_path}",
        *data[source],
        *flags,
        "--config.data.pipeline=device",
    )
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert len(result["label_names"]) == classes
    for scores in result["splits"].values():
        confusion = np.array(scores["confusion"])
        assert confusion.shape == (classes, classes)
        assert confusion.sum() == scores["examples"] > 0
        assert 0 <= scores["accuracy"] <= 1
    assert (tmp_path / "report" / "faces.png").is_file()
    overstates = "Split at random" in result["split_note"]
    assert overstates == ("split=random" in config)
    if source in ("jaffe", "ckplus") and "random" not in config:
        assert "No person is both trained on and held out" in result["split_note"]
    if config.startswith("six_conv"):
        assert "removed" in result["data"] or "merged" in result["data"]
