"""The page of results, from records of runs that were kept: the only way a figure gets onto it."""

from __future__ import annotations

import json
import pathlib
import shlex
from collections.abc import Mapping
from typing import Any

import jinja2
import numpy as np

from fer_jax.errors import UserError

MISSING = "not measured yet"


def page(records: pathlib.Path) -> str:
    """Markdown, from a folder of records:

    `results/*.json` are result.json files of runs, `ablations/*.json` what `fer_jax.experiments.ablation` wrote,
    `pending.json` is a list of {"what", "bar", "command"} that nobody has measured.

    Raises UserError for a folder without results and for a record that is none.
    """
    runs = [_run(path) for path in sorted((records / "results").glob("*.json"))]
    if not runs:
        raise UserError(f"{records}: no results/*.json in it: copy the result.json of a run there")
    runs.sort(key=lambda run: (len(run["label_names"]), -run["select"]["accuracy"], run["record"]))
    by_data: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        by_data.setdefault(run["data"].partition(":")[0], []).append(run)
    ceilings = {
        split: scores["noise_ceiling"]
        for run in runs
        for split, scores in run["splits"].items()
        if "noise_ceiling" in scores
    }
    pending = records / "pending.json"
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fer_jax.report", "."), autoescape=False, keep_trailing_newline=True
    )
    environment.filters["percent"] = _percent
    text = environment.get_template("results.md").render(
        by_data=by_data,
        ceilings=ceilings,
        pending=json.loads(pending.read_text()) if pending.exists() else [],
        ablations=[_ablation(path) for path in sorted((records / "ablations").glob("*.json"))],
    )
    return text.rstrip() + "\n"


# Flags of a training command that change nothing of its recipe.
NEUTRAL = ("--config=", "--config.data.path=", "--config.data.cache_dir=", "--config.checkpoint.", "--workdir=")


def scores(records: pathlib.Path) -> dict[str, dict[str, Any]]:
    """{"xception:taught": {"parameters", "split", "accuracy", "standard_error", "examples"}} of recipes as they are.

    Runs with other values than the recipe's are left out; of several runs of one recipe the first by name counts. It is
    what `fer-jax recipes` shows.
    """
    found: dict[str, dict[str, Any]] = {}
    for run in (_run(path) for path in sorted((records / "results").glob("*.json"))):
        words = [word for word in shlex.split(run["command"]) if word.startswith("--")]
        recipe = next((word for word in words if word.startswith("--config=")), "")
        if recipe and all(word.startswith(NEUTRAL) for word in words):
            path, _, variant = recipe.removeprefix("--config=").partition(":")
            name = f"{pathlib.PurePath(path).stem}{f':{variant}' if variant else ''}"
            numbers = {key: run["select"][key] for key in ("accuracy", "standard_error", "examples")}
            found.setdefault(name, {"parameters": run["parameters"], "split": run["selected_on"], **numbers})
    return dict(sorted(found.items()))


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


def _run(path: pathlib.Path) -> dict[str, Any]:
    result = json.loads(path.read_text())
    try:
        select = result["splits"][result["selected_on"]]
        tests = [scores for name, scores in result["splits"].items() if name != result["selected_on"]]
        views, disgust = select.get("tta", {}), select["per_class"].get("disgust")
        return result | {
            "record": path.stem,
            "select": select,
            "device": _device(result["versions"]),
            "flip": _percent(views["flip"]["accuracy"], 2) if "flip" in views else "",
            "ten_crop": _percent(views["ten_crop"]["accuracy"], 2) if "ten_crop" in views else "",
            "disgust": f"{_percent(disgust['recall'])}" if disgust else "",
            "test": f"{_percent(tests[0]['accuracy'], 2)} ± {_percent(tests[0]['standard_error'], 2)}"
            if tests
            else MISSING,
        }
    except KeyError as error:
        raise UserError(f"{path}: no {error} in it: expected the result.json of a run") from None


def _ablation(path: pathlib.Path) -> dict[str, Any]:
    record = json.loads(path.read_text())
    return record | {
        "table": ablation_table(record),
        "device": _device(record["versions"]),
        "note": record.get("note", ""),
    }


def _device(versions: Mapping[str, str]) -> str:
    return f"{versions['cpus']} cores" if versions["device"].endswith("cpu") else versions["device"]


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f}"
