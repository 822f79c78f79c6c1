"""What to say about a key that does not exist: its new name, or the keys near it."""

from __future__ import annotations

import difflib

from fer_jax.config.table import GROUPS, TABLE

FLAGS = {"seeds": "--seeds", "profile": "--profile"}  # of fer-jax train, often looked for in the config


def unknown(key: str) -> str:
    """One sentence about a dotted key that is not in the table."""
    if key in FLAGS:
        return f"the config has no key {key!r}: fer-jax train takes {FLAGS[key]}"
    if key in GROUPS:
        return f"config.{key} is a group of keys, not a value: give one of its keys, {', '.join(_members(key))}"
    return f"the config has no key {key!r}: {near(key)}; docs/reference/config.md lists all keys"


def near(key: str) -> str:
    """The known keys that resemble `key`, or else those of its group."""
    leaf = key.rpartition(".")[2]
    leaves = {known.rpartition(".")[2]: known for known in TABLE}
    same_leaf = [known for known in TABLE if known.rpartition(".")[2] == leaf]
    close = difflib.get_close_matches(key, TABLE, 3, 0.75) or [
        leaves[name] for name in difflib.get_close_matches(leaf, leaves, 3, 0.75)
    ]
    if found := list(dict.fromkeys(same_leaf + close)):
        return f"the nearest is {' or '.join(f'config.{name}' for name in found)}"
    group = key.partition(".")[0]
    if group in GROUPS:
        return f"config.{group} has {', '.join(_members(group))}"
    return f"expected one of {', '.join(key for key in TABLE if '.' not in key)}, or a key of {', '.join(GROUPS)}"


def _members(group: str) -> list[str]:
    return [key.partition(".")[2] for key in TABLE if key.startswith(f"{group}.")]
