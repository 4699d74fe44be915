"""Plots take longer than all else in a report, and have tests of their own: elsewhere few are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tks_edge_runtime.reporting.document import ReportDocument
    from tks_edge_runtime.reporting.plot_forms import Plot

DRAW = "tks_edge_runtime.reporting.build.draw"
"""What draws the plots of a report, to be replaced by `few_plots`."""


def few_plots(document: ReportDocument) -> tuple[Plot, ...]:
    """Those of the layers alone, which a page cannot be without."""
    from tks_edge_runtime.reporting import plots

    return tuple(plots._of_layers(document.rows))
