import json

import pytest

from configs import default
from fer_jax import config as configs
from fer_jax.errors import UserError


def test_the_defaults_are_valid_and_every_rule_names_a_key():
    config = default.get_config()
    configs.validate(config)
    for key in (*configs.CHOICES, *configs.RANGES, *configs.FREE_TO_CHANGE):
        configs.get(config, key)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "optim.name",
            "adagrad",
            "config.optim.name is 'adagrad': expected one of adam, adamw, lion, muon, nadam, radam, sgd",
        ),
        ("data.pipeline", "torch", "config.data.pipeline is 'torch': expected one of tf, device, auto"),
        ("eval.tta", ("flip", "zoom"), "config.eval.tta has 'zoom': expected flip or ten_crop"),
        ("epochs", 0, "config.epochs is 0: expected at least 1"),
        ("augment.flip", 1.5, "config.augment.flip is 1.5: expected between 0 and 1"),
        ("optim.learning_rate", float("nan"), "config.optim.learning_rate is nan: expected at least"),
        ("input.channels", 2, "config.input.channels is 2: expected one of 1, 3"),
    ],
)
def test_a_bad_value_is_refused_with_what_was_expected(key, value, message):
    config = default.get_config()
    config.update_from_flattened_dict({key: value})
    with pytest.raises(UserError) as error:
        configs.validate(config)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_values_that_do_not_go_together():
    config = default.get_config()
    config.optim.warmup_epochs = 40.0
    with pytest.raises(UserError, match=r"warmup_epochs is 40\.0: expected less than the 40"):
        configs.validate(config)
    config = default.get_config()
    config.batch_size, config.augment.mixup = 31, 0.2
    with pytest.raises(UserError, match="batch_size is 31: mixup and cutmix"):
        configs.validate(config)


def test_the_end_cannot_be_sharp_where_nobody_knows_it():
    config = default.get_config()
    config.augment.sharp_share, config.eval.early_stop = 0.2, 10
    with pytest.raises(UserError, match=r"sharp_share is 0\.2 and config\.eval\.early_stop 10: nobody"):
        configs.validate(config)


def test_random_layers_are_not_frozen():
    config = default.get_config()
    config.optim.trainable_from = "block4"
    with pytest.raises(UserError, match="that would freeze random layers"):
        configs.validate(config)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("name", "lion", "config.optim.name 'lion': expected one of adam, adamw, sgd"),
        ("ema_decay", 0.9, "config.optim.ema_decay 0.9: set it to 0.0"),
        ("accumulate_steps", 2, "config.optim.accumulate_steps 2: set it to 1"),
        ("momentum", 0.0, "config.optim.momentum 0: expected more"),
    ],
)
def test_what_does_not_go_with_the_schedule_free(key, value, message):
    config = default.get_config()
    config.optim.schedule = "free"
    configs.validate(config)
    config.optim[key] = value
    with pytest.raises(UserError, match=r"config\.optim\.schedule is 'free'") as error:
        configs.validate(config)
    assert message in str(error.value)


def test_a_run_of_an_older_version_has_the_keys_that_were_added(tmp_path):
    config = default.get_config()
    configs.save(config, tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    for key in configs.ADDED_LATER:
        group, name = key.split(".")
        del saved[group][name]
    (tmp_path / "config.json").write_text(json.dumps(saved))
    assert json.loads(configs.load(tmp_path).to_json()) == json.loads(config.to_json())
    configs.refuse_other(config, tmp_path)


def test_an_unknown_key_cannot_be_set():
    config = default.get_config()
    with pytest.raises((AttributeError, KeyError), match="nope"):
        config.optim.nope = 1


def test_a_config_comes_back_from_its_workdir(tmp_path):
    config = default.get_config()
    configs.save(config, tmp_path)
    assert json.loads(configs.load(tmp_path).to_json()) == json.loads(config.to_json())
    configs.refuse_other(config, tmp_path)


def test_a_workdir_of_another_config_is_refused_with_the_differing_keys(tmp_path):
    config = default.get_config()
    configs.save(config, tmp_path)
    config.optim.learning_rate, config.seed = 0.5, 3
    config.data.path = "/moved/fer2013.csv"  # may change: it is the same data elsewhere
    with pytest.raises(UserError) as error:
        configs.refuse_other(config, tmp_path)
    assert "optim.learning_rate was 0.001, is 0.5, seed was 0, is 3" in str(error.value)
    assert "data.path" not in str(error.value)


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(UserError, match="no run's folder"):
        configs.load(tmp_path)
