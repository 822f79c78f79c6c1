"""Fills the tables of the pages from their sources: docs/records, the table of config keys, the commands' own help.

A table stands where a page has a line `<!-- table: NAME -->`; NAME is a function here, and its argument may follow.
mkdocs fills the pages of the site as it builds them. README.md, which is read without mkdocs, and configs/scores.json,
which `fer-jax recipes` shows, are written by `python docs/build.py`.
"""

from __future__ import annotations

import functools
import json
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import mean, stdev
from typing import Any

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
RECORDS = REPOSITORY / "docs" / "records"
TABLE = re.compile(r"<!-- table: (\w+)((?: \w+)*) -->\n(?:.*?<!-- end -->)?", re.DOTALL)
DATA = ("PublicTest", "PrivateTest", "CK+", "JAFFE", "in the wild")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """mkdocs' hook: the page with its tables."""
    return TABLE.sub(lambda found: TABLES[found[1]](*found[2].split()) + "\n", markdown)


def readme() -> str:
    """README.md with its tables as they are today."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    return TABLE.sub(lambda found: f"<!-- table: {found[1]} -->\n{TABLES[found[1]]()}\n<!-- end -->", text)


def scores() -> dict[str, Any]:
    """configs/scores.json: {recipe: parameters and scores} of each recipe that was run as it is."""
    tables, found = load("tables"), {}
    for row in tables["fer2013"] + tables["ferplus"] + tables["reports"]:
        if "recipe" in row:
            run = load(f"results/{row['records'][0]}")
            name, split = list(run["splits"].items())[-1]
            numbers = {key: split[key] for key in ("accuracy", "standard_error", "examples")}
            found[row["recipe"]] = {"parameters": run["parameters"], "split": name, **numbers}
    return dict(sorted(found.items()))


@functools.cache
def load(name: str) -> Any:
    """A record: docs/records/NAME.json."""
    return json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8"))


def split_of(name: str) -> Any:
    """The scores of a record's last split, which is the test split where there is one."""
    return list(load(f"results/{name}")["splits"].values())[-1]


def models() -> str:
    """The models of the package on data that no model was trained on."""
    rows = []
    for row in load("tables")["models"]:
        bundle = REPOSITORY / "fer_jax/zoo" / row.get("bundle", "none") / "bundle.json"
        parameters = (
            f"{json.loads(bundle.read_text(encoding='utf-8'))['model']['parameters']:,}" if bundle.exists() else ""
        )
        balanced = _percent(split_of(row["in the wild"])["balanced_accuracy"])
        cells = [_accuracy([split_of(row[data])]) if data in row else "" for data in DATA]
        rows.append([row["name"], parameters, *cells, balanced])
    return _table(["model", "parameters", *DATA, "balanced"], rows)


def results(group: str) -> str:
    """A row for each row of a group of docs/records/tables.json, with the columns that any of them fills."""
    rows = []
    for row in load("tables")[group]:
        kept = [load(f"results/{name}") for name in row["records"]]
        splits = [split_of(name) for name in row["records"]]
        calibrated = splits[0].get("calibration")
        links = [f"[{name.replace('_', '_<wbr>')}](../records/results/{name}.json)" for name in row["records"]]
        cells = {
            "": row["name"] + (f", {row['note']}" if "note" in row else ""),
            "parameters": f"{kept[0]['parameters']:,}" if "parameters" in kept[0] else "",
            "published": row.get("published", ""),
            "faces": f"{splits[0]['examples']:,}",
            "accuracy": _accuracy(splits),
            "flip": _view(splits, "flip"),
            "ten crops": _view(splits, "ten_crop"),
            "balanced": _percent(mean(split["balanced_accuracy"] for split in splits)),
            "macro-F1": f"{mean(split['macro_f1'] for split in splits):.3f}",
            "confidence": _percent(calibrated["mean_confidence"]) if calibrated else "",
            "ECE": f"{calibrated['expected_calibration_error']:.3f}" if calibrated else "",
            "training": f"{kept[0]['train_seconds'] / 60:.0f} min" if "train_seconds" in kept[0] else "",
            "records": ", ".join(links),
        }
        rows.append(cells)
    head = [name for name in rows[0] if any(cells[name] for cells in rows)]
    return _table(head, [[cells[name] for name in head] for cells in rows])


def ablation(name: str) -> str:
    """What each change of a recipe gives."""
    from fer_jax.cli.ablation import table

    return table(load(f"ablations/{name}"))


def accelerators(part: str) -> str:
    """A part of what the compilers estimate: the last record of each command."""
    kept = {}
    for kind in ("tpu", "gpu"):
        lines = (RECORDS / f"accelerators/{kind}.jsonl").read_text(encoding="utf-8").splitlines()
        kept |= {one["command"]: one for one in map(json.loads, lines)}
    tpus = [one for one in kept.values() if one["estimated_cycles_a_step"]]
    match part:
        case "tpu" | "gpu":
            rows = [_compiled(one) for one in kept.values() if (one in tpus) == (part == "tpu")]
            head = [name for name in rows[0] if any(row[name] for row in rows)]
            return _table(head, [[row[name] for name in head] for row in rows])
        case "layers":
            return "\n".join(f"- {one['config']}, {one['target']}: {_shares(one['layers'])}" for one in tpus)
        case "unestimated":
            found = [
                [one["kind"], one["where"], f"{one['times']}", f"{one['bytes']:,}"] for one in tpus[0]["unestimated"]
            ]
            return _table(["operation", "where", "times", "bytes of results"], found)
        case _:
            compilers = ", ".join(sorted({one["compiler"] for one in kept.values()}))
            return "\n".join(f"    {command}" for command in kept) + f"\n\nCompiled by {compilers}."


def _compiled(one: Mapping[str, Any]) -> dict[str, str]:
    """The columns of a record; those are empty that an older one lacks."""

    def scaled(key: str, scale: float, form: str) -> str:
        return form.format(one[key] * scale) if one.get(key) is not None else ""

    return {
        "network": f"{one['config']}, {one['optimizer']}",
        "target": one["target"],
        "images a device": f"{one['batch_size'] // one['devices']:,}",
        "compiled": one["date"][:10],
        "cycles a step": scaled("estimated_cycles_a_step", 1e-6, "**{:.2f} M**"),
        "of the rest": scaled("other_cycles_a_step", 1e-6, "{:.2f} M"),
        "waiting": scaled("exposed_cycles_a_step", 1e-6, "{:.2f} M"),
        "images/s, all": scaled("images_per_s_estimate", 1, "{:,.0f}"),
        "share of the peak": scaled("peak_share_estimate", 100, "{:.1f} %"),
        "HBM a step": scaled("hbm_bytes_a_step", 1e-9, "{:.2f} GB") if one["estimated_cycles_a_step"] else "",
        "kernels": f"{one['kernels_a_step']}",
        "XLA's own kernels": scaled("kernel_microseconds_a_step", 1, "{:,.1f} us"),
        "all-reduces": f"{one['all_reduces']} of {one['all_reduce_bytes'] / 1e6:.2f} MB",
        "memory": f"{one['used_bytes'] / 2**20:,.0f} MiB",
        "compiling": f"{one['compile_seconds']:,.0f} s",
    }


def _shares(layers: Mapping[str, float]) -> str:
    large = {name: share for name, share in layers.items() if share >= 0.01}
    rest = 1 - sum(large.values())
    return ", ".join(f"{name} {100 * share:.1f}" for name, share in [*large.items(), ("all others", rest)])


def config() -> str:
    """Every key of a recipe, from the table that checks them."""
    from fer_jax.config import table
    from fer_jax.data import clean, sources
    from fer_jax.models import registry

    parts = ["## Run", _fields({key: field for key, field in table.TABLE.items() if "." not in key})]
    for group in table.GROUPS:
        members = {key: field for key, field in table.TABLE.items() if key.startswith(f"{group}.")}
        parts += [f"## {group}", _fields(members)]
        if group == "data":
            owners = {f"source {name}": {"source": name} for name in sources.SOURCES}
            owners |= {f"cleaning step {name}": {"source": "folder", "clean": (name,)} for name in clean.STEPS}
            for owner, values in owners.items():
                data = table.default().data
                data.update(values)
                if known := table.arguments_of_data(data):
                    parts += [f"### {owner}", _fields({f"data.args.{key}": field for key, field in known.items()})]
        if group == "model":
            for name in registry.MODELS:
                if known := table.arguments_of_model(name):
                    given = [f"`{key}={_value(field.default)}`" for key, field in known.items()]
                    parts += [f"- {name}: `model.args` " + ", ".join(given)]
    return "\n\n".join(parts)


def commands() -> str:
    """The help of every command."""
    from fer_jax import cli

    def text(name: str) -> str:
        words = [sys.executable, "-m", "fer_jax", name, "--help"]
        done = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", check=True, cwd=REPOSITORY)
        return f"### {name}\n\n```text\n{done.stdout.rstrip()}\n```"

    with ThreadPoolExecutor(4) as pool:
        texts = dict(zip(cli.COMMANDS, pool.map(text, cli.COMMANDS), strict=True))
    parts = [[f"## {group.capitalize()}", *(texts[name] for name in names)] for group, names in cli.GROUPS.items()]
    return "\n\n".join("\n\n".join(part) for part in parts)


def _fields(fields: Mapping[str, Any]) -> str:
    rows = []
    for key, field in fields.items():
        default = _value(field.default)
        rows.append(
            [f"`{key}`{' *' if field.free else ''}", f"`{default}`" if default else "empty", _allowed(field), field.doc]
        )
    return _table(["key", "default", "allowed", "meaning"], rows)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else "" if value == {} else str(value)


def _allowed(field: Any) -> str:
    several = isinstance(field.default, tuple)
    if choices := field.allowed():
        return ("some of " if several else "") + ", ".join(f"`{choice}`" for choice in choices)
    kind = type(field.default[0]) if several and field.default else type(field.default)
    if kind in (int, float):
        return f"{'whole number ' if kind is int else ''}{field.range()}".replace("a finite number", "any number")
    return {bool: "true, false", str: "text", tuple: "texts", dict: "see below"}[kind]


def _accuracy(splits: Sequence[Any]) -> str:
    shares = [split["accuracy"] for split in splits]
    error = stdev(shares) if len(shares) > 1 else splits[0]["standard_error"]
    return f"{_percent(mean(shares))}\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{_percent(error)}"


def _view(splits: Sequence[Any], view: str) -> str:
    found = [split["tta"][view]["accuracy"] for split in splits if view in split.get("tta", {})]
    return _percent(mean(found)) if len(found) == len(splits) else ""


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


TABLES = {
    "ablation": ablation,
    "accelerators": accelerators,
    "commands": commands,
    "config": config,
    "models": models,
    "results": results,
}

if __name__ == "__main__":
    (REPOSITORY / "README.md").write_text(readme(), encoding="utf-8")
    (REPOSITORY / "configs/scores.json").write_text(json.dumps(scores(), indent=2) + "\n", encoding="utf-8")
