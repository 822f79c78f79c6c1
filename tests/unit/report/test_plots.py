"""The plots: SVG for the page, PNG beside it."""

import cv2
import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from fer_jax.report import plots


def test_svg_takes_the_pages_color_and_leaves_no_global_state():
    before = dict(matplotlib.rcParams)
    drawn = plots.svg(plots.curves("x", {"a": ([1, 2], [0.1, 0.2])}))
    assert drawn.startswith("<svg") and "currentColor" in drawn and plots.INK not in drawn
    assert drawn == plots.svg(plots.curves("x", {"a": ([1, 2], [0.1, 0.2])}))
    assert dict(matplotlib.rcParams) == before


def test_png_holds_the_plots_side_by_side(tmp_path):
    draw = plots.curves("x", {"a": ([1, 2], [0.1, 0.2])})
    plots.png(tmp_path / "one.png", [draw])
    plots.png(tmp_path / "two.png", [draw, draw])
    (height, width), wide = (cv2.imread(str(tmp_path / f"{name}.png")).shape[:2] for name in ("one", "two"))
    assert wide == (height, 2 * width)


def drawn(draw):
    axes = Figure().add_subplot()
    draw(axes)
    return axes


def test_a_confusion_matrix_has_per_cent_of_the_row_and_counts():
    axes = drawn(plots.confusion([[3, 1], [0, 0]], ["happy", "sad"]))
    assert [text.get_text() for text in axes.texts] == ["75 %", "3", "25 %", "1", "0 %", "0", "0 %", "0"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["happy", "sad"]


def test_a_confusion_matrix_of_300_classes_is_small_and_names_none():
    draw = plots.confusion(np.eye(300, dtype=int), [f"class {i}" for i in range(300)])
    axes = drawn(draw)
    assert not axes.texts and not axes.get_yticklabels()
    assert "300 classes" in axes.get_xlabel()
    assert len(plots.svg(draw)) < 200_000


def test_curves_mark_the_chosen_epoch_and_the_ceiling():
    axes = drawn(plots.curves("x", {"a": ([1, 2], [0.1, 0.2])}, best=2, ceiling=0.7))
    assert [line.get_label() for line in axes.lines] == ["a", "chosen: epoch 2", "noise ceiling"]
    assert axes.lines[1].get_xdata() == [2, 2] and axes.lines[2].get_ydata() == [0.7, 0.7]


def test_numbers_of_a_logarithmic_axis_are_no_formulas():
    drawn = plots.svg(plots.curves("Learning rate", {"lr": ([1, 2, 3], [2.8e-3, 1e-4, 2e-7])}, log=True))
    assert "$" not in drawn
    assert ">0.001<" in drawn and ">1e-06<" in drawn


def test_bars_stand_beside_each_other_and_end_at_one():
    axes = drawn(plots.bars("Recall", ["happy", "sad"], {"a": [0.5, 1.0], "b": [0.25, 0.0]}))
    assert [bar.get_height() for bar in axes.patches] == [0.5, 1.0, 0.25, 0.0]
    lefts = [bar.get_x() for bar in axes.patches]
    assert lefts[2] == pytest.approx(lefts[0] + 0.4) and axes.get_ylim() == (0, 1)


def test_a_sheet_takes_gray_and_color(tmp_path):
    for channels in (1, 3):
        plots.sheet(tmp_path / "faces.png", np.zeros((9, 8, 8, channels), np.uint8), [("a", plots.INK)] * 9)
        assert min(cv2.imread(str(tmp_path / "faces.png")).shape[:2]) > 300
