"""A drawn figure in its three forms: PNG, SVG (the same figure gives the same bytes), and SVG for a page."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from tks_edge_runtime.reporting import palette

_DPI = 220
_NO_SVG_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_REPRODUCIBLE: Any = {"svg.hashsalt": "tks-edge"}


@dataclass(frozen=True)
class Plot:
    """One plot: its file name without ending, title, a description for who cannot see it, and its three forms.

    `inline` is an `<svg>` element for an HTML page: its text is text, its colours are CSS variables, and what is drawn
    for rows has the class "point", "part" or "line" and, in `data-rows`, their places in the document. `narrow` is the
    same for a phone, where `inline` would be too wide for one, and `note` what the plot is to be read with.
    """

    name: str
    title: str
    description: str
    png: bytes
    svg: str
    inline: str
    narrow: str | None = None
    note: str = ""


def saved(
    figure: Figure, name: str, title: str, description: str, *, narrow: Figure | None = None, note: str = ""
) -> Plot:
    """Render `figure` in its three forms, and `narrow` for the phone."""
    for one in filter(None, (figure, narrow)):
        # The layout is the same in every form, and takes as long as drawing.
        one.draw_without_rendering()
        one.set_layout_engine("none")
    inline = _inline(_svg(figure, "none"), name)
    for_a_phone = _inline(_svg(narrow, "none"), f"{name}-narrow") if narrow is not None else None
    return Plot(name, title, description, _png(figure), _svg(figure, "path"), inline, for_a_phone, note)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def _svg(figure: Figure, fonttype: str) -> str:
    buffer = io.BytesIO()
    with matplotlib.rc_context({**_REPRODUCIBLE, "svg.fonttype": fonttype}):
        figure.savefig(buffer, format="svg", metadata=_NO_SVG_METADATA)
    return buffer.getvalue().decode("utf-8")


def _inline(svg: str, name: str) -> str:
    """The `<svg>` element alone, for a page with others: ids made unique, colours and font left to the page's CSS."""
    svg = re.sub(r"<style.*?</style>|<!--.*?-->", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'<g id="(point|part|line)[^".]*\.([0-9.]+)"', _marked, svg)
    svg = re.sub(r"<[^<>]+>", _rounded, svg)
    svg = re.sub(r"(?<=>)\s+(?=<)|(?<=<g>)<defs/>", "", svg)
    opening = r'<svg viewBox="\1" aria-hidden="true" focusable="false">'
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', opening, svg, count=1)
    svg = re.sub(r'(?<=<)([a-z]+)([^<>]*?) id="', rf'\1\2 id="{name}-', svg)
    svg = re.sub(r'(?:xlink:)?href="#', f'href="#{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-")
    # Which of the two ways the font is written in depends on matplotlib's version.
    svg = re.sub(r" ?font-family: [^;\"]*;?", "", svg)
    svg = re.sub(r"font: ([a-z0-9 .]*?)([0-9.]+)px [^;\"]*", _font_style, svg)
    for colour, variable in palette.VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg


def _marked(group: re.Match[str]) -> str:
    """The group of a row, as the page's script looks for it."""
    return f'<g class="{group[1]}" data-rows="{group[2].replace(".", " ")}"'


def _rounded(tag: re.Match[str]) -> str:
    """A tag with its coordinates to a hundredth of a point."""
    return re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), tag[0])


def _font_style(font: re.Match[str]) -> str:
    """The size, and the weight where it is not the normal one; the family is the page's."""
    weight = font[1].strip()
    return f"font-size: {font[2]}px" + (f"; font-weight: {weight}" if weight else "")
