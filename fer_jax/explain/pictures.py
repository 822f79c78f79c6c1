"""A sheet of faces with their maps beside them, as a PNG file."""

from __future__ import annotations

import os
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fer_jax import files
from fer_jax.explain.explaining import Explained
from fer_jax.report import plots

CELL_INCHES = 1.5
SIGNED = matplotlib.colormaps["RdBu_r"]  # red is evidence for the class, blue against it


def save_faces(path: str | os.PathLike, explained: Explained, label_names: Sequence[str]) -> None:
    """One row a face: the face, then its map by each method."""
    columns = ["", *explained.maps]
    with files.atomic_path(path) as tmp, plots.style():
        figure, grid = _grid(len(explained.images), len(columns))
        for axes, title in zip(grid[0], columns, strict=True):
            axes.set_title(title.replace("_", "\n", 1).replace("_", " "), fontsize=8)
        for i, row in enumerate(grid):
            face = _as_rgb(explained.images[i])
            row[0].imshow(face)
            text = f"{label_names[explained.predicted[i]]} {100 * explained.confidence[i]:.0f} %"
            if explained.labels is not None and explained.labels[i] != explained.predicted[i]:
                text += f"\n(is {label_names[explained.labels[i]]})"
            row[0].set_ylabel(text, fontsize=8)
            for axes, maps in zip(row[1:], explained.maps.values(), strict=True):
                axes.imshow(overlay(face, maps[i]))
        figure.savefig(tmp, dpi=120)


def overlay(face: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A face uint8 (H, W, 3) tinted red where `values` float (H, W) are positive, blue where negative, uint8."""
    share = np.clip(values / _limit(values), -1, 1)[..., None]
    tint = 255 * SIGNED((share[..., 0] + 1) / 2)[..., :3]
    strength = 0.75 * np.abs(share)
    return np.round((1 - strength) * face + strength * tint).astype(np.uint8)


def _limit(values: np.ndarray) -> float:
    """The magnitude that is shown in full color: a few pixels exceed all others by far."""
    return float(np.quantile(np.abs(values), 0.99)) or 1.0


def _as_rgb(face: np.ndarray) -> np.ndarray:
    return np.broadcast_to(face, (*face.shape[:2], 3))


def _grid(rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    figure = Figure((CELL_INCHES * columns + 0.4, CELL_INCHES * rows + 0.4), layout="constrained")
    grid: np.ndarray = figure.subplots(rows, columns, squeeze=False)

    def bare(axes: Axes) -> None:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)

    np.vectorize(bare, otypes=[object])(grid)
    return figure, grid
