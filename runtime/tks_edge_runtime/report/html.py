"""The report as one HTML page that needs nothing else: style and plots are inside, and nothing is fetched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import jinja2
from markupsafe import Markup

from tks_edge_runtime.report import wording
from tks_edge_runtime.report.columns import columns_of
from tks_edge_runtime.report.document import Conclusion, ReportDocument, Row
from tks_edge_runtime.report.facts import fact_table, state_table
from tks_edge_runtime.report.plot_forms import Plot
from tks_edge_runtime.report.ranking import groups, like_at_train, ratio, reference_of, rival_of, twin_of


@dataclass(frozen=True)
class Figure:
    """One key figure of a conclusion: what it is, its value, and what it is to be read with."""

    label: str
    value: str
    note: str


def render(document: ReportDocument, plots: Sequence[Plot]) -> str:
    """The whole page; names and texts are escaped, only the plots and the style sheet are markup."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tks_edge_runtime.report", "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = resources.files("tks_edge_runtime.report").joinpath("page/style.css").read_text(encoding="utf-8")
    return environment.get_template("report.html.j2").render(
        document=document,
        unstable=wording.unstable_rows(document),
        style=Markup(style),  # noqa: S704 - a file of this package
        plots=[(plot, Markup(plot.inline)) for plot in plots],  # noqa: S704 - matplotlib escapes what it writes
        answers=[(conclusion, _figures(conclusion, document.rows)) for conclusion in document.conclusions],
        columns=columns_of(document.rows),
        remarks=[(row, text) for row in document.rows for text in (row.reason, *row.warnings) if text is not None],
        states=state_table(document.device_state),
        samples=len(document.device_state.during),
        facts=[*fact_table(document.machine), *fact_table({"backend": document.backend.description})],
    )


def _figures(conclusion: Conclusion, rows: tuple[Row, ...]) -> list[Figure]:
    row = next((row for row in rows if row.file == conclusion.file and row.recommended), None)
    if row is None or row.accuracy is None:
        return []
    figures = [
        Figure("timesteps", f"T={row.timesteps}", f"{row.variant}, trained at T={row.train_timesteps}"),
        Figure("accuracy", f"{row.accuracy.percent:.2f} %", f"95 %: {wording.interval(row.accuracy)}"),
        Figure(
            "latency, UNSTABLE" if row.unstable else "latency, end to end",
            f"{wording.milliseconds(row.median)} ms",
            f"median; compute {wording.percentile(row.compute, 'p50')}, p99 {wording.percentile(row.latency, 'p99')}",
        ),
    ]
    group = next(group for group in groups(rows) if row in group)
    reference = reference_of(group, rows)
    train = like_at_train(row, group, reference) if reference is not None else None
    if train is not None and train.timesteps != row.timesteps:
        figures.append(_compared(f"latency / T={train.timesteps}", row, train))
    twin, rival = twin_of(row, rows), rival_of(row, rows)
    if twin is None or rival is None:
        return [*figures, Figure("latency / ReLU twin", wording.NONE, "no twin in the folder")]
    if twin is rival:
        return [*figures, _compared("latency / ReLU twin", row, twin)]
    return [*figures, *(_compared(f"latency / {one.variant} twin", row, one) for one in (twin, rival))]


def _compared(label: str, row: Row, other: Row) -> Figure:
    percent = f", {other.accuracy.percent:.2f} %" if other.accuracy is not None else ""
    return Figure(label, wording.times(ratio(row, other)), f"{wording.milliseconds(other.median)} ms{percent}")
