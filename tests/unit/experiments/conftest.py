"""A config that trains in a moment, shared by the tests of several runs."""

import pytest

from tests import datasets


@pytest.fixture
def config(tmp_path):
    """Of a folder of 30 images without splits."""
    config = datasets.config_of("folder", datasets.write_folder(tmp_path / "faces", size=16), size=16)
    config.data.cache_dir = str(tmp_path / "cache")
    config.data.folds, config.data.holdout, config.epochs = 2, 0.3, 1
    config.batch_size, config.model.args.block_features = 8, (4,)
    return config


@pytest.fixture(autouse=True)
def no_plots(undrawn):
    """Runs write their pages without plots."""
