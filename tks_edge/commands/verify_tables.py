"""What `tks-edge verify` says of a comparison: a row for every layer and timestep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from tks_edge_export import Comparison, LayerComparison
    from tks_edge_export.agreement import Agreement
    from tks_edge_runtime.command import Output

_COLUMNS = ("layer", "t", "decisions", "fires", "margin", "borderline", "faults", "flips")


def comparison_document(comparison: Comparison, agreement: Agreement) -> dict[str, Any]:
    """The comparison in the command's JSON document."""
    first = comparison.first_fault
    return {
        "problem": comparison.problem(),
        "first_diverging": None if first is None else {"layer": first[0], "timestep": first[1] + 1},
        "samples": comparison.samples,
        "max_logit_difference": comparison.max_logit_difference,
        "max_watched_difference": comparison.max_watched_difference,
        "logit_tolerance": comparison.logit_tolerance,
        "predictions_differing": comparison.predictions_differing,
        "predictions_unexplained": comparison.predictions_unexplained,
        "top1_agreement": {"samples": agreement.samples, "agreeing": agreement.agreeing},
        "layers": [_layer(layer, comparison) for layer in comparison.layers],
    }


def _layer(layer: LayerComparison, comparison: Comparison) -> dict[str, Any]:
    steps = [
        {
            "timestep": t + 1,
            "decisions": step.decisions,
            "fire_rate": step.fire_rate,
            "smallest_margin": step.smallest_margin,
            "borderline": step.differing - step.faults,
            "faults": step.faults,
            "largest_distance": step.largest_distance,
            "flips_from_trained": comparison.flips[layer.path][t],
        }
        for t, step in enumerate(layer.steps)
    ]
    return {"layer": layer.path, "exact": layer.exact, "fire_rate": layer.total.fire_rate, "timesteps": steps}


def show_comparison(comparison: Comparison, agreement: Agreement, out: Output) -> None:
    """A table of every layer and timestep, and what holds for the logits."""
    if comparison.layers:
        table = Table(title=f"spikes over {comparison.samples:,} samples", title_justify="left")
        for column in _COLUMNS:
            table.add_column(column, justify="left" if column == "layer" else "right")
        for layer in comparison.layers:
            _add_rows(table, layer, comparison.flips[layer.path])
        out.console.print(table)
        out.console.print(
            "borderline and faults: against the network with the graph's weights, each from the same past; flips: "
            "against the trained network, each running freely; *: computed exactly, so that any difference would be a "
            "fault",
            highlight=False,
            soft_wrap=True,
        )
    out.console.print(
        f"logits within {comparison.max_logit_difference:.1e} (allowed {comparison.logit_tolerance:.1e}); the class "
        f"predicted is the trained network's for {agreement.agreeing:,} of {agreement.samples:,} test samples "
        f"({agreement.share:.2%})",
        highlight=False,
        soft_wrap=True,
    )


def _add_rows(table: Table, layer: LayerComparison, flips: tuple[int, ...]) -> None:
    for t, step in enumerate(layer.steps):
        table.add_row(
            layer.path + (" *" if layer.exact else "") if t == 0 else "",
            str(t + 1),
            f"{step.decisions:,}",
            f"{step.fire_rate:.1%}",
            f"{step.smallest_margin:.1e}",
            f"{step.differing - step.faults:,}",
            f"{step.faults:,}",
            f"{flips[t]:,}",
        )
