"""docs/config.md is current."""

import pathlib

from fer_jax.config import page
from fer_jax.config.table import TABLE


def test_the_page_is_current_and_has_every_key():
    text = page.text()
    assert all(f"`{key}`" in text for key in TABLE)
    kept = (pathlib.Path(__file__).parents[3] / "docs" / "config.md").read_text(encoding="utf-8")
    assert kept == text, "run python -m tools.config_page"
