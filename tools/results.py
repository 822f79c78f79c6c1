"""Write docs/results.md and configs/scores.json from the records that were kept: python -m tools.results"""

from __future__ import annotations

import pathlib

from fer_jax import cli

_RECORDS = cli.define_path("records", "docs/records", "Folder with results/*.json, ablations/*.json, pending.json.")
_OUT = cli.define_output("out", "docs/results.md", "The page.", folder=False)
_SCORES = cli.define_output("scores", "configs/scores.json", "The scores that fer-jax recipes shows.", folder=False)


def main(argv: list[str]) -> None:
    """Write the page."""
    from fer_jax import files
    from fer_jax.report import results

    text = results.page(pathlib.Path(_RECORDS.value))
    with files.atomic_path(_OUT.value) as tmp:
        tmp.write_text(text, encoding="utf-8")
    print(f"written to {_OUT.value}")
    files.write_json(_SCORES.value, results.scores(pathlib.Path(_RECORDS.value)))
    print(f"written to {_SCORES.value}")


if __name__ == "__main__":
    cli.run(main)
