"""What is known of a data set stands in its source, and is nothing for a source of anybody's data."""

import pytest

from fer_jax import labels
from fer_jax.data import sources
from tests import datasets


@pytest.mark.parametrize("name", sources.SOURCES)
def test_every_source_has_a_record(name):
    assert isinstance(sources.data_set(name), sources.DataSet)


def test_labels_are_known_before_the_data_is_read():
    assert sources.data_set("jaffe").labels == labels.JAFFE
    assert sources.data_set("folder").labels == ()


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
