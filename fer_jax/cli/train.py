"""Train a facial-expression recognizer: fer-jax train --config=xception

The run's folder gets checkpoints, metrics, result.json and report/. The same command again resumes it, or says that it
is finished. Any value of the config can be given on the command line: --config.epochs=5 --config.data.path=fer2013.csv
"""

import os
import pathlib

from absl import flags

from fer_jax import environment, files
from fer_jax.cli import options
from fer_jax.distributed import cluster, launch
from fer_jax.errors import UserError

_CONFIG = options.ConfigFlag(
    "A recipe's name (fer-jax recipes lists them) or a file of your own, with :variant where it has one.",
    required=True,
)
_WORKDIR = options.define_path("workdir", None, "Folder of the run. Default: runs/NAME, by the config's name.")
_MODE = flags.DEFINE_enum(
    "mode",
    "train",
    ["train", "crossval", "summary"],
    "train: train, score and report. crossval: the same for every fold, and the pooled scores. "
    "summary: print the network, layer by layer.",
)
_SEEDS = flags.DEFINE_integer(
    "seeds", 1, "Models to train, with config.seed and the numbers after it, each in its folder.", lower_bound=1
)
_DRY_RUN = flags.DEFINE_bool(
    "dry-run", False, "Print the config, the splits and the steps, write the first batch's picture, and train nothing."
)
_PROFILE = flags.DEFINE_bool("profile", False, "Trace a few steps into the run's folder, for TensorBoard or XProf.")
_FOLD = flags.DEFINE_integer(
    "fold",
    0,
    "crossval: the only fold to train, from 1, so that several processes share the folds; 0 trains what is left of all "
    "and pools their scores.",
    lower_bound=0,
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "host:port of process 0, when no launcher says it: see docs/how-to/cluster.md."
)
_NUM_PROCESSES = flags.DEFINE_integer("num-processes", None, "Number of processes of the run, with --coordinator.")
_PROCESS_ID = flags.DEFINE_integer("process-id", None, "Which of them this is, from 0, with --coordinator.")
_HEARTBEAT_SECONDS = flags.DEFINE_integer(
    "heartbeat-seconds",
    cluster.HEARTBEAT_SECONDS,
    "Seconds without a heartbeat of a process before the other processes abort.",
    lower_bound=2,
)
_HANG_SECONDS = flags.DEFINE_float(
    "hang-seconds",
    cluster.HANG_SECONDS,
    "Seconds that processes wait for one that still sends heartbeats before all abort.",
    lower_bound=1.0,
)


def main(argv: list[str]) -> int | None:
    """Run `--mode`."""
    environment.init()
    config = _CONFIG.read()
    if _MODE.value == "summary":
        from fer_jax.experiments import summary

        print(summary.of_config(config))
        return
    workdir = pathlib.Path(_WORKDIR.value or pathlib.Path("runs") / config.name)
    if _DRY_RUN.value:
        from fer_jax.experiments import summary

        print(summary.plan(config, workdir))
        return
    found = launch.launch_of(os.environ, _COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
    if _MODE.value == "crossval" and _SEEDS.value > 1:
        raise UserError(f"--seeds={_SEEDS.value} with --mode=crossval: the folds are the repetitions; leave it out")
    if _FOLD.value and _MODE.value != "crossval":
        raise UserError(f"--fold={_FOLD.value} with --mode={_MODE.value}: only --mode=crossval has folds; leave it out")
    from fer_jax.experiments import run, sweep
    from fer_jax.training.train import Session

    session = Session(profile=_PROFILE.value)
    with cluster.cluster(found, _HEARTBEAT_SECONDS.value, _HANG_SECONDS.value):
        cluster.run_on_primary(lambda: files.check_output(workdir, folder=True))
        if _MODE.value == "crossval":
            sweep.folds(config, workdir, _FOLD.value, session)
        elif _SEEDS.value > 1:
            sweep.seeds(config, workdir, _SEEDS.value, session)
        else:
            run.train_and_score(config, workdir, session=session)
