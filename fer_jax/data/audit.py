"""Defects of a data set: duplicates, contradicting labels, leaks between splits, images without a face."""

import csv
import dataclasses
import pathlib
from typing import Any

import numpy as np

from fer_jax import files
from fer_jax.data import duplicates
from fer_jax.data.examples import Examples

FEW_TONES = 64  # gray values; photographs have more
MAX_TONE = 0.4  # share of the pixels in one gray value; photographs of faces have less

FINDINGS = ("exact_duplicate", "near_duplicate", "contradicting", "across_splits", "blank", "few_toned")


@dataclasses.dataclass(frozen=True)
class Audit:
    """The findings on N examples.

    Attributes:
      columns: name -> (N,) what was measured. exact_group, near_group: the smallest index among an image's exact
        duplicates, and among what exact and near duplicates connect it to; its own index where it has none. tones: how
        many gray values occur. largest_tone: share of pixels in the commonest.
      found: finding (of FINDINGS) -> bool (N,). "contradicting" and "across_splits" are said of exact duplicates and
        near duplicates alike.
      summary: the counts, as JSON values.
    """

    columns: dict[str, np.ndarray]
    found: dict[str, np.ndarray]
    summary: dict[str, Any]


def audit(examples: Examples) -> Audit:
    """Look for everything; half a minute for FER2013 on two cores, and with a bar on a terminal."""
    n = len(examples)
    gray = duplicates.gray(examples.images)
    tones = np.stack([np.bincount(image.ravel(), minlength=256) for image in gray])
    exact = duplicates.first_same(examples)
    pairs, _ = duplicates.near_pairs(examples.images)
    near = duplicates.groups(n, np.concatenate([pairs, np.stack([exact, np.arange(n)], axis=1)]))
    blank = gray.reshape(n, -1).std(axis=1) < duplicates.BLANK_DEVIATION
    columns = {
        "exact_group": exact,
        "near_group": near,
        "tones": (tones > 0).sum(axis=1),
        "largest_tone": tones.max(axis=1) / gray[0].size,
    }
    found = {
        "exact_duplicate": _repeated(exact),
        "near_duplicate": _repeated(near) & ~_repeated(exact),
        "contradicting": _differ(near, examples.labels),
        "across_splits": _differ(near, examples.split),
        "blank": blank,
        "few_toned": ((columns["tones"] < FEW_TONES) | (columns["largest_tone"] > MAX_TONE)) & ~blank,
    }

    def of_groups(group: np.ndarray) -> dict[str, int]:
        return {
            "groups": len(np.unique(group[_repeated(group)])),
            "images": int(_repeated(group).sum()),
            "groups_with_contradicting_labels": len(np.unique(group[_differ(group, examples.labels)])),
            "groups_across_splits": len(np.unique(group[_differ(group, examples.split)])),
        }

    summary = {
        "description": examples.description,
        "examples": n,
        "classes": {
            split: dict(zip(examples.label_names, examples.of_split(split).class_counts().tolist(), strict=True))
            for split in examples.split_names
        },
        "exact_duplicates": of_groups(exact),
        "exact_and_near_duplicates": of_groups(near),
        "images_with_a_duplicate_in": {
            f"{one} of {other}": int(_leaks(pairs, exact, near, examples.split == one, examples.split == other).sum())
            for one in examples.split_names
            for other in examples.split_names
            if one != other
        },
        "blank": int(blank.sum()),
        "few_toned": int(found["few_toned"].sum()),
    }
    return Audit(columns, found, summary)


def write(result: Audit, examples: Examples, folder: pathlib.Path) -> None:
    """Write findings.csv (a row an image with a finding), summary.json and summary.txt into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with files.atomic_path(folder / "findings.csv") as tmp, tmp.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("index", "split", "label", *result.columns, *FINDINGS))
        for i in np.flatnonzero(np.any(list(result.found.values()), axis=0)):
            measured = [
                f"{values[i]:.3f}" if values.dtype.kind == "f" else values[i] for values in result.columns.values()
            ]
            found = [int(result.found[name][i]) for name in FINDINGS]
            writer.writerow((i, examples.split[i], examples.label_names[examples.labels[i]], *measured, *found))
    files.write_json(folder / "summary.json", result.summary)
    with files.atomic_path(folder / "summary.txt") as tmp:
        tmp.write_text(text(result.summary, examples), encoding="utf-8")


def text(summary: dict[str, Any], examples: Examples) -> str:
    """The summary for people."""
    lines = [summary["description"], "", examples.table()]
    for kind in ("exact_duplicates", "exact_and_near_duplicates"):
        counts = summary[kind]
        lines += [
            "",
            f"{kind.replace('_', ' ')}: {counts['groups']} groups of {counts['images']} images, "
            f"{counts['groups_with_contradicting_labels']} with contradicting labels, "
            f"{counts['groups_across_splits']} across splits",
        ]
    lines.append("")
    for pair, count in summary["images_with_a_duplicate_in"].items():
        lines.append(f"{pair.replace(' of ', ' images with a copy in ')}, exact or near: {count}")
    lines += ["", f"{summary['blank']} blank images, {summary['few_toned']} of few tones", ""]
    return "\n".join(lines)


def _repeated(group: np.ndarray) -> np.ndarray:
    return np.bincount(group, minlength=len(group))[group] > 1


def _differ(group: np.ndarray, values: np.ndarray) -> np.ndarray:
    """bool (N,): members of a group in which `values` are not all the same."""
    differs = values != values[group]  # a group's number is the index of its first member
    return np.isin(group, group[differs])


def _leaks(pairs: np.ndarray, exact: np.ndarray, near: np.ndarray, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """bool (N,): which of `ones` are a duplicate of one of `others`.

    Where an image has too many duplicates for all pairs to be known, its whole group counts as duplicates.
    """
    crowded = np.bincount(pairs[:, 0], minlength=len(ones)) >= duplicates.MAX_PAIRS
    whole = np.isin(near, near[crowded]) & np.isin(near, near[others])
    leak = ones & np.isin(exact, exact[others])
    for first, second in (pairs.T, pairs.T[::-1]):
        leak[first[ones[first] & others[second]]] = True
    return leak | (ones & whole)
