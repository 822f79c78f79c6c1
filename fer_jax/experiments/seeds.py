"""Several seeds of one config, trained as one program: what the recipe gives, and how much of it is luck."""

from __future__ import annotations

import contextlib
import os
import pathlib

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fer_jax import config as configs
from fer_jax import environment
from fer_jax.distributed import cluster
from fer_jax.experiments import distillation, rundata
from fer_jax.experiments.run import begin, check_batch_size, keeping_its_epochs, locked, read_run_result, score
from fer_jax.result import SEED_FOLDER, RunResult, SeedsResult
from fer_jax.training.loop import train_seeds
from fer_jax.training.timing import PhaseTimer


def train_and_score_seeds(config: ConfigDict, workdir: str | os.PathLike) -> SeedsResult:
    """Train `config.seeds` models, of `config.seed` and the seeds after it, and return their result, also written.

    Each has the initialisation, order and augmentation, and so the weights to rounding, of a run alone with its seed,
    chooses its own epoch, and leaves the folder of such a run, `workdir`/seed_N, with its report. The steps of all are
    taken at the same time.

    Splits and cleaning that are drawn are drawn once, by the first seed: what differs between the runs is training.

    Raises:
      UserError: see `fer_jax.experiments.run.train_and_score`.
    """
    timer, workdir = PhaseTimer(), pathlib.Path(workdir)
    configs.validate(config)
    cluster.run_on_primary(lambda: configs.refuse_other(config, workdir))
    configs.require_inputs(config, workdir)
    check_batch_size(config)
    data = rundata.for_training(config, workdir)
    of_seed = {seed: _of_one(config, seed) for seed in range(config.seed, config.seed + config.seeds)}
    folders = {seed: workdir / SEED_FOLDER.format(seed) for seed in of_seed}
    with locked(workdir), keeping_its_epochs(workdir), contextlib.ExitStack() as held:
        cluster.run_on_primary(lambda: begin(config, workdir, data))
        for seed, folder in folders.items():
            cluster.run_on_primary(lambda seed=seed, folder=folder: configs.refuse_other(of_seed[seed], folder))
            rundata.for_training(of_seed[seed], folder, data)
            held.enter_context(locked(folder))
            cluster.run_on_primary(lambda seed=seed, folder=folder: begin(of_seed[seed], folder, data))
        results = [cluster.run_on_primary(lambda folder=folder: read_run_result(folder)) for folder in folders.values()]
        if None in results:
            examples = distillation.with_teacher_targets(config, data, workdir)
            trained = train_seeds(config, folders, examples, timer)
            results = [
                found or score(of_seed[seed], folders[seed], examples, progress, PhaseTimer())
                for seed, found, progress in zip(of_seed, results, trained, strict=True)
            ]
        result = cluster.run_on_primary(lambda: _conclude(config, workdir, results))
    for name, scores in result.splits.items():
        logging.info(
            "%d seeds: %s %.2f %% +- %.2f (standard deviation over seeds)",
            config.seeds,
            name,
            100 * scores["mean_accuracy"],
            100 * scores["std_accuracy"],
        )
    return result


def _of_one(config: ConfigDict, seed: int) -> ConfigDict:
    """The config of the run alone that one of the models equals."""
    config = config.copy_and_resolve_references()
    config.seed, config.seeds = seed, 1
    return config


def _conclude(config: ConfigDict, workdir: pathlib.Path, results: list[RunResult]) -> SeedsResult:
    """Write result.json and the report."""
    last, splits = results[-1], {}
    for name in last.splits:
        values = {score: [result.splits[name][score] for result in results] for score in ("accuracy", "macro_f1")}
        splits[name] = {
            f"{statistic}_{score}": float(of(values[score]))
            for score in values
            for statistic, of in (("mean", np.mean), ("std", lambda x: np.std(x, ddof=1)))
        }
    result = SeedsResult(
        config=config.name,
        seeds=tuple(result.seed for result in results),
        model=last.model,
        parameters=last.parameters,
        data=last.data,
        split_note=last.split_note,
        label_names=last.label_names,
        selected_on=last.selected_on,
        selected_by=last.selected_by,
        splits=splits,
        per_seed=tuple(
            {key: getattr(result, key) for key in ("seed", "best_epoch", "epochs", "splits")} for result in results
        ),
        # The clock of each ran for all.
        train_seconds=max(result.train_seconds for result in results),
        wall_seconds=max(result.wall_seconds for result in results),
        train_examples_per_second=sum(result.train_examples_per_second for result in results),
        versions=last.versions,
        command=environment.command(),
    )
    from fer_jax.report import page  # matplotlib: slow to import, and of no use before this point

    result.write(workdir)
    page.write(workdir)
    return result
