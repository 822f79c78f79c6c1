"""What is said about a key that does not exist."""

from hypothesis import given
from hypothesis import strategies as st

from fer_jax.config import names
from fer_jax.config.table import TABLE


def test_what_is_a_flag_is_no_key():
    assert not set(names.FLAGS) & set(TABLE)
    assert names.unknown("seeds") == "the config has no key 'seeds': fer-jax train takes --seeds"


@given(st.text(max_size=40))
def test_any_unknown_key_is_one_short_line(key):
    sentence = names.unknown(key.replace("\n", ""))
    assert "\n" not in sentence and len(sentence) < 500


def test_the_same_name_in_another_group_is_the_nearest():
    assert names.near("optim.batch_size").startswith("the nearest is config.batch_size")
