"""How often FER+'s votes contradict the labels of FER2013 that `fer-jax audit --workdir=FOLDS` calls doubtful.

    python -m benchmarks.label_check --table=audit/doubtful.csv --data=fer2013.csv

A label is contradicted where the largest of the ten votes (single votes counted) is for another expression, for
"unknown" or for "not a face".
"""

from __future__ import annotations

import argparse
import csv
import json
import pathlib

import numpy as np
from ml_collections import ConfigDict

from fer_jax import labels
from fer_jax.data import ferplus_votes
from fer_jax.data.sources import fer2013

FIRST = (100, 500, 1000)


def precision(table: pathlib.Path, data: pathlib.Path) -> dict[str, float]:
    """Shares in 0..1: of the first rows of `table`, of all of them, and of all labels of FER2013's training split."""
    _, emotions, usage = fer2013.parse(data)
    votes_path = ferplus_votes.locate(ConfigDict({"path": str(data), "args": {}}))
    votes = np.array([counts for _, counts in ferplus_votes.read(votes_path, usage, data)])
    own = labels.columns(labels.FER2013, labels.FERPLUS)
    contradicted = votes[np.arange(len(votes)), np.array(own)[emotions]] < votes.max(axis=1)
    contradicted[~votes.any(axis=1)] = True  # FER+ names no face in it
    with table.open(encoding="utf-8", newline="") as file:
        rows = [int(row["place"].removeprefix("row ")) for row in csv.DictReader(file)]
    found = {f"first_{count}": float(contradicted[rows[:count]].mean()) for count in FIRST}
    return found | {"all": float(contradicted[rows].mean()), "base": float(contradicted[usage == "Training"].mean())}


def main() -> None:
    """Print the record as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=pathlib.Path, required=True, help="doubtful.csv of the audit")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="FER2013's csv, fer2013new.csv beside it")
    flags = parser.parse_args()
    print(json.dumps(precision(flags.table, flags.data), indent=2))


if __name__ == "__main__":
    main()
