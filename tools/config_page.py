"""Write docs/config.md, the page of every config key: python -m tools.config_page"""

from __future__ import annotations

from absl import flags

from fer_jax import cli, files
from fer_jax.config import page

_OUT = flags.DEFINE_string("out", "docs/config.md", "The page.")


def main(argv: list[str]) -> None:
    """Write the page."""
    with files.atomic_path(_OUT.value) as tmp:
        tmp.write_text(page.text(), encoding="utf-8")
    print(f"written to {_OUT.value}")


if __name__ == "__main__":
    cli.run(main)
