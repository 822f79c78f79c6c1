"""Class names of any script in picture files."""

import warnings

import matplotlib
import numpy as np
import pytest

from fer_jax.report import lettering, plots

UNSHOWN = "\U00012000"  # a cuneiform sign: in no font that comes with an operating system's basic install


@pytest.fixture
def own_font_alone(monkeypatch):
    """As where no font is installed besides matplotlib's."""
    own = [entry for entry in lettering.font_manager.fontManager.ttflist if entry.name == lettering.OWN]
    monkeypatch.setattr(lettering.font_manager.fontManager, "ttflist", own)
    lettering._font_of.cache_clear()
    yield
    lettering._font_of.cache_clear()


def test_names_without_a_font_become_their_places(own_font_alone):
    names = ("happy", "радость", "χαρά", UNSHOWN, " ")
    assert lettering.shown(names) == ["happy", "радость", "χαρά", "class 3", "class 4"]


def test_an_installed_font_is_taken_beside_matplotlibs_own(monkeypatch):
    monkeypatch.setattr(lettering, "_font_of", lambda c: "Other" if c == UNSHOWN else lettering.OWN)
    assert lettering.shown((UNSHOWN,)) == [UNSHOWN]
    before = dict(matplotlib.rcParams)
    with lettering.style({}, ("happy", UNSHOWN)):
        assert matplotlib.rcParams["font.family"] == [lettering.OWN, "Other"]
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("name", [UNSHOWN, "$a_", "$x$", "a\nb"])
def test_pictures_warn_of_nothing(tmp_path, name, own_font_alone):
    names = (name, "sad")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.svg(plots.confusion(np.eye(2), names))
        plots.png(tmp_path / "a.png", [plots.confusion(np.eye(2), lettering.shown(names))], label_names=names)
        captions = [(f"{name} 80 %", "red")]
        plots.sheet(tmp_path / "b.png", np.zeros((1, 8, 8, 1), np.uint8), captions, label_names=names)
    assert (tmp_path / "a.png").stat().st_size > 1000
