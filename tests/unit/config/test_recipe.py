"""Config files of anybody, from anywhere, and values as they are written on a command line."""

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import default
from fer_jax import config as configs
from fer_jax import zoo
from fer_jax.config import recipe
from fer_jax.data import loading
from fer_jax.errors import UserError

QUICKSTART = "configs/quickstart.py"
BODY = "from configs import default\ndef get_config():\n    c = default.get_config()\n"


@pytest.fixture
def written(tmp_path):
    """A function that writes a config file and returns its path."""

    def write(body, name="mine.py"):
        (path := tmp_path / name).write_text(textwrap.dedent(body), encoding="utf-8")
        return str(path)

    return write


def refusal(argument, *changes):
    with pytest.raises(UserError) as error:
        configs.read(argument, changes)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("eval.tta=flip,ten_crop", ("flip", "ten_crop")),
        ("eval.tta=flip", ("flip",)),
        ("eval.tta=('flip',)", ("flip",)),
        ("eval.tta=(flip, ten_crop)", ("flip", "ten_crop")),
        ("eval.tta=['flip', 'ten_crop']", ("flip", "ten_crop")),
        ("eval.tta=", ()),
        ("eval.tta=()", ()),
        ("teacher.runs=runs/a,~/b", ("runs/a", "~/b")),
        ("data.cache=true", True),
        ("data.cache=False", False),
        ("parallel.sync_batchnorm=0", False),
        ("epochs=3", 3),
        ("optim.learning_rate=1e-2", 0.01),
        ("augment.rotation=10", 10.0),
        ("data.path=a=b", "a=b"),
        ("model.args={'block_features': (8,)}", {"block_features": (8,)}),
        ("model.args.block_features=8,16", (8, 16)),
        ("data.args.examples=70", 70),
    ],
)
def test_values_of_a_command_line(text, value):
    found = configs.get(configs.read(QUICKSTART, [text]), text.partition("=")[0])
    assert (found.to_dict() if isinstance(value, dict) else found) == value
    assert type(found) is type(value) or isinstance(value, dict)


def test_the_last_value_stands_and_those_of_a_tuple_add_up_whatever_their_order():
    config = configs.read(QUICKSTART, ["epochs=3", "eval.tta=flip", "epochs=4", "eval.tta=ten_crop"])
    assert (config.epochs, config.eval.tta) == (4, ("flip", "ten_crop"))
    config = configs.read("configs/default.py", ["model.args.dropout=0.5", "model.name=vgg"])
    assert config.model.args.dropout == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("optim.lr=1", "the config has no key 'optim.lr': config.optim has name, learning_rate"),
        ("epoch=3", "the config has no key 'epoch': the nearest is config.epochs"),
        ("learning_rate=3", "the config has no key 'learning_rate': the nearest is config.optim.learning_rate"),
        ("optimizer=3", "the config has no key 'optimizer': expected one of name, seed"),
        ("optim=3", "config.optim is a group of keys, not a value"),
        ("epochs=x", "config.epochs is 'x': expected a whole number"),
        ("epochs=2.5", "config.epochs is '2.5': expected a whole number"),
        ("epochs=", "config.epochs is '': expected a whole number"),
        ("optim.learning_rate=fast", "config.optim.learning_rate is 'fast': expected a number"),
        ("optim.learning_rate=nan", "config.optim.learning_rate is nan: expected at least"),
        ("optim.name=adagrad", "config.optim.name is 'adagrad': expected one of adam, adamw"),
        ("data.cache=maybe", "config.data.cache is 'maybe': expected true or false"),
        ("model.args.block_features=a,b", "config.model.args.block_features is 'a,b': expected numbers"),
        ("eval.tta=1,2", "config.eval.tta has 1: expected text"),
        ("model.args=3", "config.model.args is 3: expected arguments by their names"),
        ("model.args={", "config.model.args is '{': expected arguments as in"),
    ],
)
def test_a_wrong_change_is_one_line_with_the_right_one(change, message):
    assert message in refusal(QUICKSTART, change)


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_change_is_taken_or_refused_in_one_line(key, value):
    try:
        recipe.read(QUICKSTART, [f"{key}={value}"])
    except UserError as error:
        assert "\n" not in str(error) and len(str(error)) < 600


def test_every_default_written_out_is_the_default():
    defaults = {key: field.default for key, field in configs.TABLE.items()}
    texts = [f"{key}={','.join(map(str, v)) if isinstance(v, tuple) else v}" for key, v in defaults.items()]
    assert configs.read("configs/default.py", texts) == default.get_config()


def test_a_file_of_the_users_own_in_any_folder(written, tmp_path, monkeypatch):
    path = written("""
        from fer_jax.recipes import xception
        def get_config(variant=""):
            config = xception.get_config(variant)
            config.epochs = 1
            return config
    """)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert configs.read(path).epochs == 1
    assert configs.read("mine.py:distilled").teacher.runs
    assert configs.read("~/mine.py").epochs == 1
    assert configs.read(QUICKSTART).name == "quickstart"  # the project's own are found from everywhere


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("X = 1", "no function get_config: expected get_config(variant='') that returns a config"),
        ("get_config = 3", "no function get_config"),
        ("def get_config(): pass", "its get_config returns NoneType: expected a config; end it with `return config`"),
        ("def get_config(): return 3", "its get_config returns int: expected a config"),
        ("def get_config(:", "line 1: "),
        ("\0", "null byte"),
        ("import nowhere_to_be_found", "mine.py, line 1: ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("def get_config():\n    return 1 / 0", "mine.py, line 2: ZeroDivisionError: division by zero"),
        (
            f"{BODY}    c.optim.lr = 0.1",
            "line 4: the config has no key 'optim.lr': config.optim has name, learning_rate",
        ),
        (f"{BODY}    c.epoch = 1", "mine.py, line 4: the config has no key 'epoch': the nearest is config.epochs"),
        (f"{BODY}    c.epochs = 'x'", "mine.py, line 4: TypeError: Could not override field 'epochs'"),
        (
            "from ml_collections import ConfigDict\ndef get_config(): return ConfigDict({'epochs': 3})",
            "the config has no value for 'name': start from configs.default.get_config()",
        ),
    ],
)
def test_a_file_that_gives_no_config_is_one_line(written, body, message):
    assert message in refusal(written(body))


def test_a_file_that_is_no_config_file(tmp_path):
    assert refusal("configs/nope.py").startswith("--config: configs/nope.py: No such file or directory")
    assert "is a folder: expected a file" in refusal(str(tmp_path))
    (binary := tmp_path / "x.py").write_bytes(b"\x1f\x8b\x08\xff")
    assert "is no text" in refusal(str(binary))
    installed = ModuleNotFoundError("No module named 'configs'", name="configs")  # which lies beside a checkout alone
    advice = "write `from fer_jax.recipes import ...`, which works in any folder"
    assert recipe.explain(binary, installed).endswith(f"x.py: No module named 'configs': {advice}")


def test_a_variant_is_one_that_the_file_takes(written):
    assert configs.read("xception:distilled").name == "xception_distilled"
    assert "the config has no variant 'worst'" in refusal("configs/xception.py:worst")
    path = written("from configs import default\ndef get_config(): return default.get_config()")
    assert "takes no variant, and 'best' was given" in refusal(f"{path}:best")


def test_changing_a_config_leaves_it_as_it_was():
    config = default.get_config()
    other = configs.changed(config, {"epochs": 3, "eval.tta": ["flip"], "model.args.block_features": [8]})
    assert (other.epochs, other.eval.tta, other.model.args.block_features) == (3, ("flip",), (8,))
    assert config == default.get_config()


def test_the_data_gives_the_source_and_a_bundle_gives_the_network(tmp_path):
    config = configs.read("finetune")
    assert config.data.source == "auto" and config.model.pretrained in zoo.names()
    (tmp_path / "faces" / "happy").mkdir(parents=True)
    config = configs.changed(config, {"data.path": str(tmp_path / "faces"), "model.pretrained": "mini_xception"})
    assert config.data.source == "folder" and config.model.args.block_features == (16, 32, 64, 128)
    assert config == configs.read("finetune", [f"data.path={tmp_path}/faces", "model.pretrained=mini_xception"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: no data in it: expected a folder of images for each class"):
        configs.read("finetune", [f"data.path={tmp_path}/empty"])
    with pytest.raises(UserError, match=r"gone: no such file or folder"):
        configs.read("finetune", ["data.path=gone"])
    with pytest.raises(UserError, match=r"'auto' and config.data.path empty: give the folder"):
        loading.load(configs.read("finetune"))
