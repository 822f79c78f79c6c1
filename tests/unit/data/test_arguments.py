"""Arguments of a source have defaults."""

from ml_collections import ConfigDict

from fer_jax.data import arguments


def test_an_argument_is_what_is_given_or_its_default():
    known = {"examples": arguments.Argument(8000, "Number of faces.")}
    assert arguments.value(ConfigDict({"args": {}}), known, "examples") == 8000
    assert arguments.value(ConfigDict({"args": {"examples": 7}}), known, "examples") == 7
