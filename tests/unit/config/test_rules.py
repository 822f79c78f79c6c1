"""Values that are each allowed and do not go together, and what only a network or a source can refuse."""

import pytest

from configs import default
from fer_jax import config as configs
from fer_jax.errors import UserError
from tests.conftest import run_python

TAKES = "mini_xception takes block_features, enlarge_to"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, "config.name is '': expected the name of a folder"),
        ({"name": "../elsewhere"}, "config.name is '../elsewhere': expected the name of a folder, without a slash"),
        ({"data.test_split": "Training"}, "config.data.train_split is 'Training', the name of the select or test"),
        ({"data.select_split": ""}, "config.data.select_split is empty"),
        ({"data.holdout": 0.6, "data.holdout_test": 0.4}, "together they leave nothing to train on"),
        ({"input.crop": 64}, "config.input.crop is 64 and config.input.size 48: the crop must fit"),
        ({"optim.warmup_epochs": 40.0}, "config.optim.warmup_epochs is 40.0: expected less than the 40"),
        ({"batch_size": 31, "augment.mixup": 0.2}, "config.batch_size is 31: mixup pairs"),
        (
            {"augment.no_warp_fraction": 0.2, "augment.zoom": 0.1, "eval.early_stop": 10},
            "early stopping makes the run length unknown",
        ),
        (
            {"optim.momentum": 0.5},
            "config.optim.momentum is 0.5, which means nothing without config.optim.name=sgd: set",
        ),
        ({"optim.plateau_factor": 0.5}, "without config.optim.schedule=plateau: set it to 0.1"),
        ({"optim.plateau_patience": 5}, "without config.optim.schedule=plateau: set it to 10"),
        ({"optim.trainable_from": "block4"}, "that would freeze random layers"),
        ({"optim.trainable_from": "block9", "model.pretrained": "x"}, "block9"),
        # arguments that the source, the steps or the network do not take
        ({"data.args.examples": 100}, "config.data.args has no 'examples': the source fer2013 takes votes_path"),
        ({"data.args": {"examples": 100}}, "config.data.args has examples: the source fer2013 takes votes_path"),
        (
            {"data.clean": ("drop_flat", "subsample_happy"), "data.args": {"happy": 1}},
            "config.data.args has happy: the source fer2013 with drop_flat, subsample_happy takes subsample_",
        ),
        (
            {"data.clean": ("subsample_happy",), "data.args.subsample_happy_by": -5},
            "config.data.args.subsample_happy_by is -5: expected at least 1",
        ),
        ({"data.source": "synthetic", "data.args.examples": 69}, "config.data.args.examples is 69: expected between"),
        ({"model.args.width": 3}, f"config.model.args has no 'width': {TAKES}"),
        ({"model.args": {"width": 3}}, f"config.model.args has width: {TAKES}"),
        ({"model.args.stem_features": 0}, "config.model.args.stem_features is 0: expected between 1 and"),
        ({"model.args.block_features": (8, -8)}, "config.model.args.block_features has -8: expected"),
        ({"model.name": "resnet18", "model.args.stage_features": ()}, "model.args: resnet18 cannot be built with"),
        ({"model.name": "vgg", "model.args.dropout": 1.0}, "config.model.args.dropout is 1.0: expected between 0"),
        ({"model.name": "vgg", "model.args.dropout": float("nan")}, "config.model.args.dropout is nan"),
        ({"model.name": "vgg", "model.args.dropout": "half"}, "config.model.args.dropout is 'half': expected a number"),
        # sizes that a network cannot take
        ({"model.name": "jaffe_best", "input.size": 16}, "cannot take images of 16 x 16 pixels; the smallest it takes"),
        ({"model.name": "jaffe_basic", "input.size": 8}, "the smallest it takes are 24 x 24"),
        ({"model.name": "ckplus_model1", "input.size": 8}, "the smallest it takes are 12 x 12"),
        ({"model.name": "vgg", "input.size": 8}, "config.input.size is 8: vgg cannot take images of 8 x 8"),
        ({"model.name": "vgg16", "input.size": 16}, "the smallest it takes are 32 x 32"),
        ({"model.name": "vgg16", "input.crop": 24}, "config.input.crop is 24: vgg16 cannot take images of 24 x 24"),
    ],
)
def test_a_bad_value_is_refused_with_what_was_expected(changes, words):
    with pytest.raises(UserError) as error:
        configs.changed(default.get_config(), changes)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_every_network_takes_the_size_that_is_called_its_smallest():
    from fer_jax.models import registry

    for name in registry.MODELS:
        config = default.get_config()
        config.model.name, config.input.size = name, 8
        try:
            configs.validate(config)
        except UserError as error:
            config.input.size = int(str(error).split()[-1])
            configs.validate(config)


def test_a_config_that_is_not_whole_is_refused():
    config = default.get_config().unlock()
    del config.optim.momentum
    with pytest.raises(UserError, match=r"the config has no value for 'optim\.momentum': start from configs\.default"):
        configs.validate(config)
    config = default.get_config().unlock()
    config.optim.lr = 0.1
    with pytest.raises(UserError, match=r"the config has no key 'optim\.lr': config\.optim has name, learning_rate"):
        configs.validate(config)


def test_checking_a_config_starts_no_backend():
    """The processes of a run must meet before any of them touches a device."""
    code = (
        "from configs import vgg16, xception; from fer_jax import config;"
        "config.validate(xception.get_config()); config.validate(vgg16.get_config());"
        "from jax._src import xla_bridge; assert not xla_bridge._backends"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
