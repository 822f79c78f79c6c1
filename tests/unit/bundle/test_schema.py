"""Our reading of the schema is that of the library that defines it."""

import copy
import json
import pathlib

import jsonschema
from hypothesis import given
from hypothesis import strategies as st

from fer_jax.bundle import manifest, schema

BUNDLE = json.loads((pathlib.Path(manifest.__file__).parents[1] / "zoo/mini_xception/bundle.json").read_text())
VALUES = st.sampled_from(
    [None, True, 0, 1, 3, -1, 7.5, 1e12, "", "x", "a\nb", "../x", [], [0, 0], ["a", "a"], {}, {"a": 1}]
)


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


@given(st.sampled_from(list(places(BUNDLE))), VALUES | st.just("missing"))
def test_a_changed_manifest_is_refused_where_jsonschema_refuses_it(path, value):
    document, ours = changed(path, value), manifest._schema()
    valid = jsonschema.Draft202012Validator(ours).is_valid(document)
    found = schema.problem(document, ours)
    assert (found is None) == valid, found
    assert found is None or "\n" not in found


def test_the_schema_itself_is_one_and_fits_the_bundles():
    jsonschema.Draft202012Validator.check_schema(manifest._schema())
    assert schema.problem(BUNDLE, manifest._schema()) is None
