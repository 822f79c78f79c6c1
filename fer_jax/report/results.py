"""The page of results, from records of runs that were kept: the only way a figure gets onto it."""

from __future__ import annotations

import functools
import json
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jinja2
import numpy as np
from ml_collections import ConfigDict

from fer_jax import config as configs
from fer_jax import recipes
from fer_jax import result as results
from fer_jax.errors import UserError
from fer_jax.evaluation import tta
from fer_jax.result import Evaluation, RunResult

MISSING = "not measured yet"


def page(records: pathlib.Path) -> str:
    """Markdown, from a folder of records:

    `results/*.json` are result.json files of runs and what `tools.evaluate --json` wrote, `ablations/*.json` what
    `fer_jax.experiments.ablation` wrote, `pending.json` is a list of {"what", "bar", "command"} that nobody has
    measured. `networks.json`, where there is one, names the records of the first tables: see `_networks`.

    Raises UserError for a folder without results and for a record that is none.
    """
    found = {path.stem: results.load(path) for path in sorted((records / "results").glob("*.json"))}
    if not found:
        raise UserError(f"{records}: no results/*.json in it: copy the result.json of a run there")
    if other := [name for name, one in found.items() if not isinstance(one, RunResult | Evaluation)]:
        raise UserError(f"{records}: {other[0]} is no result of one run, nor an evaluation")
    networks = _read(records / "networks.json", {})
    of_reports = {row["run"] for row in networks.get("reports", ()) if "run" in row}
    later = networks.get("evaluations", {})
    runs = [
        _run(name, one, [found[evaluation] for evaluation in later.get(name, ())])
        for name, one in found.items()
        if isinstance(one, RunResult) and name not in of_reports
    ]
    runs.sort(key=lambda run: (len(run["label_names"]), -run["select"]["accuracy"], run["record"]))
    by_data: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        by_data.setdefault(run["data"].partition(":")[0], []).append(run)
    of_seeds = {data: [_over_seeds(same) for same in _seeds(some)] for data, some in by_data.items()}
    ceilings = {
        split: scores["noise_ceiling"]
        for run in runs
        for split, scores in run["splits"].items()
        if "noise_ceiling" in scores
    }
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fer_jax.report", "."), autoescape=False, keep_trailing_newline=True
    )
    environment.filters["percent"] = _percent
    text = environment.get_template("results.md").render(
        by_data=by_data,
        of_seeds=of_seeds,
        ceilings=ceilings,
        views=tta.IN_WORDS,
        pending=_read(records / "pending.json", []),
        ablations=[_ablation(path) for path in sorted((records / "ablations").glob("*.json"))],
        **_networks(networks, found),
    )
    return text.rstrip() + "\n"


# Keys beside the free ones of `fer_jax.config.TABLE` that change nothing of a recipe's result.
NEUTRAL = ("name", "seed", "parallel.steps_per_dispatch")


def scores(records: pathlib.Path) -> dict[str, dict[str, Any]]:
    """{"xception:taught": {"parameters", "split", "accuracy", "standard_error", "examples"}} of recipes as they are.

    Runs with other values than the recipe's are left out; of several runs of one recipe the first by name counts. It is
    what `fer-jax recipes` shows.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((records / "results").glob("*.json")):
        one = results.load(path)
        if isinstance(one, RunResult) and (name := _recipe(one.command)):
            split, of_split = list(one.splits.items())[-1]  # the test split where it was scored
            numbers = {key: of_split[key] for key in ("accuracy", "standard_error", "examples")}
            found.setdefault(name, {"parameters": one.parameters, "split": split, **numbers})
    return dict(sorted(found.items()))


def _recipe(command: str) -> str:
    """The recipe whose values a training command has, the one it names before others; "" where it has other values."""
    named = configs.of_command(command)
    if named is None:
        return ""
    own, config = named
    values = _values(config)
    return own if values == _values(configs.read(own)) else _recipes().get(values, "")


@functools.cache
def _recipes() -> dict[str, str]:
    """Every recipe and variant by its values; the shortest name of those that are the same."""
    found: dict[str, str] = {}
    for name in recipes.names():
        for one in (name, *recipes.variants_of(name)):
            found.setdefault(_values(configs.read(one)), one)
    return found


def _title(result: RunResult) -> str:
    """What a row of a run is called: its recipe, or the one it changes, or of none that is known its config."""
    if name := _recipe(result.command):
        return f"`{name}`"
    named = configs.of_command(result.command)
    return f"`{named[0]}` with changes" if named else f"`{result.config}`"


def _values(config: ConfigDict) -> str:
    """What decides a run's result but for its seed, as text that can be compared."""
    values = configs.flatten(config.to_dict())
    kept = {key: value for key, value in values.items() if key not in NEUTRAL and not _is_free(key)}
    return json.dumps(kept, sort_keys=True)


def _is_free(key: str) -> bool:
    return key in configs.TABLE and configs.TABLE[key].free


def _read(path: pathlib.Path, default: Any) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else default


def _networks(networks: Mapping[str, Any], found: Mapping[str, RunResult | Evaluation]) -> dict[str, Any]:
    """The rows of the first tables, from networks.json.

    "evaluations" has the names of later records of a run's weights by the name of its own. "private_test" rows have
    {"what", "source"} and an "evaluation", the name of a record, a published "accuracy", or neither; "cross_data" rows
    {"what", "evaluations"}; "reports" rows {"recipe", "published"} and, where it is measured, a "run", the name of a
    record, and "classes" where each class's recall is shown. "reports_note" is what they say together, "runs_note" what
    there is to say about the tables of runs, "teachers" the commands of teachers that have no row. "calibration" rows
    have {"model", "what", "evaluation"}, "priors" rows {"what", "to", "evaluation", "corrected"}, the names of records
    without and with the correction.
    """

    def one_split(name: str) -> dict[str, Any]:
        [scores] = found[name].splits.values()
        return scores | {"record": name}

    try:
        private = [
            row | (one_split(row["evaluation"]) if "evaluation" in row else {}) for row in networks["private_test"]
        ]
        cross = [row | {"scores": [one_split(name) for name in row["evaluations"]]} for row in networks["cross_data"]]
        reports = []
        for row in networks["reports"]:
            one = found[row["run"]] if "run" in row else None
            reports.append(row | ({"result": one, "scores": list(one.splits.values())[-1]} if one else {}))
        calibrated = [row | one_split(row["evaluation"]) for row in networks.get("calibration", ())]
        priors = [_prior(row, found, one_split) for row in networks.get("priors", ())]
    except KeyError as error:
        if networks:
            raise UserError(f"networks.json: no {error} in it or among the records") from None
        return {"private_test": [], "cross_data": [], "reports": [], "calibrated": [], "priors": []}
    return {
        "private_test": private,
        "cross_data": cross,
        "reports": reports,
        "reports_note": networks.get("reports_note", ""),
        "runs_note": networks.get("runs_note", ""),
        "teachers": networks.get("teachers", ()),
        "calibrated": calibrated,
        "priors": priors,
    }


def _prior(
    row: Mapping[str, Any], found: Mapping[str, RunResult | Evaluation], one_split: Callable[[str], dict[str, Any]]
) -> dict[str, Any]:
    """A table of a correction of the prior: a line for each class, before and after."""
    corrected = found[row["corrected"]]
    if not isinstance(corrected, Evaluation) or not corrected.prior:
        raise UserError(f"{row['corrected']}: its prior was not corrected: make the record with --prior")
    [shares] = corrected.prior
    before, after = one_split(row["evaluation"]), one_split(row["corrected"])
    classes = [
        {"name": name, "trained": shares["trained"][name], "target": shares["target"][name]}
        | {"before": before["per_class"][name], "after": after["per_class"][name]}
        for name in corrected.label_names
        if before["per_class"][name]["examples"]
    ]
    return dict(row) | {
        "before": before,
        "after": after,
        "classes": classes,
        "command": re.sub(r" --json=\S+", "", corrected.command),
    }


def ablation_table(record: Mapping[str, Any]) -> str:
    """A Markdown table of what `fer_jax.experiments.ablation.run` returned, the base first, then the best."""
    base, *others = record["rows"]
    others = sorted(others, key=lambda row: -row["difference"]["mean"])
    lines = [
        "| change | seeds | accuracy % | difference, points | macro-F1 | disgust recall % |",
        "|---|---|---|---|---|---|",
    ]
    for row in [base, *others]:
        gap = ""
        if found := row.get("difference"):
            gap = f"{100 * found['mean']:+.2f} ± {100 * found['standard_error']:.2f}"
        change = ", ".join(f"{key}={value}" for key, value in row["change"].items())
        lines.append(
            f"| {row['name']}{f' (`{change}`)' if change else ''} | {len(row['seeds'])} | "
            f"{_percent(np.mean(row['accuracy']), 2)} | "
            f"{gap} | "
            f"{np.mean(row['macro_f1']):.3f} | "
            f"{_percent(np.mean(row['disgust_recall'])) if row['disgust_recall'] else ''} |"
        )
    return "\n".join(lines)


def _run(name: str, result: RunResult, evaluations: Sequence[RunResult | Evaluation] = ()) -> dict[str, Any]:
    """A row of a run; `evaluations` are later ones of the same weights on other splits."""
    select = result.splits[result.selected_on]
    splits = result.splits | {split: scores for later in evaluations for split, scores in later.splits.items()}
    tests = [scores for split, scores in splits.items() if split != result.selected_on]
    views, disgust = select.get("tta", {}), select["per_class"].get("disgust")
    return result.to_json() | {
        "record": name,
        "title": _title(result),
        "select": select,
        "device": _device(result.versions),
        "flip": _percent(views["flip"]["accuracy"], 2) if "flip" in views else "",
        "ten_crop": _percent(views["ten_crop"]["accuracy"], 2) if "ten_crop" in views else "",
        "disgust": f"{_percent(disgust['recall'])}" if disgust else "",
        "test": _with_error(tests[0]) if tests else MISSING,
    }


def _seeds(runs: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """The runs of the same config but for their seed, where there are several, by seed."""
    same: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        if named := configs.of_command(run["command"]):
            same.setdefault(_values(named[1]), []).append(run)
    return [sorted(found, key=lambda run: run["seed"]) for found in same.values() if len(found) > 1]


def _over_seeds(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and sample standard deviation of the accuracies that choose the epochs, plain and by each view."""
    accuracies = [run["select"]["accuracy"] for run in runs]
    views = [run["select"].get("tta", {}) for run in runs]
    return {
        "records": [run["record"] for run in runs],
        "views": {
            name: np.mean([of_run[name]["accuracy"] for of_run in views])
            for name in views[0]
            if all(name in of_run for of_run in views)
        },
        "seeds": ", ".join(str(run["seed"]) for run in runs),
        "split": runs[0]["selected_on"],
        "mean": np.mean(accuracies),
        "deviation": np.std(accuracies, ddof=1),
    }


def _ablation(path: pathlib.Path) -> dict[str, Any]:
    record = json.loads(path.read_text(encoding="utf-8"))
    return record | {
        "name": path.stem,
        "table": ablation_table(record),
        "device": _device(record["versions"]),
        "note": record.get("note", ""),
    }


def _with_error(scores: Mapping[str, Any]) -> str:
    return f"{_percent(scores['accuracy'], 2)} ± {_percent(scores['standard_error'], 2)}"


def _device(versions: Mapping[str, str]) -> str:
    return f"{versions['cpus']} cores" if versions["device"].endswith("cpu") else versions["device"]


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f}"
