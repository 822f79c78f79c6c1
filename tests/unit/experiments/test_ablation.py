"""Changes to a recipe, what they are allowed to be, and how what they gave is added up."""

import json
import math

import numpy as np
import pytest

from configs import default, xception
from fer_jax.errors import UserError
from fer_jax.experiments import ablation
from tests.results import run_result


def result(config, accuracy):
    scores = {
        "accuracy": accuracy,
        "macro_f1": accuracy - 0.1,
        "examples": 400,
        "per_class": {"disgust": {"recall": accuracy / 2}},
    }
    return run_result(seed=config.seed, splits={"PublicTest": scores})


def test_every_change_is_trained_with_every_seed_in_a_folder_of_its_own(tmp_path, monkeypatch):
    trained = []

    def train_and_score(config, workdir):
        trained.append((workdir.name, config.seed, config.augment.erase))
        return result(config, 0.5 + 0.1 * config.augment.erase * (config.seed - 4))

    monkeypatch.setattr(ablation, "train_and_score", train_and_score)
    config = default.get_config()
    config.seed = 5
    record = ablation.run(config, {"more erasing": {"augment.erase": 0.5}}, 2, tmp_path, "the command")
    assert trained == [
        ("as_it_is_seed5", 5, 0.0),
        ("more_erasing_seed5", 5, 0.5),
        ("as_it_is_seed6", 6, 0.0),
        ("more_erasing_seed6", 6, 0.5),
    ]
    assert json.loads((tmp_path / "ablation.json").read_text(encoding="utf-8")) == record
    base, erasing = record["rows"]
    assert (base["name"], base["seeds"], base["accuracy"]) == (ablation.BASE, [5, 6], [0.5, 0.5])
    np.testing.assert_allclose(erasing["accuracy"], [0.55, 0.6])
    assert erasing["difference"] == pytest.approx({"mean": 0.075, "standard_error": 0.025})
    assert config.augment.erase == 0.0


def test_the_error_of_one_seed_is_that_of_two_samples_of_faces():
    found = ablation.difference([0.6], [0.5], 400)
    assert found == pytest.approx({"mean": 0.1, "standard_error": math.sqrt((0.24 + 0.25) / 400)})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "Expecting property name"),
        ("[]", "holds no object of objects"),
        ('{"a": 1}', "holds no object of objects"),
        ('{"long": {"epoch": 3}}', "long: the config has no key 'epoch'"),
        ('{"long": {"epochs": "x"}}', "long: config.epochs is 'x': expected a whole number"),
        ('{"long": {"augment.flip": null}}', "long: config.augment.flip is None: expected a number"),
        ('{"long": {"augment": {"flip": 0}}}', "long: config.augment is a group of keys"),
        ('{"long": {"augment.flip": NaN}}', "long: config.augment.flip is nan"),
        ('{"long": {"seed": 5}}', "long: config.seed is the same for all changes: leave it out; --config.seed and"),
        ('{"lr 1e-3": {"epochs": 3}, "LR-1e-3": {"epochs": 4}}', "'LR-1e-3' and 'lr 1e-3' would share the folder"),
        ('{"as it is": {"epochs": 3}}', "'as it is' is the name of the unchanged config"),
        ('{"as_it_is": {"epochs": 3}}', "'as_it_is' and 'as it is' would share the folder"),
        ('{"a": {"epochs": 3}, "a": {"epochs": 4}}', "'a' appears twice"),
        ('{"%s": {"epochs": 3}}' % ("a" * 300), "has 300 characters"),
        ("{}", "holds no changes"),
        ('{"long": {}}', "long: it changes nothing: give keys and values"),
        ('{"": {"epochs": 3}}', "the name '' has no letter or digit"),
        ('{"..": {"epochs": 3}}', "the name '..' has no letter or digit"),
        ('{"long": {"epochs": 0}}', "long: config.epochs is 0: expected at least 1"),
    ],
)
def test_bad_changes_are_refused_before_anything_is_trained(tmp_path, content, message):
    path = tmp_path / "changes.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError) as error:
        ablation.read(path, default.get_config())
    assert str(error.value).startswith("--changes: ")
    assert message in str(error.value)


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    (path := tmp_path / "changes.json").write_text('{"no flip": {"augment.flip": 0}}', encoding="utf-8-sig")
    assert ablation.read(path, default.get_config()) == {"no flip": {"augment.flip": 0}}


def test_an_ablation_of_a_config_of_several_seeds_is_refused(tmp_path):
    (path := tmp_path / "changes.json").write_text('{"no flip": {"augment.flip": 0}}', encoding="utf-8")
    config = default.get_config()
    config.seeds = 2
    with pytest.raises(UserError, match=r"config\.seeds is 2: an ablation trains one model after another; use --seeds"):
        ablation.read(path, config)


def test_the_kept_changes_of_mini_xception_are_good():
    for name in ("optimisers", "learning", "images", "length"):
        assert ablation.read(f"configs/ablations/{name}.json", xception.get_config())
    assert ablation.read("configs/ablations/teaching.json", xception.get_config("taught"))
