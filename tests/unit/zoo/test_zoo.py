"""The bundles that come with the package."""

import json
import shutil

import numpy as np
import pytest

from fer_jax import config as configs
from fer_jax import zoo
from fer_jax.bundle import manifest
from fer_jax.data.sources import fer2013
from fer_jax.errors import UserError
from fer_jax.labels import FER2013
from fer_jax.serve import Classifier
from tests.conftest import REPOSITORY

MAX_BYTES = 1_500_000  # of a model; tests/integration/test_wheel.py holds the wheel


@pytest.mark.parametrize("name", zoo.names())
def test_each_is_whole_small_and_has_its_card_and_figures(name):
    shipped = manifest.read(zoo.HOME / name)
    assert sum(path.stat().st_size for path in shipped.path.iterdir()) <= MAX_BYTES
    assert {path.name for path in shipped.path.iterdir()} == {"bundle.json", *(p.name for p in shipped.files.values())}
    assert shipped.file("onnx").is_file()
    card = shipped.file("card").read_text(encoding="utf-8")
    scores = shipped.provenance["result"]["splits"]["PublicTest"]
    assert f"| PublicTest | {scores['examples']:,} | {100 * scores['accuracy']:.1f} ± " in card
    assert "Article 5(1)(f)" in card
    assert set(shipped.provenance["class_counts"]) == set(shipped.labels)
    assert shipped.temperature != 1 and shipped.uncertain_below > 0


def test_the_default_is_first_and_names_fer2013_s_expressions():
    assert zoo.names()[0] == zoo.DEFAULT.name == "mini_xception_wild"
    assert manifest.read(zoo.DEFAULT).labels == FER2013


def test_a_folder_comes_before_a_model_s_name_and_a_mistyped_name_has_its_neighbour(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert zoo.resolve("mini_xception_wild") == zoo.DEFAULT
    assert zoo.resolve("./mini_xception_wild") != zoo.DEFAULT
    assert zoo.resolve(tmp_path / "nothing") == tmp_path / "nothing"  # its reader says what is missing
    with pytest.raises(UserError, match=r"no bundle at mini_xcepton .*did you mean 'mini_xception'"):
        zoo.resolve("mini_xcepton")
    (tmp_path / "mini_xception_wild").mkdir()
    assert zoo.resolve("mini_xception_wild").absolute() == tmp_path / "mini_xception_wild"


def test_another_model_is_one_more_folder(tmp_path, monkeypatch):
    for name in ("vgg", "mini_xception_wild", "alpha"):
        shutil.copytree(zoo.DEFAULT, tmp_path / name)
    monkeypatch.setattr(zoo, "HOME", tmp_path)
    assert zoo.names() == ["mini_xception_wild", "alpha", "vgg"]
    assert zoo.resolve("vgg") == tmp_path / "vgg"


@pytest.mark.parametrize("name", ["mini_xception", "mini_xception_wide"])
def test_it_scores_what_its_card_says(fer2013_csv, name):
    faces, labels, usage = fer2013.parse(fer2013_csv)
    public = usage == "PublicTest"
    names = [result.label for result in Classifier(zoo.HOME / name)(list(faces[public]))]
    found = np.mean(np.array(names) == np.array(FER2013)[labels[public]])
    said = manifest.read(zoo.HOME / name).provenance["result"]["splits"]["PublicTest"]["accuracy"]
    assert abs(found - said) <= 3 / 3589  # rounding may turn a tie, and one was scored in bfloat16


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("mini_xception_wide", "xception:wide"),
        ("mini_xception_wild", "xception:wild"),
        ("mini_xception_ferplus", "ferplus:mini_xception"),
    ],
)
def test_it_was_trained_by_the_recipe_that_is_said_to_have_made_it(name, recipe):
    made = configs.flatten(manifest.read(zoo.HOME / name).provenance["config"])
    own = configs.flatten(json.loads(configs.read(recipe).to_json()))  # a tuple becomes a list
    free = {key for key, field in configs.TABLE.items() if field.free}
    other = {key for key in own.keys() & made.keys() if own[key] != made[key]} - free
    assert other <= {"name", "seed", "teacher.runs", "model.pretrained", "parallel.steps_per_dispatch"}


def test_the_docs_say_when_to_take_a_model_as_the_package_does():
    page = (REPOSITORY / "docs/how-to/choose-a-model.md").read_text(encoding="utf-8")
    assert sorted(zoo.USES) == sorted(zoo.names())
    for name, use in zoo.USES.items():
        default = " (the default)" if name == zoo.DEFAULT.name else ""
        assert f"| `{name}`{default} | {use} |" in page
