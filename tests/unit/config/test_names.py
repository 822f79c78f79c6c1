"""What is said about a key that does not exist."""

from hypothesis import given
from hypothesis import strategies as st

from fer_jax.config import names
from fer_jax.config.table import TABLE


def test_every_renamed_key_is_gone_and_names_one_that_exists():
    for old, new in names.RENAMED.items():
        assert old not in TABLE
        key = new.split("config.")[1]
        assert key in TABLE or key.startswith("data.args.")


@given(st.text(max_size=40))
def test_any_unknown_key_is_one_short_line(key):
    sentence = names.unknown(key.replace("\n", ""))
    assert "\n" not in sentence and len(sentence) < 500


def test_the_same_name_in_another_group_is_the_nearest():
    assert names.near("optim.batch_size").startswith("the nearest is config.batch_size or config.eval.batch_size")
