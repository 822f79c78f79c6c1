"""The bands of a video's answer, in each format."""

import dataclasses
import xml.etree.ElementTree

import cv2
import numpy as np
import pytest
from PIL import Image

from fer_jax.errors import UserError
from fer_jax.serve.plot import MAX_PEOPLE, WIDTH, Plot
from fer_jax.serve.summary import Person, Segment, Summary

FACE = cv2.imencode(".jpg", np.full((64, 64, 3), (0, 0, 200), np.uint8))[1].tobytes()
SVG = "{http://www.w3.org/2000/svg}"


def _person(track, segments, thumbnail=FACE):
    segments = tuple(Segment(*segment) for segment in segments)
    shares = {"happy": 0.5, "<b>": 0.5}
    return Person(track, 5.0, shares, "happy", 1, 12.0, 1.0, segments, thumbnail)


@pytest.fixture
def summary():
    people = (_person(1, [(0, 4, "happy", 1.0), (4, 5, "<b>", 0.0)]), _person(2, [(5, 10, "<b>", 1.0)]))
    return Summary("folder/a & <b>.mp4", 0.0, 10.0, 250, ("happy", "<b>"), people)


def _boxes(plot, color):
    image = xml.etree.ElementTree.fromstring(plot.svg())
    return [box for box in image.iter(f"{SVG}rect") if box.get("fill") == color and box.find(f"{SVG}title") is not None]


def test_each_person_has_a_band_in_proportion_to_time(summary):
    plot = Plot(summary)
    [happy] = _boxes(plot, plot._colors["happy"])
    pale, full = _boxes(plot, plot._colors["<b>"])
    assert float(happy.get("width")) == pytest.approx(4 * float(pale.get("width")), abs=0.3)
    assert float(pale.get("fill-opacity")) < 0.5 < float(full.get("fill-opacity"))
    assert float(full.get("y")) > float(happy.get("y"))
    assert float(full.get("x")) + float(full.get("width")) == pytest.approx(WIDTH - 20, abs=0.2)
    assert not list(xml.etree.ElementTree.fromstring(plot.svg()).iter(f"{SVG}image"))
    with_faces = xml.etree.ElementTree.fromstring(Plot(summary, thumbnails=True).svg())
    assert len(list(with_faces.iter(f"{SVG}image"))) == 2


def test_the_axis_begins_where_the_analysis_does_and_the_title_is_the_name_of_the_file(summary):
    moved = dataclasses.replace(summary, start=60.0, people=(_person(2, [(65, 70, "<b>", 1.0)]),))
    [there] = _boxes(Plot(moved), Plot(moved)._colors["<b>"])
    _, here = _boxes(Plot(summary), Plot(summary)._colors["<b>"])
    assert there.get("x") == here.get("x")
    texts = [text.text for text in xml.etree.ElementTree.fromstring(Plot(moved).svg()).iter(f"{SVG}text")]
    assert texts[0] == "a & <b>.mp4: 10.0 s, 1 person"
    assert {"1:00", "1:05", "1:10"} <= set(texts)


def test_the_files(summary, tmp_path):
    for name in ("new/plot.svg", "plot.html", "plot.png", "plot.png"):
        Plot(summary, thumbnails=True).save(tmp_path / name)
    picture = np.asarray(Image.open(tmp_path / "plot.png"))
    assert picture.shape[1] == 2 * WIDTH
    assert (picture == (200, 0, 0)).all(-1).sum() > 2000 or (picture[..., 0].astype(int) - picture[..., 1] > 150).any()
    page = (tmp_path / "plot.html").read_text(encoding="utf-8")
    assert "<b>.mp4" not in page
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert Plot(summary)._repr_svg_().startswith("<svg")
    cv2.imwrite(str(tmp_path / "photo.png"), np.zeros((9, 9, 3), np.uint8))
    for name, words in (
        ("plot.pdf", r"cannot plot as \.pdf: use \.svg, \.png, \.html"),
        ("photo.png", "not written here"),
        ("plot.html/plot.svg", "cannot be written"),
    ):
        with pytest.raises(UserError, match=words):
            Plot(summary).save(tmp_path / name)


def test_a_crowd_and_nobody():
    people = tuple(_person(i, [(0, 10, "happy", 1.0)], b"") for i in range(100))
    plot = Plot(Summary("x", 0.0, 36_000.0, 9, ("happy", "<b>"), people))
    assert len(_boxes(plot, plot._colors["happy"])) == MAX_PEOPLE
    assert "60 more" in plot.svg()
    for seconds in (0.0, 0.01, 59.0, 3599.0, 1e6):
        nobody = Plot(Summary("x", 0.0, seconds, 0, ("happy",), ()))
        xml.etree.ElementTree.fromstring(nobody.svg())
        assert nobody.png()
