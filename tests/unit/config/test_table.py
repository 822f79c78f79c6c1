"""The table of keys: every default is allowed, and nothing outside a field's range is."""

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from configs import default
from fer_jax import config as configs
from fer_jax import fields
from fer_jax.config import table
from fer_jax.config.table import ARGUMENTS, MAX_INT, TABLE
from fer_jax.errors import UserError

LIMITED = {
    key: field
    for key, field in TABLE.items()
    if isinstance(field.default, int | float) and not isinstance(field.default, bool) and not field.choices
}
CHOSEN = [key for key, field in TABLE.items() if field.choices]
thorough = settings(max_examples=300, deadline=None)  # some for each of the keys


def with_value(key, value):
    """The default config with any value at a key, as a config file could set it."""
    config = configs.default().unlock()
    group, _, name = key.rpartition(".")
    parent = configs.get(config, group) if group else config
    parent._fields[name] = value  # without the casts of an assignment
    return config


def refusal(key, value):
    with pytest.raises(UserError) as error:
        configs.validate(with_value(key, value))
    message = str(error.value)
    assert f"config.{key} " in message
    assert "\n" not in message and len(message) < 500
    return message


def test_the_default_config_is_the_table_and_valid():
    config = configs.default()
    assert config.is_locked
    assert set(configs.flatten(config.to_dict())) == set(TABLE) - set(ARGUMENTS)
    assert all(configs.get(config, key) == field.default for key, field in TABLE.items() if key not in ARGUMENTS)
    configs.validate(config)


def test_only_arguments_take_new_keys():
    config = configs.default()
    with pytest.raises((AttributeError, KeyError), match="nope"):
        config.optim.nope = 1
    for key in ARGUMENTS:
        configs.get(config, key).anything = 1


@thorough
@given(key=st.sampled_from(list(LIMITED)), data=st.data())
def test_a_number_outside_its_range_is_refused_with_its_key(key, data):
    field = TABLE[key]
    whole = isinstance(field.default, int)
    numbers = st.integers(-(2**70), 2**70) if whole else st.floats(allow_nan=True, allow_infinity=True)
    value = data.draw(numbers)
    assume(not (field.low <= value <= field.high and math.isfinite(value)))
    assert "expected" in refusal(key, value)


@pytest.mark.parametrize("key", LIMITED)
def test_the_ends_of_a_range_are_allowed(key):
    field = TABLE[key]
    kind = type(field.default)
    for end in (field.low, field.high):
        if math.isfinite(end):
            assert field.problem(kind(end)) == ""


@thorough
@given(key=st.sampled_from(CHOSEN), value=st.text(max_size=20) | st.integers())
def test_what_is_no_choice_is_refused_with_its_key(key, value):
    field = TABLE[key]
    assume(value not in field.allowed())
    refusal(key, (value,) if isinstance(field.default, tuple) else value)


@thorough
@given(
    key=st.sampled_from(list(TABLE)),
    value=st.none() | st.booleans() | st.integers(-9, -2) | st.binary() | st.just([None]),
)
def test_a_value_of_another_type_is_refused_with_its_key(key, value):
    kind = type(TABLE[key].default)
    assume(not (kind in (int, float) and type(value) is int) and type(value) is not kind)
    refusal(key, value)


def test_the_largest_whole_number_is_said_only_to_who_is_above_it():
    assert refusal("epochs", 0).endswith("config.epochs is 0: expected at least 1")
    assert refusal("epochs", MAX_INT + 1).endswith(f"expected between 1 and {MAX_INT}")


def test_every_argument_of_a_source_a_step_or_a_network_allows_its_default():
    from fer_jax.data import clean, sources
    from fer_jax.models import registry

    config = configs.default()
    config.data.clean = tuple(clean.STEPS)
    known = [table.arguments_of_model(name) for name in registry.MODELS]
    for source in sources.SOURCES:
        config.data.source = source
        known.append(table.arguments_of_data(config.data))
    for of_one in known:
        assert all(field.problem(field.default) == "" for field in of_one.values())


def test_the_arguments_are_those_of_the_source_and_the_steps_at_their_defaults_unless_given():
    data = default.get_config().data
    assert set(table.arguments_of_data(data)) == {"votes_path", "votes_weight"}
    data.source = "folder"
    assert table.arguments_of_data(data) == {}
    data.source, data.clean = "synthetic", ("drop_flat", "subsample_happy")
    data.args.subsample_happy_by = 2000
    known = table.arguments_of_data(data)
    assert {name: field.default for name, field in known.items()} == {"examples": 8000, "subsample_happy_by": 3000}
    assert {name: fields.value(data, known, name) for name in known} == {"examples": 8000, "subsample_happy_by": 2000}


def test_what_is_a_flag_is_no_key_and_the_same_name_in_another_group_is_the_nearest():
    assert not set(table.FLAGS) & set(TABLE)
    assert table.unknown_key("seeds") == "the config has no key 'seeds': fer-jax train takes --seeds"
    assert table.near("optim.batch_size").startswith("the nearest is config.batch_size")
