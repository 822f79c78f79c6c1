"""The config in a run's folder and in a bundle, also in those of other versions."""

import json

import pytest

from configs import default, xception
from fer_jax import config as configs
from fer_jax import zoo
from fer_jax.bundle import manifest
from fer_jax.errors import UserError


@pytest.fixture
def workdir(tmp_path):
    """A folder of a run of the default config that has a checkpoint."""
    (tmp_path / "checkpoints" / "00000004").mkdir(parents=True)
    configs.save(default.get_config(), tmp_path)
    return tmp_path


def test_a_config_comes_back_from_its_workdir(tmp_path):
    config = xception.get_config("distilled")
    config.data.args.anything = (1, 2)
    configs.save(config, tmp_path)
    loaded = configs.load(tmp_path)
    assert loaded == config and loaded.is_locked
    assert loaded.teacher.runs == ("runs/vgg_small",) and loaded.model.args.block_features == (16, 32, 64, 128)


def test_a_workdir_of_another_config_is_refused_with_the_differing_keys(workdir):
    config = default.get_config()
    config.optim.learning_rate, config.seed = 0.5, 3
    config.data.path = "/moved/fer2013.csv"  # may change: it is the same data elsewhere
    with pytest.raises(UserError) as error:
        configs.refuse_other(config, workdir)
    assert "optim.learning_rate was 0.001, is 0.5, seed was 0, is 3" in str(error.value)
    assert "data.path" not in str(error.value)


def test_an_argument_at_its_default_is_the_same_as_none_and_a_begun_run_needs_no_weights(workdir):
    config = default.get_config()
    config.model.args.stem_features = 8
    configs.refuse_other(config, workdir)
    config.model.pretrained = "/gone/weights.h5"
    configs.require_inputs(config, workdir)
    config.model.args.block_features = (8, 16)
    with pytest.raises(UserError, match=r"model\.args\.block_features was \[16, 32, 64, 128\], is \[8, 16\]"):
        configs.refuse_other(config, workdir)


def test_a_folder_without_a_checkpoint_belongs_to_nobody(tmp_path):
    config = default.get_config()
    configs.save(config, tmp_path)
    config.seed = 3
    configs.refuse_other(config, tmp_path)
    (tmp_path / "seed_3" / "checkpoints" / "00000004").mkdir(parents=True)
    with pytest.raises(UserError, match="seed was 0, is 3"):
        configs.refuse_other(config, tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is no run's folder: it has no config.json"),
        ("", "Expecting value"),
        ("{", "the config that a run wrote there that is damaged"),
        ("[1]", "expected the config that a run wrote there"),
    ],
)
def test_a_folder_without_todays_config(tmp_path, content, message):
    if content is not None:
        (tmp_path / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        configs.load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_config_whose_values_were_changed_by_hand(workdir):
    saved = json.loads((workdir / "config.json").read_text(encoding="utf-8"))
    saved["epochs"] = "many"
    (workdir / "config.json").write_text(json.dumps(saved), encoding="utf-8")
    with pytest.raises(UserError, match="the file was changed; train the run again"):
        configs.load(workdir)


def test_the_config_of_another_version_is_read_and_not_resumed(workdir, caplog):
    saved = json.loads((workdir / "config.json").read_text(encoding="utf-8"))
    expected = configs.load(workdir)
    del saved["data"]["cache"]
    saved["optim"]["lookahead_steps"] = 5
    (workdir / "config.json").write_text(json.dumps(saved), encoding="utf-8")
    assert configs.load(workdir) == expected
    assert "by another version of fer_jax, which differs in data.cache, optim.lookahead_steps" in caplog.text
    with pytest.raises(UserError, match=r"differs in data\.cache, optim\.lookahead_steps: go on with that version"):
        configs.refuse_other(expected, workdir)


@pytest.mark.parametrize("name", zoo.names())
def test_the_configs_of_the_bundles_in_the_package_have_every_key(name):
    config = configs.with_defaults(manifest.read(zoo.resolve(name)).provenance["config"])
    assert set(configs.flatten(config.to_dict())) >= set(configs.TABLE) - {"data.args", "model.args"}
    assert config.is_locked


def test_weights_and_teachers_must_exist(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = default.get_config()
    configs.require_inputs(config, tmp_path / "new")
    config.teacher.runs = ("~/teacher",)
    with pytest.raises(UserError, match="'~/teacher', but ~/teacher holds no trained run: expected"):
        configs.require_inputs(config, tmp_path / "new")
    configs.save(config, tmp_path / "teacher")
    with pytest.raises(UserError, match="holds no trained run"):
        configs.require_inputs(config, tmp_path / "new")
    (tmp_path / "teacher" / "checkpoints" / "00000004").mkdir(parents=True)
    configs.require_inputs(config, tmp_path / "new")
    config.model.pretrained = "~/weights.h5"
    with pytest.raises(UserError, match=r"no weights at .*weights\.h5: expected .* fer2013_mini_XCEPTION"):
        configs.require_inputs(config, tmp_path / "new")
    (tmp_path / "weights.h5").touch()
    configs.require_inputs(config, tmp_path / "new")
