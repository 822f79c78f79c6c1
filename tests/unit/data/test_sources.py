"""What is known of a data set stands in its source, and is nothing for a source of anybody's data."""

import numpy as np
import pytest

from fer_jax import labels
from fer_jax.data import cache, sources
from fer_jax.errors import UserError
from tests import datasets


def test_every_source_has_a_record_and_labels_are_known_before_the_data_is_read():
    assert all(isinstance(sources.data_set(name), sources.DataSet) for name in sources.SOURCES)
    assert sources.data_set("jaffe").labels == labels.JAFFE
    assert sources.data_set("folder").labels == ()


@pytest.mark.parametrize(
    ("name", "word"),
    [("jaffe", "JAFFE's images"), ("ckplus", "CK+ as"), ("folder", "one folder a class")],
)
def test_a_folder_without_the_data_is_refused(name, word, tmp_path):
    for path, found in (("", "no folder"), (tmp_path / "nowhere", "no folder"), (tmp_path, "")):
        with pytest.raises(UserError) as error:
            datasets.read(name, path)
        assert found in str(error.value) and f"expected {word}" in str(error.value)


WRITERS = {
    "jaffe": lambda path, people: datasets.write_jaffe(path, people, size=16),
    "ckplus": lambda path, people: datasets.write_ckplus(path, people=people, size=16),
    "folder": lambda path, people: datasets.write_folder(path, counts={"": people}, size=16),
}


@pytest.mark.parametrize("name", WRITERS)
def test_the_cache_gives_the_same_until_the_files_change(name, tmp_path):
    config = datasets.config_of(name, WRITERS[name](tmp_path / "data", 1), 16)
    config.data.cache_dir = str(tmp_path / "cache")
    first, second = cache.read(config.data, config.input), cache.read(config.data, config.input)
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.labels, second.labels)
    before = cache.path_of(config.data, config.input)
    assert cache.path_of(config.data, config.input) == before
    WRITERS[name](tmp_path / "data", 2)
    assert cache.path_of(config.data, config.input) != before


def test_a_folder_is_recognized_by_its_layout(tmp_path):
    made = {
        "ckplus": datasets.write_ckplus(tmp_path / "ckplus", "original", people=1, size=16),
        "folder": datasets.write_folder(tmp_path / "folder", counts={"": 1}, size=16),
        "jaffe": datasets.write_jaffe(tmp_path / "jaffe", people=1, size=16),
    }
    for name, path in made.items():
        assert sources.data_set(name).recognizes(path)
    assert not sources.data_set("jaffe").recognizes(made["folder"])
    assert not sources.data_set("ckplus").recognizes(made["folder"])
