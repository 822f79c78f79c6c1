"""The picture of a video's answer: a band over time for each person, as SVG, PNG or a page."""

from __future__ import annotations

import base64
import html
import io
import math
import os
from collections.abc import Iterator

from fer_jax import files
from fer_jax.errors import UserError
from fer_jax.preprocess import images
from fer_jax.serve import outputs
from fer_jax.serve.overlay import colors, percent
from fer_jax.serve.summary import Person, Summary

WIDTH, MARGIN = 960, 20  # pixels
BAND, GAP = 30, 14
NAME_WIDTH, THUMBNAIL = 150, 40
MAX_PEOPLE = 40  # those who are seen longest
UNCERTAIN = 0.35  # opacity of what the model is not certain of
SUFFIXES = (".svg", ".png", ".html")
INK, PAPER, TRACE = ("#24292f", "#e6edf3"), ("#ffffff", "#0d1117"), ("#8c959f", "#6e7681")  # on light, on dark
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)  # seconds between ticks


class Plot:
    """Bands of expressions over time. A notebook shows it; `save` writes it."""

    def __init__(self, summary: Summary, thumbnails: bool = False):
        """`thumbnails` puts a picture of each face beside its band."""
        self._summary = summary
        self._thumbnails = thumbnails
        self._people = summary.longest(MAX_PEOPLE)
        self._colors = {
            name: f"#{red:02x}{green:02x}{blue:02x}"
            for name, (blue, green, red) in zip(summary.labels, colors(summary.labels), strict=True)
        }

    def save(self, path: str | os.PathLike) -> None:
        """Write the plot in the format of the suffix; UserError for another than `SUFFIXES`, or an unwritable place."""
        path = files.expand(path)
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            raise UserError(f"{path}: cannot plot as {suffix or 'a file without suffix'}: use {', '.join(SUFFIXES)}")
        outputs.check_target("plot", path)
        data = self.png() if suffix == ".png" else (self.svg() if suffix == ".svg" else self.page()).encode()
        try:
            with files.atomic_path(path) as tmp:
                tmp.write_bytes(data)
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}): name another place or make room") from error

    def page(self) -> str:
        """An HTML page with the plot and the table."""
        title = html.escape(self._summary.heading())
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
            '<meta name="viewport" content="width=device-width">\n<style>:root{color-scheme:light dark}'
            f"body{{font:15px system-ui,sans-serif;max-width:{WIDTH}px;margin:1em auto;padding:0 1em;"
            f"color:{INK[0]};background:{PAPER[0]}}}svg{{width:100%;min-width:{WIDTH * 2 // 3}px;height:auto}}"
            "div{overflow-x:auto}td,th{padding:.2em .6em;text-align:right;white-space:nowrap}"
            f"@media(prefers-color-scheme:dark){{body{{color:{INK[1]};background:{PAPER[1]}}}}}</style></head>\n"
            f"<body>\n<div>{self.svg()}</div>\n<div>{self._summary.html_table()}</div>\n</body></html>\n"
        )

    def svg(self) -> str:
        """An SVG image, for light and dark grounds."""
        drawing = _Svg()
        height = self._draw(drawing)
        return drawing.image(height)

    def png(self) -> bytes:
        """A PNG file, twice as large as the SVG."""
        drawing = _Png(self._draw(_Svg()))
        self._draw(drawing)
        return images.commented(drawing.file(), outputs.MARK)

    def _repr_svg_(self) -> str:
        return self.svg()

    def _draw(self, drawing: _Svg | _Png) -> int:
        """Draw everything; its height in pixels."""
        left, right = MARGIN + NAME_WIDTH + (THUMBNAIL + 8 if self._thumbnails else 0), WIDTH - MARGIN
        scale, begin = (right - left) / (self._summary.seconds or 1.0), self._summary.start
        drawing.text(MARGIN, MARGIN + 12, _fitted(self._summary.heading(), 100), 16)
        top = MARGIN + 34
        row = max(BAND, THUMBNAIL if self._thumbnails else 0) + GAP
        for person in self._people:
            middle = top + (row - GAP) / 2
            self._name(drawing, person, middle)
            at = left
            for segment in person.segments:
                start, end = (left + (seconds - begin) * scale for seconds in (segment.start, segment.end))
                _trace(drawing, at, start, middle)
                opacity = UNCERTAIN + (1 - UNCERTAIN) * segment.certain
                period = f"{segment.start:.1f} to {segment.end:.1f} s"
                tip = f"{period}: {segment.label}, {percent(segment.certain)} certain"
                width, color = max(end - start, 0.5), self._colors[segment.label]
                drawing.box(start, middle - BAND / 2, width, BAND, color, opacity, tip)
                at = end
            _trace(drawing, at, right, middle)
            top += row
        for seconds, name in _ticks(begin, self._summary.seconds):
            drawing.text(left + (seconds - begin) * scale, top + 12, name, 12, "middle")
            drawing.box(left + (seconds - begin) * scale, top - GAP / 2, 1, 5, TRACE[0])
        return self._legend(drawing, left, right, top + 34)

    def _name(self, drawing: _Svg | _Png, person: Person, middle: float) -> None:
        if self._thumbnails and person.thumbnail:
            drawing.picture(MARGIN, middle - THUMBNAIL / 2, THUMBNAIL, person.thumbnail)
        beside = MARGIN + (THUMBNAIL + 8 if self._thumbnails else 0)
        drawing.text(beside, middle - 2, f"face {person.track}, {person.seconds:.1f} s", 13)
        drawing.text(
            beside, middle + 13, f"{_fitted(person.dominant, 12)} {percent(person.shares[person.dominant])}", 12
        )

    def _legend(self, drawing: _Svg | _Png, left: float, right: float, top: float) -> int:
        shown = {segment.label for person in self._people for segment in person.segments}
        x = left
        for name in [name for name in self._summary.labels if name in shown] + [""]:
            text = _fitted(name, 20) or "faint: not certain"
            width = 30 + 7.5 * len(text)
            if x > left and x + width > right:
                x, top = left, top + 20
            if name:
                drawing.box(x, top - 10, 12, 12, self._colors[name])
            drawing.text(x + (18 if name else 0), top, text, 12)
            x += width
        left_out = len(self._summary.people) - len(self._people)
        if left_out:
            top += 20
            drawing.text(left, top, f"and {left_out} more, who are seen for a shorter time", 12)
        return round(top + MARGIN)


class _Svg:
    """Collects the elements of an SVG image."""

    def __init__(self):
        self._elements: list[str] = []

    def text(self, x: float, y: float, text: str, size: int, anchor: str = "start") -> None:
        place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"'
        self._elements.append(f"<text {place}>{html.escape(text)}</text>")

    def box(self, x: float, y: float, w: float, h: float, color: str, opacity: float = 1.0, tip: str = "") -> None:
        place = f'x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" fill="{color}" fill-opacity="{opacity:.2f}"'
        self._elements.append(f"<rect {place}><title>{html.escape(tip)}</title></rect>" if tip else f"<rect {place}/>")

    def picture(self, x: float, y: float, side: float, jpeg: bytes) -> None:
        data = base64.b64encode(jpeg).decode()
        place = f'x="{x}" y="{y:.1f}" width="{side}" height="{side}"'
        self._elements.append(f'<image {place} href="data:image/jpeg;base64,{data}"/>')

    def image(self, height: int) -> str:
        body = "\n".join(self._elements)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
            f'height="{height}" font-family="system-ui,sans-serif"><style>text{{fill:{INK[0]}}}.p{{fill:{PAPER[0]}}}'
            f"@media(prefers-color-scheme:dark){{text{{fill:{INK[1]}}}.p{{fill:{PAPER[1]}}}}}</style>\n"
            f'<rect class="p" width="{WIDTH}" height="{height}"/>\n{body}\n</svg>'
        )


class _Png:
    """Draws the same elements with Pillow, twice as large."""

    def __init__(self, height: int):
        from PIL import Image, ImageDraw

        self._image = Image.new("RGB", (2 * WIDTH, 2 * height), PAPER[0])
        self._pen = ImageDraw.Draw(self._image, "RGBA")

    def text(self, x: float, y: float, text: str, size: int, anchor: str = "start") -> None:
        from PIL import ImageFont

        font = ImageFont.load_default(2 * size)
        self._pen.text((2 * x, 2 * y), text, INK[0], font, "ms" if anchor == "middle" else "ls")

    def box(self, x: float, y: float, w: float, h: float, color: str, opacity: float = 1.0, tip: str = "") -> None:
        del tip
        corners = (round(2 * x), round(2 * y), max(round(2 * (x + w)) - 1, round(2 * x)), round(2 * (y + h)) - 1)
        self._pen.rectangle(corners, f"{color}{round(255 * opacity):02x}")

    def picture(self, x: float, y: float, side: float, jpeg: bytes) -> None:
        from PIL import Image

        face = Image.open(io.BytesIO(jpeg)).resize((round(2 * side), round(2 * side)))
        self._image.paste(face, (round(2 * x), round(2 * y)))

    def file(self) -> bytes:
        file = io.BytesIO()
        self._image.save(file, "png")
        return file.getvalue()


def _trace(drawing: _Svg | _Png, left: float, right: float, y: float) -> None:
    """Draw a thin line where a face is not seen."""
    if right - left >= 1:
        drawing.box(left, y, right - left, 1, TRACE[0], 0.5)


def _ticks(begin: float, seconds: float) -> Iterator[tuple[float, str]]:
    """Times between `begin` and so many seconds later, and their names, eleven of them at most."""
    step = next((step for step in STEPS if seconds / step <= 10), STEPS[-1])
    end = begin + seconds
    for i in range(math.ceil(begin / step), math.floor(end / step) + 1):
        at = i * step
        if end < 60:
            yield at, f"{at:g} s"
        elif end < 3600:
            yield at, f"{int(at // 60)}:{int(at % 60):02d}"
        else:
            yield at, f"{int(at // 3600)}:{int(at % 3600 // 60):02d} h"


def _fitted(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters // 2]}...{text[-(letters - letters // 2 - 3) :]}"
