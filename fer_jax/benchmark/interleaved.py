"""Two programs measured in turns, because a machine's speed drifts from minute to minute and its ratios do not."""

from __future__ import annotations

import json
import shlex
import statistics
import subprocess
from collections.abc import Sequence
from typing import Any

from fer_jax.benchmark import records
from fer_jax.errors import UserError


def compare(ours: Sequence[str], peer: str, rounds: int) -> dict[str, Any]:
    """Run both commands in turns, `rounds` times each, and compare what they say of themselves.

    Args:
      ours: a command, which is not named in the record.
      peer: a command line; either prints as its last line a JSON object with "images_per_s".

    Returns:
      "peer" (what it calls itself), "images_per_s" and "runs" of ours, "peer_images_per_s" and "peer_runs", "ratio"
      (the median of each round's) and "ratios".

    Raises:
      UserError: a command is absent or fails, or its last line says no images a second.
    """
    own, others = [], []
    for _ in range(rounds):
        own.append(_report_of(ours))
        others.append(_report_of(shlex.split(peer)))
    rates, peer_rates = ([report["images_per_s"] for report in reports] for reports in (own, others))
    ratios = [mine / theirs for mine, theirs in zip(rates, peer_rates, strict=True)]
    theirs = records.spread("images_per_s", peer_rates)
    return {
        "peer": others[0].get("peer", peer),
        **records.spread("images_per_s", rates),
        "peer_images_per_s": theirs["images_per_s"],
        "peer_runs": theirs["runs"],
        "ratio": statistics.median(ratios),
        "ratios": [round(ratio, 2) for ratio in ratios],
    }


def _report_of(command: Sequence[str]) -> dict[str, Any]:
    shown = shlex.join(command)
    try:
        done = subprocess.run(command, text=True, capture_output=True, check=False, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{shown} could not be started: {error.strerror}") from error
    if done.returncode:
        raise UserError(f"{shown} failed: {(done.stderr.splitlines() or ['it said nothing'])[-1]}")
    try:
        report = json.loads(done.stdout.splitlines()[-1])
        float(report["images_per_s"])
    except (IndexError, KeyError, TypeError, ValueError):
        raise UserError(f"{shown} ended without a line of JSON with images_per_s") from None
    return report
