"""Our reading of the schema is that of the library that defines it."""

import copy
import json
import pathlib

import jsonschema
import pytest

from fer_jax.bundle import manifest, schema

BUNDLE = json.loads((pathlib.Path(manifest.__file__).parents[1] / "zoo/mini_xception/bundle.json").read_text())
VALUES = (None, True, 0, 1, 3, -1, 7.5, 1e12, "", "x", "a\nb", "../x", [], [0, 0], ["a", "a"], {}, {"a": 1}, "missing")

# 1e12 is an integer to JSON Schema, and none to code that counts with it.
_INTEGER = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
LIBRARY = jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=_INTEGER)


def places(value, path=()):
    """Every place in a document."""
    yield path
    for key, inside in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places(inside, (*path, key))


def changed(path, value):
    document = copy.deepcopy(BUNDLE)
    if not path:
        return value
    place = document
    for key in path[:-1]:
        place = place[key]
    if value == "missing":
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_changed_manifest_is_refused_where_jsonschema_refuses_it(value):
    ours = manifest._schema()
    for path in places(BUNDLE):
        if value == "missing" and not path:
            continue
        document = changed(path, value)
        found = schema.problem(document, ours)
        assert (found is None) == LIBRARY(ours).is_valid(document), (path, found)
        assert found is None or "\n" not in found


def test_the_schema_itself_is_one_and_fits_the_bundles():
    jsonschema.Draft202012Validator.check_schema(manifest._schema())
    assert schema.problem(BUNDLE, manifest._schema()) is None
