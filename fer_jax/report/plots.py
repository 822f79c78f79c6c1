"""The plots of a report: each draws on matplotlib axes, and is saved as SVG that follows the page's colors, or PNG."""

import contextlib
import io
import itertools
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter

from fer_jax import files, labels
from fer_jax.evaluation.metrics import Reliability

INK = "#23272e"  # text and lines; becomes the page's text color in SVG
COLORS = ("#2f7ed8", "#e0763a", "#2e9e6b", "#b35cc4", "#c9a227", "#d1495b", "#5f7d95")
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.13,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "fer_jax",
    "text.parse_math": False,  # a class may have $ in its name
}
SHEET_COLUMNS = 8  # faces in a row
CELL_INCHES = (1.25, 1.55)  # of a face with its caption
PANEL_INCHES = (4.6, 3.3)  # as wide as a phone at the font's own size

Draw = Callable[[Axes], None]


@contextlib.contextmanager
def style() -> Iterator[None]:
    """This room's settings of matplotlib; letters that its font lacks are boxes in PNG files, without a warning."""
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from", UserWarning)
        yield


def svg(draw: Draw, inches: tuple[float, float] = PANEL_INCHES, copy: str | os.PathLike | None = None) -> Markup:
    """One plot as an <svg> element whose ink is `currentColor`, to stand in a page of any background.

    `copy` is a PNG file for the same plot on white.
    """
    buffer = io.StringIO()
    with style():
        figure = Figure(inches, layout="constrained")
        draw(figure.add_subplot())
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        if copy:
            figure.set_layout_engine("none")  # it stands as it was laid out
            _save(figure, copy)
    text = buffer.getvalue()
    text = re.sub(r' id="\w+_\d+"', "", text[text.index("<svg") :])  # the same in every plot of the page
    return Markup(text.replace(INK, "currentColor"))


def png(path: str | os.PathLike, draws: Sequence[Draw]) -> None:
    """Plots side by side in one picture file on white."""
    with style():
        figure = Figure((PANEL_INCHES[0] * len(draws), PANEL_INCHES[1]), layout="constrained")
        for draw, axes in zip(draws, figure.subplots(1, len(draws), squeeze=False)[0], strict=True):
            draw(axes)
        _save(figure, path)


def _save(figure: Figure, path: str | os.PathLike) -> None:
    with files.atomic_path(path) as tmp:
        figure.savefig(tmp, dpi=144)


def curves(
    title: str,
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    xlabel: str = "epoch",
    share: bool = False,
    log: bool = False,
    best: float | None = None,
    ceiling: float | None = None,
) -> Draw:
    """Lines by name, each (x, y).

    Args:
      share: y is a share, shown in per cent.
      log: y has a logarithmic axis.
      best: where a vertical line marks the chosen epoch.
      ceiling: where a horizontal line marks the noise ceiling.
    """

    def draw(axes: Axes) -> None:
        for (name, (x, y)), color in zip(series.items(), itertools.cycle(COLORS), strict=False):
            axes.plot(x, y, label=name, color=color, marker="o" if len(x) < 15 else None, markersize=3.5)
        if best is not None:
            axes.axvline(best, color=INK, linestyle=":", linewidth=1, label=f"chosen: epoch {best:g}")
        if ceiling is not None:
            axes.axhline(ceiling, color=INK, linestyle="--", linewidth=1, label="noise ceiling")
        axes.set(title=title, xlabel=xlabel)
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")  # the usual one writes formulas
            axes.yaxis.set_minor_formatter(NullFormatter())
        if share:
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        if xlabel == "epoch":
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if len(series) > 1:
            axes.legend()

    return draw


def confusion(counts: Sequence[Sequence[int]] | np.ndarray, label_names: Sequence[str]) -> Draw:
    """Counts and per cent of the row (the true class), shaded by the latter; of many classes the shades alone."""
    counts = np.asarray(counts)
    rows = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    many = len(counts) > labels.MAX_LISTED

    def draw(axes: Axes) -> None:
        colors = np.empty((*rows.shape, 4))
        colors[...] = to_rgba(COLORS[0])
        colors[..., 3] = 0.04 + 0.7 * rows
        axes.imshow(colors, extent=(0, len(counts), len(counts), 0), interpolation="nearest")
        for (i, j), count in () if many else np.ndenumerate(counts):
            middle: dict[str, Any] = {"ha": "center", "va": "center"}
            weight = "bold" if i == j else "normal"
            axes.text(j + 0.5, i + 0.44, f"{100 * rows[i, j]:.0f} %", fontsize=8.5, fontweight=weight, **middle)
            axes.text(j + 0.5, i + 0.76, f"{count}", fontsize=6.5, **middle)
        ticks, names = ([], []) if many else (np.arange(len(label_names)) + 0.5, label_names)
        axes.set_xticks(ticks, names, rotation=40, ha="right")
        axes.set_yticks(ticks, names)
        order = f" ({len(counts)} classes in the order of the table)" if many else ""
        axes.set(xlabel=f"predicted{order}", ylabel="true", aspect="auto")
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)

    return draw


def reliability(diagram: Reliability, error: float) -> Draw:
    """Accuracy in bins of confidence against the diagonal, and how many examples each bin has."""

    def draw(axes: Axes) -> None:
        left, width, filled = diagram.edges[:-1], np.diff(diagram.edges), diagram.examples > 0
        shares = diagram.examples / diagram.examples.sum()
        axes.bar(left, shares, width, align="edge", color=INK, alpha=0.15, label="share of the faces")
        look: dict[str, Any] = {"color": COLORS[0], "edgecolor": COLORS[0], "alpha": 0.55, "align": "edge"}
        axes.bar(left[filled], diagram.accuracy[filled], width[filled], label="accuracy", **look)
        axes.plot([0, 1], [0, 1], color=INK, linestyle="--", linewidth=1, label="calibrated")
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", title=f"Calibration error {100 * error:.1f} %")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.legend(fontsize=8)

    return draw


def bars(title: str, groups: Sequence[str], series: Mapping[str, Sequence[float]]) -> Draw:
    """Shares in 0..1 by group, one bar a series beside the other."""

    def draw(axes: Axes) -> None:
        width = 0.8 / len(series)
        for i, ((name, values), color) in enumerate(zip(series.items(), itertools.cycle(COLORS), strict=False)):
            axes.bar(np.arange(len(groups)) + (i + 0.5) * width - 0.4, values, width, label=name, color=color)
        axes.set_xticks(range(len(groups)), groups, rotation=40, ha="right")
        axes.set(title=title, ylim=(0, 1))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.legend(fontsize=8)

    return draw


def sheet(path: str | os.PathLike, images: np.ndarray, captions: Sequence[tuple[str, str]]) -> None:
    """Faces uint8 (N, H, W, C) in rows, each with a caption of one or two lines (text, color), as a PNG file."""
    rows = -(-len(images) // SHEET_COLUMNS)
    with style():
        figure = Figure((CELL_INCHES[0] * SHEET_COLUMNS, CELL_INCHES[1] * rows))
        axes = figure.add_axes((0, 0, 1, 1))
        for i, (image, (text, color)) in enumerate(zip(images, captions, strict=True)):
            left, right = (i % SHEET_COLUMNS + np.array((0.03, 0.97))) * CELL_INCHES[0]
            bottom = (i // SHEET_COLUMNS + 0.98) * CELL_INCHES[1]
            extent = (left, right, bottom, top := bottom - (right - left))
            axes.imshow(np.broadcast_to(image, (*image.shape[:2], 3)), interpolation="nearest", extent=extent)
            axes.text((left + right) / 2, top - 0.03, text, fontsize=7, color=color, ha="center", va="bottom")
        axes.set(xlim=(0, CELL_INCHES[0] * SHEET_COLUMNS), ylim=(CELL_INCHES[1] * rows, 0), aspect="auto")
        axes.axis("off")
        _save(figure, path)
