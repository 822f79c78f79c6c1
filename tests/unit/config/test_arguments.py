"""Arguments of sources, steps and networks are checked by their defaults' types."""

import pytest

from configs import default
from fer_jax.config import arguments
from fer_jax.errors import UserError


def test_the_arguments_are_those_of_the_source_and_the_steps():
    data = default.get_config().data
    assert set(arguments.of_data(data)) == {"votes_path", "votes_weight"}
    data.source = "folder"
    assert arguments.of_data(data) == {}
    data.source, data.clean = "synthetic", ("drop_flat", "subsample_happy")
    assert {name: field.default for name, field in arguments.of_data(data).items()} == {
        "examples": 8000,
        "subsample_happy_by": 3000,
    }


def test_a_value_of_another_type_or_name_is_refused():
    known = arguments.of_model("vgg")
    arguments.check("model", {"dense_features": ()}, known, "vgg")
    with pytest.raises(UserError, match=r"config\.model\.args\.dropout is 'half': expected a number"):
        arguments.check("model", {"dropout": "half"}, known, "vgg")
    with pytest.raises(UserError, match=r"config\.model\.args has dorpout: vgg takes dense_features, dropout, stage"):
        arguments.check("model", {"dorpout": 0.5}, known, "vgg")
