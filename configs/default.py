"""Every key with its default: the other configs start from this one and change what differs.

Not a recipe by itself: run `quickstart` or `xception`. The keys, their defaults and their allowed
values stand in `fer_jax/config/table.py`; docs/reference/config.md shows them.
"""

from ml_collections import ConfigDict

from fer_jax import config


def get_config() -> ConfigDict:
    """The base of all configs. A key that is not here is refused."""
    return config.default()
