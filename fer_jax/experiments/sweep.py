"""The same recipe again and again: with several seeds, with every fold held out, or with one thing changed."""

import json
import math
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fer_jax import config as configs
from fer_jax import environment, files, recipes
from fer_jax import result as results
from fer_jax.data import cache, identity, splits
from fer_jax.distributed import cluster
from fer_jax.errors import UserError
from fer_jax.evaluation import metrics
from fer_jax.experiments import rundata
from fer_jax.experiments.run import (
    begin,
    check_batch_size,
    keeping_its_epochs,
    locked,
    report_is_due,
    train_and_score,
    write_report,
)
from fer_jax.result import FOLD_FOLDER, SEED_FOLDER, FoldsResult, RunResult, SeedsResult
from fer_jax.training.train import PLAIN, Session

BASE = "as it is"
# Keys that a change cannot set, with what does.
SET_HERE = {"seed": "; --config.seed and --seeds set it", "data.select_split": ""}


def seeds(config: ConfigDict, workdir: str | os.PathLike, count: int, session: Session = PLAIN) -> SeedsResult:
    """Train the seeds config.seed, config.seed + 1, ... one after the other, and return their result, also written.

    Each leaves the folder of a run alone with its seed, `workdir`/seed_N, with its report. Splits and cleaning that are
    drawn are drawn once, by the first seed: what differs between the runs is training. Finished runs are not trained
    again, so a call with a larger `count` adds seeds.

    Raises:
      UserError: see `fer_jax.experiments.run.train_and_score`.
    """
    workdir = pathlib.Path(workdir)
    _check(config, workdir)
    check_batch_size(config)
    data = rundata.for_training(config, workdir)
    found = []
    with locked(workdir), keeping_its_epochs(workdir):
        cluster.run_on_primary(lambda: begin(config, workdir, data))
        for seed in range(config.seed, config.seed + count):
            logging.info("seed %d", seed)
            of_one = configs.changed(config, {"seed": seed})
            found.append(train_and_score(of_one, workdir / SEED_FOLDER.format(seed), data, session))
        result = cluster.run_on_primary(lambda: _kept(workdir) or _conclude(workdir, _of_seeds(found)))
        if len(result.seeds) < count:
            result = cluster.run_on_primary(lambda: _conclude(workdir, _of_seeds(found)))
    for name, scores in result.splits.items():
        logging.info(
            "%d seeds: %s %.2f %% +- %.2f (standard deviation over seeds)",
            *(len(result.seeds), name, 100 * scores["mean_accuracy"], 100 * scores["std_accuracy"]),
        )
    return result


def _check(config: ConfigDict, workdir: pathlib.Path) -> None:
    """UserError for bad values and inputs, and for a folder of something else."""
    configs.validate(config)
    cluster.run_on_primary(lambda: configs.refuse_other(config, workdir))
    if (workdir / "checkpoints").is_dir():
        raise UserError(f"{workdir} holds one run: use another --workdir for several")
    configs.require_inputs(config, workdir)


def _of_seeds(found: Sequence[RunResult]) -> SeedsResult:
    last, of_splits = found[-1], {}
    for name in last.splits:
        values = {score: [result.splits[name][score] for result in found] for score in ("accuracy", "macro_f1")}
        of_splits[name] = {f"mean_{score}": float(np.mean(values[score])) for score in values} | {
            f"std_{score}": float(np.std(values[score], ddof=1)) for score in values
        }
    return SeedsResult(
        config=last.config,
        seeds=tuple(result.seed for result in found),
        model=last.model,
        parameters=last.parameters,
        data=last.data,
        split_note=last.split_note,
        label_names=last.label_names,
        selected_on=last.selected_on,
        selected_by=last.selected_by,
        splits=of_splits,
        per_seed=tuple(
            {key: getattr(result, key) for key in ("seed", "best_epoch", "epochs", "splits")} for result in found
        ),
        train_seconds=sum(result.train_seconds for result in found),
        wall_seconds=sum(result.wall_seconds for result in found),
        train_examples_per_second=float(np.mean([result.train_examples_per_second for result in found])),
        versions=last.versions,
        command=last.command,
    )


def folds(
    config: ConfigDict, workdir: str | os.PathLike, only: int = 0, session: Session = PLAIN
) -> FoldsResult | None:
    """Train and score every fold of `config.data.folds` in `workdir`/fold_NN, and return their result, also written.

    In each fold the epoch is chosen on a part of the training folds (with `config.data.fold_split` on the data's select
    split), never on the fold that is scored. Run again it resumes at the fold it had reached.

    Args:
      config: of all folds.
      workdir: the folder of all folds.
      only: the number of the one fold to train, from 1, so that several processes or machines share the folds; a call
        without it then finds them finished and pools their scores. 0 trains all.
      session: what this call does beside training.

    Returns:
      the result of all folds; None with `only`.

    Raises:
      UserError: there is no fold `only`; see also `fer_jax.experiments.run.train_and_score` and
        `fer_jax.data.splits.folds`.
    """
    workdir = pathlib.Path(workdir)
    _check(config, workdir)
    # Not yet split and cleaned: that is done anew in every fold.
    examples = cache.read(config.data, config.input)
    dealt = splits.folds(examples, config.data, config.seed)
    if only > len(dealt):
        raise UserError(f"--fold={only}: expected 1 to {len(dealt)}, one of the folds; 0 trains all")
    cluster.run_on_primary(lambda: configs.save(config, workdir))
    found, predictions = [], []
    for number, (train, test) in enumerate(dealt, 1):
        if only not in (0, number):
            continue
        logging.info("fold %d of %d: %d examples train, %d test", number, len(dealt), len(train), len(test))
        folder = workdir / FOLD_FOLDER.format(number)
        assigned = splits.of_fold(examples, train, test, config.data, config.seed)
        data = rundata.of_assigned(config, assigned, config.seed)
        with keeping_its_epochs(workdir):
            found.append(train_and_score(config, folder, data, session))
        predictions.append(cluster.run_on_primary(lambda folder=folder: _predictions(folder, config.data.test_split)))
    if only:
        return None

    def conclude() -> FoldsResult:
        logits, labels = (np.concatenate([one[name] for one in predictions]) for name in ("logits", "labels"))
        pooled = metrics.scores(logits, labels, found[0].label_names)
        note = splits.note(config.data, data.examples)
        return _conclude(workdir, _of_folds(config, found, pooled, examples.description, note))

    result = cluster.run_on_primary(lambda: _kept(workdir) or conclude())
    logging.info(
        "%d folds: accuracy %.4f +- %.4f (standard deviation over folds), pooled %.4f of %d examples. %s",
        *(len(dealt), result.mean_accuracy, result.std_accuracy, result.pooled["accuracy"], result.pooled["examples"]),
        result.split_note,
    )
    return result


def _predictions(folder: pathlib.Path, split: str) -> dict[str, np.ndarray]:
    """{"logits", "labels"} that a run left."""
    return files.read_npz(folder / "predictions" / f"{split}.npz", "a fold's predictions", f"delete {folder}")


def _of_folds(
    config: ConfigDict, found: Sequence[RunResult], pooled: dict[str, Any], data: str, note: str
) -> FoldsResult:
    of_folds = [result.splits[config.data.test_split] for result in found]
    accuracies = [scores["accuracy"] for scores in of_folds]
    return FoldsResult(
        config=config.name,
        seed=config.seed,
        data=data,
        split_note=note,
        label_names=found[0].label_names,
        folds=len(found),
        mean_accuracy=float(np.mean(accuracies)),
        std_accuracy=float(np.std(accuracies, ddof=1)),
        per_fold=tuple(
            {"best_epoch": result.best_epoch, **scores} for result, scores in zip(found, of_folds, strict=True)
        ),
        pooled=pooled,
        train_seconds=sum(result.train_seconds for result in found),
        wall_seconds=sum(result.wall_seconds for result in found),
        versions=found[-1].versions,
        command=environment.command(),
    )


def _kept(workdir: pathlib.Path) -> Any:
    """The result that a call before this one wrote, which keeps its command and versions; its report is made whole."""
    found = results.read(workdir)
    if found is not None and report_is_due(workdir):
        write_report(workdir)
    return found


def _conclude(workdir: pathlib.Path, result: Any) -> Any:
    """Write result.json and the report."""
    result.write(workdir)
    write_report(workdir)
    return result


def read_changes(path: str | os.PathLike, config: ConfigDict) -> dict[str, dict[str, Any]]:
    """The changes in a JSON file, {name: {dotted key: value}}, checked against the config before anything is trained.

    Raises UserError for a file that is no such thing, for names that are taken or share a folder, for a
    change of nothing, for a key that the config does not have or that the ablation sets itself, and for a value that
    the config refuses.
    """
    path = recipes.ablation(files.expand(path))
    try:
        changes = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_without_repetition)
    except (OSError, ValueError) as error:
        raise UserError(f"--changes: {path}: {str(error)[:200]}; configs/ablations has examples") from None
    if not isinstance(changes, dict) or not all(isinstance(change, dict) for change in changes.values()):
        raise UserError(
            f"--changes: {path} holds no object of objects: expected {{name: {{key: value}}}} as in configs/ablations"
        )
    if not changes:
        raise UserError(f"--changes: {path} holds no changes: expected at least one, as in configs/ablations")
    _check_names(path, changes)
    for name, change in changes.items():
        try:
            if not change:
                raise UserError("it changes nothing: give keys and values, or leave it out")
            for key in SET_HERE:
                if key in change:
                    raise UserError(f"config.{key} is the same for all changes: leave it out{SET_HERE[key]}")
            configs.changed(config, change)
        except UserError as error:
            raise UserError(f"--changes: {path}, {name}: {error}") from None
    return changes


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if repeated := [name for number, (name, _) in enumerate(pairs) if name in dict(pairs[:number])]:
        raise ValueError(f"{repeated[0]!r} appears twice")
    return dict(pairs)


def _check_names(path: pathlib.Path, changes: Mapping[str, Any]) -> None:
    """UserError for the name of the base, and two names that would share a folder."""
    if BASE in changes:
        raise UserError(f"--changes: {path}: {BASE!r} is the name of the unchanged config: rename the change")
    folders = {_folder(BASE): BASE}
    for name in changes:
        if (other := folders.setdefault(_folder(name), name)) != name:
            raise UserError(
                f"--changes: {path}: {name!r} and {other!r} would share the folder {_folder(name)}: rename one"
            )


def _folder(name: str) -> str:
    """The beginning of the names of a change's folders; letter case does not tell folders apart everywhere."""
    return re.sub(r"\W+", "_", name).casefold()


def changes(
    config: ConfigDict,
    changed: Mapping[str, Mapping[str, Any]],
    count: int,
    workdir: str | os.PathLike,
    command: str = "",
) -> dict[str, Any]:
    """Train the config as it is and with each change, with `count` seeds: config.seed, config.seed + 1, ...

    Each run has its folder in `workdir` and is not trained again if it is finished, so the same call goes on where the
    last one stopped. Writes ablation.json after every run.

    Returns:
      {"config", "command", "selected_on", "rows"}; each row {"name", "change", "seeds", "accuracy" (one a seed),
      "macro_f1", "disgust_recall", "examples", "train_seconds", "difference" (see `difference`)}.

    Raises:
      UserError: a change chooses the epoch on other faces than the config as it is; see also `train_and_score`.
    """
    workdir = files.expand(workdir)
    _require_same_faces(config, changed)
    found: dict[str, list[RunResult]] = {}
    for number in range(count):  # all changes with one seed before the next: what is there early can be compared
        for name, change in {BASE: {}, **changed}.items():
            of_run = configs.changed(config, change)
            of_run.seed = config.seed + number
            logging.info("%s, seed %d", name, of_run.seed)
            folder = workdir / f"{_folder(name)}_seed{of_run.seed}"
            found.setdefault(name, []).append(train_and_score(of_run, folder))
            record = _record(config, changed, found, command)
            files.write_json(workdir / "ablation.json", record)
    return record


def _require_same_faces(config: ConfigDict, changed: Mapping[str, Mapping[str, Any]]) -> None:
    """UserError for a change after which other faces are scored, whose accuracies cannot be compared."""
    split = config.data.select_split

    def faces(of: ConfigDict) -> tuple[list[str], list[int]]:
        examples = rundata.of_config(of).examples.of_split(split)
        return [examples.label_names[label] for label in examples.labels], identity.digests(examples).tolist()

    for name, change in changed.items():
        others = {key: value for key, value in change.items() if not key.startswith("data.")}
        if others != change and faces(configs.changed(config, change)) != faces(configs.changed(config, others)):
            raise UserError(
                f"the change {name!r} scores other faces or labels of {split} than the config as it is: they cannot be "
                "compared; leave it out, or train it by itself"
            )


def difference(accuracies: Sequence[float], base: Sequence[float], examples: int) -> dict[str, float]:
    """Mean accuracy over seeds minus the base's, in 0..1, with the standard error of that difference.

    Seeds are compared in pairs. With one seed the spread over seeds is unknown; then the error is that of two
    independent samples of `examples` faces, which is too large, since the faces are the same.
    """
    gaps = np.subtract(accuracies, base[: len(accuracies)])
    if len(gaps) > 1:
        error = float(np.std(gaps, ddof=1) / math.sqrt(len(gaps)))
    else:
        error = math.sqrt(sum(share * (1 - share) / examples for share in (accuracies[0], base[0])))
    return {"mean": float(np.mean(gaps)), "standard_error": error}


def _record(
    config: ConfigDict,
    changed: Mapping[str, Mapping[str, Any]],
    found: Mapping[str, list[RunResult]],
    command: str,
) -> dict[str, Any]:
    split, rows = config.data.select_split, []
    for name, of_seeds in found.items():
        scores = [result.splits[split] for result in of_seeds]
        accuracies = [s["accuracy"] for s in scores]
        rows.append(
            {
                "name": name,
                "change": dict(changed.get(name, {})),
                "seeds": [result.seed for result in of_seeds],
                "accuracy": accuracies,
                "macro_f1": [s["macro_f1"] for s in scores],
                "disgust_recall": [s["per_class"]["disgust"]["recall"] for s in scores if "disgust" in s["per_class"]],
                "examples": scores[0]["examples"],
                "train_seconds": sum(result.train_seconds for result in of_seeds),
            }
        )
        if name != BASE:
            rows[-1]["difference"] = difference(accuracies, rows[0]["accuracy"], scores[0]["examples"])
    return {
        "config": config.name,
        "epochs": config.epochs,
        "selected_on": split,
        "command": command,
        "rows": rows,
        "versions": found[BASE][0].versions,
    }
