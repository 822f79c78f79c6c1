"""What each part of a recipe gives, over several seeds:

    fer-jax ablation --config=configs/xception.py --config.data.path=fer2013.csv \\
        --changes=configs/ablations/optimisers.json --seeds=3 --workdir=runs/optimisers
"""

from __future__ import annotations

import os

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
    from fer_jax.experiments import ablation
    from fer_jax.report import results

    config = _CONFIG.read()
    changes = ablation.read(_CHANGES.value, config)
    environment.init()
    with cluster.cluster(launch.launch_of(os.environ)):
        record = ablation.run(config, changes, _SEEDS.value, _WORKDIR.value, environment.command())
    print(results.ablation_table(record))
