"""The colours of the plots, each with the name of the CSS variable that stands for it on the page.

The series are those of Okabe and Ito (Color Universal Design, 2008), which people with any of the common kinds of
colour blindness can tell apart; the yellow, too pale on white, is left out, and black is the ink's. A violet and a
brown follow, for reports of many networks.
"""

from __future__ import annotations

INK, MUTED, GRID, SURFACE, FRONT = "#17212b", "#5a6672", "#dde3e8", "#fefefe", "#a8b3bd"
TWIN = "#d55e00"
SERIES = ("#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6a51a3", "#8c6239")

VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    SURFACE: "--surface",
    FRONT: "--front",
    TWIN: "--twin",
    **{colour: f"--series-{index}" for index, colour in enumerate(SERIES)},
}
