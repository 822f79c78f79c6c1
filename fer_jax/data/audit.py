"""What is wrong with a data set: duplicates, contradicting labels, leaks between splits, images without a face."""

from __future__ import annotations

import csv
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from fer_jax import files, labels
from fer_jax.data import duplicates
from fer_jax.data.examples import Examples
from fer_jax.preprocess import images

FEW_TONES = 64  # grey values; photographs have more
MAX_TONE = 0.4  # share of the pixels in one grey value; photographs of faces have less

FINDINGS = ("exact_duplicate", "near_duplicate", "contradicting", "across_splits", "blank", "few_toned")
_TILE, _CAPTION, _COLUMNS, _ROWS = 96, 14, 12, 12  # pixels, pixels, tiles, tiles


@dataclasses.dataclass(frozen=True)
class Audit:
    """The findings on N examples.

    Attributes:
      exact_group, near_group: int64 (N,), the smallest index among an image's exact duplicates, and among what exact
        and near duplicates connect it to; its own index where it has none.
      tones: int64 (N,), how many grey values occur. largest_tone: float64 (N,), share of pixels in the commonest.
      found: finding (of FINDINGS) -> bool (N,). "contradicting" and "across_splits" are said of exact duplicates and
        near duplicates alike.
      pairs: int64 (P, 2) near or exact duplicates, their normalised correlation in `correlation` float32 (P,).
      summary: the counts, as JSON values.
    """

    exact_group: np.ndarray
    near_group: np.ndarray
    tones: np.ndarray
    largest_tone: np.ndarray
    found: dict[str, np.ndarray]
    pairs: np.ndarray
    correlation: np.ndarray
    summary: dict[str, Any]


def audit(examples: Examples) -> Audit:
    """Look for everything; half a minute for FER2013 on two cores, and with a bar on a terminal."""
    n = len(examples)
    grey = duplicates.grey(examples.images)
    tones = np.stack([np.bincount(image.ravel(), minlength=256) for image in grey])
    deviation = grey.reshape(n, -1).std(axis=1)
    exact = duplicates.first_same(examples.images)
    pairs, correlation = duplicates.near_pairs(examples.images)
    near = duplicates.groups(n, np.concatenate([pairs, np.stack([exact, np.arange(n)], axis=1)]))
    blank = deviation < duplicates.BLANK_DEVIATION
    largest = tones.max(axis=1) / grey[0].size
    few = (((tones > 0).sum(axis=1) < FEW_TONES) | (largest > MAX_TONE)) & ~blank
    found = dict(
        zip(
            FINDINGS,
            (
                _repeated(exact),
                _repeated(near) & ~_repeated(exact),
                _differ(near, examples.labels),
                _differ(near, examples.split),
                blank,
                few,
            ),
            strict=True,
        )
    )

    def of_groups(group: np.ndarray) -> dict[str, int]:
        return {
            "groups": _count(group, _repeated(group)),
            "images": int(_repeated(group).sum()),
            "groups_with_contradicting_labels": _count(group, _differ(group, examples.labels)),
            "groups_across_splits": _count(group, _differ(group, examples.split)),
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
        "few_toned": int(few.sum()),
    }
    return Audit(exact, near, (tones > 0).sum(axis=1), largest, found, pairs, correlation, summary)


def write(result: Audit, examples: Examples, folder: pathlib.Path) -> None:
    """Write findings.csv (a row an image with a finding), summary.json, summary.txt and contact sheets into `folder`.

    A sheet shows 144 images at most; which ones is the same for the same data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with files.atomic_path(folder / "findings.csv") as tmp, tmp.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("index", "split", "label", "exact_group", "near_group", "tones", "largest_tone", *FINDINGS))
        for i in np.flatnonzero(np.any(list(result.found.values()), axis=0)):
            writer.writerow(
                (
                    i,
                    examples.split[i],
                    examples.label_names[examples.labels[i]],
                    result.exact_group[i],
                    result.near_group[i],
                    result.tones[i],
                    f"{result.largest_tone[i]:.3f}",
                    *(int(result.found[name][i]) for name in FINDINGS),
                )
            )
    files.write_json(folder / "summary.json", result.summary)
    with files.atomic_path(folder / "summary.txt") as tmp:
        tmp.write_text(text(result.summary), encoding="utf-8")
    for name, (order, group) in _sheets(result, examples).items():
        if len(order):
            images.write(folder / f"{name}.png", sheet(examples, order, group))


def text(summary: dict[str, Any]) -> str:
    """The summary for people."""
    lines = [summary["description"], ""]
    names = list(next(iter(summary["classes"].values())))
    width = max(map(len, [*names, *summary["classes"]])) + 2
    lines.append("".join(name.rjust(width) for name in ("", *names, "all")))
    for split, counts in summary["classes"].items():
        lines.append("".join(str(value).rjust(width) for value in (split, *counts.values(), sum(counts.values()))))
    for kind in ("exact_duplicates", "exact_and_near_duplicates"):
        counts = summary[kind]
        lines += [
            "",
            f"{kind.replace('_', ' ')}: {counts['groups']} groups of {counts['images']} images, "
            f"{counts['groups_with_contradicting_labels']} with contradicting labels, "
            f"{counts['groups_across_splits']} across splits",
        ]
    lines += [
        "",
        *(f"{count} images of {pair} (exact or near)" for pair, count in summary["images_with_a_duplicate_in"].items()),
    ]
    lines += ["", f"{summary['blank']} blank images, {summary['few_toned']} of few tones", ""]
    return "\n".join(lines)


def sheet(examples: Examples, order: Sequence[int], group: Sequence[int]) -> np.ndarray:
    """A contact sheet: uint8 (H, W), the examples `order` (indices) in rows with their split and label.

    Neighbours of the same `group`, one number for each of `order`, stand on the same shade. What does not fit is left
    out.
    """
    rows = min(-(-len(order) // _COLUMNS), _ROWS)
    page = np.full((rows * (_TILE + _CAPTION), _COLUMNS * _TILE), 255, np.uint8)
    shade, names = 255, labels.latin(examples.label_names)
    for place, i in enumerate(order[: rows * _COLUMNS]):
        if place and group[place] != group[place - 1]:
            shade = 440 - shade  # 255, 185, 255, ...
        top, left = place // _COLUMNS * (_TILE + _CAPTION), place % _COLUMNS * _TILE
        image = cv2.resize(duplicates.grey(examples.images[i : i + 1])[0], (_TILE, _TILE))
        page[top : top + _TILE, left : left + _TILE] = image
        page[top + _TILE : top + _TILE + _CAPTION, left : left + _TILE] = shade
        [name] = labels.latin([examples.split[i]])
        split = name if len(name) <= 6 else f"{name[:5]}."
        cv2.putText(
            page,
            f"{split} {names[examples.labels[i]]}",
            (left + 1, top + _TILE + 10),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.32,
            0,
            1,
            cv2.LINE_AA,
        )
    return page


def _sheets(result: Audit, examples: Examples) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name of a contact sheet -> the images on it and their groups."""

    def by_group(group: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All members of the groups of the chosen, in a shuffled but fixed order: the page is a sample."""
        members = np.flatnonzero(np.isin(group, group[chosen]))
        place = np.random.default_rng(0).permutation(len(group))[group[members]]
        members = members[np.argsort(place, kind="stable")]
        return members, group[members]

    def by_value(chosen: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        indices = np.flatnonzero(chosen)
        indices = indices[np.argsort(value[indices], kind="stable")]
        return indices, indices

    exact, near, found = result.exact_group, result.near_group, result.found
    least_alike = np.argsort(result.correlation, kind="stable")
    return {
        "exact_contradicting": by_group(exact, _differ(exact, examples.labels)),
        "exact_across_splits": by_group(exact, _differ(exact, examples.split)),
        "near": by_group(near, found["near_duplicate"]),
        "near_least_alike": (result.pairs[least_alike].ravel(), np.repeat(least_alike, 2)),
        "blank": by_value(found["blank"], result.tones),
        "few_toned": by_value(found["few_toned"], -result.largest_tone),
    }


def _repeated(group: np.ndarray) -> np.ndarray:
    return np.bincount(group, minlength=len(group))[group] > 1


def _differ(group: np.ndarray, values: np.ndarray) -> np.ndarray:
    """bool (N,): members of a group in which `values` are not all the same."""
    differs = values != values[group]  # a group's number is the index of its first member
    return np.isin(group, group[differs])


def _count(group: np.ndarray, chosen: np.ndarray) -> int:
    return len(np.unique(group[chosen]))


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
