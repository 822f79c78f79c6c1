"""What each part of a recipe gives, over several seeds:

    fer-jax ablation --config=xception --config.data.path=fer2013.csv \\
        --changes=optimizers --seeds=3 --workdir=runs/optimizers
"""

import os
from collections.abc import Mapping
from statistics import mean
from typing import Any

from absl import flags

from fer_jax import environment
from fer_jax.cli import options
from fer_jax.distributed import launch

_CONFIG = options.ConfigFlag("The recipe, as for fer-jax train.", required=True)
_CHANGES = options.define_path("changes", None, "JSON file of changes, {name: {config key: value}}.", required=True)
_SEEDS = flags.DEFINE_integer(
    "seeds", 3, "Runs of each change, with config.seed and the numbers after it.", lower_bound=1
)
_WORKDIR = options.define_output(
    "workdir",
    None,
    "Folder of the runs and of ablation.json. What is finished there is not trained again.",
    folder=True,
    required=True,
)


def main(argv: list[str]) -> None:
    """Train and print the table."""
    from fer_jax.distributed import cluster
    from fer_jax.experiments import sweep

    config = _CONFIG.read()
    changes = sweep.read_changes(_CHANGES.value, config)
    environment.init()
    with cluster.cluster(launch.launch_of(os.environ)):
        record = sweep.changes(config, changes, _SEEDS.value, _WORKDIR.value, environment.command())
    print(table(record))


def table(record: Mapping[str, Any]) -> str:
    """A Markdown table of what `fer_jax.experiments.sweep.changes` returned: the base, then the changes, best first."""
    base, *others = record["rows"]
    others = sorted(others, key=lambda row: -row["difference"]["mean"])
    lines = [
        "| change | seeds | accuracy % | difference, points | macro-F1 | disgust recall % |",
        "|---|---|---|---|---|---|",
    ]
    for row in [base, *others]:
        change = ", ".join(f"{key}={value}" for key, value in row["change"].items())
        found = row.get("difference")
        cells = [
            f"{row['name']}{f' (`{change}`)' if change else ''}",
            str(len(row["seeds"])),
            f"{100 * mean(row['accuracy']):.2f}",
            f"{100 * found['mean']:+.2f} ± {100 * found['standard_error']:.2f}" if found else "",
            f"{mean(row['macro_f1']):.3f}",
            f"{100 * mean(row['disgust_recall']):.1f}" if row["disgust_recall"] else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
