"""Write docs/results.md from the records that were kept: python -m tools.results"""

from __future__ import annotations

import pathlib

from absl import flags

from fer_jax import cli

_RECORDS = flags.DEFINE_string("records", "docs/records", "Folder with results/*.json, ablations/*.json, pending.json.")
_OUT = flags.DEFINE_string("out", "docs/results.md", "The page.")


def main(argv: list[str]) -> None:
    """Write the page."""
    from fer_jax import files
    from fer_jax.report import results

    text = results.page(pathlib.Path(_RECORDS.value))
    with files.atomic_path(_OUT.value) as tmp:
        tmp.write_text(text)
    print(f"written to {_OUT.value}")


if __name__ == "__main__":
    cli.run(main)
