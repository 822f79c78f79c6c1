"""Every config and variant loads, is valid, and trains the network it says."""

import importlib
import itertools
import pathlib
import re
from collections import Counter

import pytest

from configs import default, variants
from fer_jax import config as configuration
from fer_jax.errors import UserError
from fer_jax.experiments import summary
from fer_jax.models import registry
from fer_jax.models.network import layer_groups, layers_of

FOLDER = pathlib.Path(default.__file__).parent
# (config, variant): classes, parameters with BatchNorm's, the run's name
CONFIGS = {
    ("affectnet", ""): (8, 11_182_536, "affectnet_resnet18"),
    ("affectnet", "vgg"): (8, 4_697_160, "affectnet_vgg"),
    ("ckplus", ""): (7, 30_321_415, "ckplus_model1"),
    ("ckplus", "model1,norm=batch"): (7, 30_322_951, "ckplus_model1_norm-batch"),
    ("ckplus", "model2"): (7, 67_119_623, "ckplus_model2"),
    ("ckplus", "model2,split=random"): (7, 67_119_623, "ckplus_model2_split-random"),
    ("ferplus", ""): (8, 4_696_008, "ferplus_vgg"),
    ("ferplus", "vgg,votes=majority"): (8, 4_696_008, "ferplus_vgg_votes-majority"),
    ("ferplus", "mini_xception"): (8, 59_576, "ferplus_mini_xception"),
    ("jaffe", ""): (7, 7_954_391, "jaffe_best"),
    ("jaffe", "basic"): (7, 37_349, "jaffe_basic"),
    ("jaffe", "dropout,split=random"): (7, 37_989, "jaffe_dropout_split-random"),
    ("jaffe", "best,optimizer=sgd"): (7, 7_954_391, "jaffe_best_optimizer-sgd"),
    ("jaffe", "best,optimizer=nadam"): (7, 7_954_391, "jaffe_best_optimizer-nadam"),
    ("quickstart", ""): (7, 58_423, "quickstart"),
    ("resnet18", ""): (7, 11_180_871, "resnet18_best"),
    ("resnet18", "paper"): (7, 11_180_871, "resnet18_paper"),
    ("six_conv", ""): (6, 91_482, "six_conv"),
    ("vgg", ""): (7, 29_894_599, "vgg_best"),
    ("vgg", "best,head=pooled"): (7, 4_695_495, "vgg_best_head-pooled"),
    ("vgg", "paper"): (7, 29_894_599, "vgg_paper"),
    ("vgg", "small"): (7, 1_177_319, "vgg_small"),
    ("vgg", "wide"): (7, 4_695_495, "vgg_wide"),
    ("vgg16", ""): (7, 14_718_279, "vgg16_frozen"),
    ("vgg16", "finetune"): (7, 14_718_279, "vgg16_finetune"),
    ("vgg16", "finetune,block=block3"): (7, 14_718_279, "vgg16_finetune_block-block3"),
    ("xception", ""): (7, 58_423, "xception_best"),
    ("xception", "distilled"): (7, 58_423, "xception_distilled"),
    ("xception", "wide"): (7, 205_031, "xception_wide"),
    ("xception", "wild"): (7, 205_031, "xception_wild"),
    ("xception", "paper"): (7, 58_423, "xception_paper"),
}


def load(name, variant):
    return importlib.import_module(f"configs.{name}").get_config(variant)


@pytest.mark.parametrize(("name", "variant"), CONFIGS)
def test_config_is_valid_and_has_the_network_it_says(name, variant):
    classes, parameters, run_name = CONFIGS[name, variant]
    config = load(name, variant)
    assert config.name == run_name
    configuration.validate(config)
    rows = layers_of(registry.from_config(config, classes), registry.input_shape(config))
    assert sum(row.trained + row.statistics for row in rows) == parameters
    assert f"Parameters: {parameters:,} " in summary.of_config(config)
    known = configuration.flatten(default.get_config().to_dict())
    given = configuration.flatten(config.to_dict())
    assert {key for key in given if not key.startswith(("model.args.", "data.args."))} == set(known)
    assert config.is_locked


def test_every_file_is_covered_and_names_of_runs_differ():
    # finetune takes its network from a bundle
    files = {path.stem for path in FOLDER.glob("*.py")} - {"__init__", "default", "variants", "finetune"}
    assert {name for name, _ in CONFIGS} == files
    assert len({run_name for _, _, run_name in CONFIGS.values()}) == len(CONFIGS)


@pytest.mark.parametrize("name", sorted({name for name, _ in CONFIGS}))
def test_docstring_holds_the_commands(name):
    docstring = importlib.import_module(f"configs.{name}").__doc__
    given = re.findall(rf"--config={name}(?::([\w,=-]+))?", docstring)
    assert given
    for variant in given:
        load(name, variant)


def test_protocol_of_the_papers():
    paper = load("xception", "paper")
    assert (paper.optim.name, paper.optim.learning_rate, paper.batch_size) == ("adam", 1e-3, 32)
    assert (paper.augment.rotation, paper.augment.shift, paper.augment.zoom, paper.augment.flip) == (10, 0.1, 0.1, 0.5)
    assert (paper.optim.schedule, paper.optim.plateau_factor, paper.optim.plateau_patience) == ("plateau", 0.1, 12)
    assert (paper.eval.early_stop, paper.eval.select_by) == (50, "loss")
    ckplus = load("ckplus", "split=random")
    assert (ckplus.epochs, ckplus.batch_size * ckplus.optim.accumulate_steps) == (20, 64)
    assert round(981 * ckplus.data.holdout) == 324
    assert (ckplus.data.split, ckplus.data.holdout_test) == ("random", 0)
    assert load("jaffe", "split=random").data.split == "random"
    assert load("jaffe", "").data.split == load("ckplus", "").data.split == "subject"
    vgg = load("vgg", "paper")
    assert (vgg.optim.name, vgg.optim.learning_rate, vgg.optim.weight_decay, vgg.epochs) == ("sgd", 0.01, 1e-4, 300)
    assert (vgg.optim.schedule, vgg.optim.plateau_factor, vgg.optim.plateau_patience) == ("plateau", 0.75, 5)
    assert (vgg.input.crop, vgg.augment.erase) == (40, 0.5)


def test_vgg16_trains_from_the_named_block_on():
    for variant, groups in (
        ("frozen", {"frozen": 13, "head": 1}),
        ("finetune", {"frozen": 10, "backbone": 3, "head": 1}),
        ("finetune,block=block1", {"backbone": 13, "head": 1}),
    ):
        config = load("vgg16", variant)
        model = registry.from_config(config, 7)
        assert Counter(layer_groups(model, (48, 48, 3), config.optim.trainable_from).values()) == groups
    assert config.optim.backbone_learning_rate < config.optim.learning_rate


OPTIONS = {"optimizer": ("adam", "sgd"), "split": ("subject", "random")}


def test_variants_and_options_in_any_order_and_labels_that_tell_all_apart():
    parsed = variants.parse("split=random,basic", ("best", "basic"), **OPTIONS)
    assert (parsed.name, parsed.optimizer, parsed.split) == ("basic", "adam", "random")
    assert parsed.label == "basic_split-random"
    assert variants.parse("", ("best", "basic"), **OPTIONS).label == "best"
    assert variants.parse("", ("only",)).label == ""
    options = [[f"{key}={value}" for value in values] for key, values in OPTIONS.items()]
    every = [",".join(parts) for parts in itertools.product(("best", "basic"), *options)]
    assert len({variants.parse(text, ("best", "basic"), **OPTIONS).label for text in every}) == 8


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("worst", "the config has no variant 'worst': expected best or basic"),
        ("best,optimizer=lion", "the config has no optimizer 'lion': expected adam or sgd"),
        ("best,speed=9", r"no option 'speed': expected optimizer=adam\|sgd, split=subject\|random"),
        ("best,basic", "the config's variant 'best,basic' says name twice: say it once"),
    ],
)
def test_what_there_is_not_is_refused(variant, message):
    with pytest.raises(UserError, match=message):
        variants.parse(variant, ("best", "basic"), **OPTIONS)
