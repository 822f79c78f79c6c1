"""Draws the charts of the pages from docs/records: `python -m docs.pictures.charts` writes them beside this file."""

from __future__ import annotations

import html
import json
import pathlib
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from fer_jax import zoo

HERE = pathlib.Path(__file__).parent
RECORDS = HERE.parent / "records"
COLORS = ("#0f8a7e", "#d97706", "#7c83db")
WIDTH, BAR = 480, 18  # pixels: of the picture, which a phone shows at three quarters, and of a bar


def bars(title: str, unit: str, series: Sequence[str], rows: Mapping[str, Sequence[float]]) -> str:
    """An SVG with a name and a bar for each of `series` below it, for each row; values in `unit`."""
    top, group = 70 if len(series) > 1 else 44, 34 + BAR * len(series)
    height = top + group * len(rows)
    scale = (WIDTH - 140) / max(max(values) for values in rows.values())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="system-ui,sans-serif" font-size="14" role="img" aria-label="{html.escape(title)}">',
        "<style>text{fill:#24292f}.p{fill:#fff}@media(prefers-color-scheme:dark){text{fill:#e6edf3}.p{fill:#0d1117}}</style>",
        f'<rect class="p" width="{WIDTH}" height="{height}"/>',
        f'<text x="16" y="26" font-size="16" font-weight="600">{html.escape(title)}</text>',
    ]
    for i, name in enumerate(series if len(series) > 1 else ()):
        parts.append(f'<rect x="{16 + 150 * i}" y="42" width="12" height="12" fill="{COLORS[i]}"/>')
        parts.append(f'<text x="{34 + 150 * i}" y="53">{html.escape(name)}</text>')
    for row, (name, values) in enumerate(rows.items()):
        y = top + group * row
        parts.append(f'<text x="16" y="{y + 14}">{html.escape(name)}</text>')
        for i, value in enumerate(values):
            width, below = value * scale, y + 20 + BAR * i
            figure = f"{value:,.1f}" if value < 100 else f"{value:,.0f}"
            parts.append(f'<rect x="16" y="{below}" width="{width:.1f}" height="{BAR - 2}" fill="{COLORS[i]}"/>')
            parts.append(f'<text x="{width + 22:.1f}" y="{below + 13}">{figure}{html.escape(unit)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def charts() -> dict[str, str]:
    """{file name: SVG} of every chart."""
    finetune, labels = _load("finetune.json"), _load("label_check.json")
    default, tables = _load("default_model.json"), _load("tables.json")
    compared = [
        one
        for one in _lines("performance/cpu.jsonl")
        if one["benchmark"] == "compare" and one["processor"] == "AMD EPYC"
    ]
    compiled = {one["command"]: one for one in _lines("accelerators/tpu.jsonl")}
    models = {
        row["name"].replace("`", "").replace("mini-Xception, the authors' ", "").split(",")[0]: [
            100 * _last(row["in the wild"])["accuracy"],
            100 * _last(row["in the wild"])["balanced_accuracy"],
        ]
        for row in tables["models"]
    }
    parts = {
        name: [100 * row[data]["accuracy"] for data in ("PublicTest", "in the wild")]
        for name, row in zip(
            ("FER2013's labels alone", "and FER+'s votes and a camera's faults", "and its prior: the default"),
            default["rows"][:3],
            strict=True,
        )
    }
    started = {
        f"{faces:,} faces": [
            100
            * mean(
                run["accuracy"] for run in finetune["scratch"]["runs"] if (run["faces"], run["from"]) == (faces, start)
            )
            for start in ("mini_xception_wild", "random weights")
        ]
        for faces in (50, 200, 1000)
    }
    doubtful = {
        f"the first {count:,}": [100 * labels["contradicted"][f"first_{count}"]] for count in (100, 500, 1000)
    } | {"all labels": [100 * labels["contradicted"]["base"]]}
    peers = {
        f"{one['config']}, {one['peer'].split()[0]}": [one["images_per_s"], one["peer_images_per_s"]]
        for one in compared
    }
    scores = json.loads((HERE.parents[1] / "configs/scores.json").read_text(encoding="utf-8"))
    recipes = {
        f"{name}: {one['parameters']:,} parameters": [100 * one["accuracy"]]
        for name, one in sorted(scores.items(), key=lambda item: -item[1]["accuracy"])
        if one["split"] == "PublicTest" and not name.startswith("ferplus")
    }
    bundle = json.loads((zoo.DEFAULT / "bundle.json").read_text(encoding="utf-8"))
    sizes = {name: [one["bytes"] / 1000] for name, one in bundle["files"].items()}
    installed = {name: [size] for name, size in _load("light_install.json")["megabytes"].items()}
    neutral = dict(zip(parts, ([100 * row["in the wild"]["neutral"]] for row in default["rows"]), strict=False))
    decoded = [one for one in _lines("large_sets.jsonl") if one["bar"] == "decoding"][-1]
    threads = {"one thread": [decoded["one_thread"]["images_per_s"]], "two": [decoded["images_per_s"]]}
    layers = list(compiled.values())
    steps = {
        f"{one['config']}, {one['target']}, {one['batch_size'] // one['devices']:,} a chip": [
            1e-6 * one["estimated_cycles_a_step"]
        ]
        for one in layers
        if one["estimated_cycles_a_step"]
    }
    return {
        "models.svg": bars("1,461 faces in the wild, not trained on", " %", ("right", "mean of the classes"), models),
        "default_model.svg": bars(
            "What each part of the default model gives", " %", ("PublicTest", "in the wild"), parts
        ),
        "recipes.svg": bars("FER2013's PublicTest, by recipe", " %", ("right",), recipes),
        "neutral.svg": bars("Neutral faces in the wild that are called so", " %", ("share",), neutral),
        "bundle.svg": bars("Files of the default model", " kB", ("size",), sizes),
        "install.svg": bars("What pip install fer_jax weighs", " MB", ("size",), installed),
        "decoding.svg": bars("Images of 112 pixels, decoded", " images/s", ("rate",), threads),
        "finetune.svg": bars(
            "Scored on 2,589 other faces of PublicTest", " %", ("fine-tuned", "from random weights"), started
        ),
        "label_check.svg": bars("Doubtful labels that FER+'s voters contradict", " %", ("share",), doubtful),
        "peers.svg": bars("Training on two CPU cores of one machine", " images/s", ("fer_jax", "the other"), peers),
        "cycles.svg": bars("Estimated cycles of a training step", " M", ("cycles",), steps),
    }


def _load(name: str) -> Any:
    return json.loads((RECORDS / name).read_text(encoding="utf-8"))


def _lines(name: str) -> list[Any]:
    return [json.loads(line) for line in (RECORDS / name).read_text(encoding="utf-8").splitlines()]


def _last(name: str) -> Any:
    return list(_load(f"results/{name}.json")["splits"].values())[-1]


if __name__ == "__main__":
    for file, text in charts().items():
        (HERE / file).write_text(text, encoding="utf-8")
        print(f"docs/pictures/{file}: {len(text):,} bytes")
