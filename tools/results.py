"""Write docs/results.md and configs/scores.json from the records that were kept: python -m tools.results"""

import pathlib

from fer_jax import files
from fer_jax.report import results

if __name__ == "__main__":
    records = pathlib.Path("docs/records")
    with files.atomic_path("docs/results.md") as tmp:
        tmp.write_text(results.page(records), encoding="utf-8")
    files.write_json("configs/scores.json", results.scores(records))
