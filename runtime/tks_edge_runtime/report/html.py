"""The report as one HTML page that needs nothing else: style, script and plots are inside; nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import jinja2
from markupsafe import Markup

from tks_edge_runtime.report import wording
from tks_edge_runtime.report.document import Conclusion, ReportDocument, Row
from tks_edge_runtime.report.facts import fact_table, state_table
from tks_edge_runtime.report.page_table import filters_of, lines_of, page_columns
from tks_edge_runtime.report.plot_forms import Plot
from tks_edge_runtime.report.ranking import groups, like_at_train, ratio, reference_of, rival_of, twin_of

_RATIO = "latency / "


@dataclass(frozen=True)
class Figure:
    """One key figure of a conclusion: what it is, its value, and what it is to be read with."""

    label: str
    value: str
    note: str


@dataclass(frozen=True)
class Answer:
    """A conclusion with its key figures; `gist` is the figures in a few words."""

    conclusion: Conclusion
    figures: tuple[Figure, ...]

    @property
    def gist(self) -> str:
        """Accuracy, latency and the ratios, without what they are to be read with."""
        _, accuracy, latency, *ratios = self.figures
        compared = (f"{one.value} {one.label.removeprefix(_RATIO)}" for one in ratios if one.value != wording.NONE)
        return ", ".join((accuracy.value, latency.value, *compared))


def render(document: ReportDocument, plots: Sequence[Plot]) -> str:
    """The whole page; names and texts are escaped, only the plots, the style sheets and the script are markup."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tks_edge_runtime.report", "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    columns = page_columns(document.rows)
    lines = lines_of(document.rows, columns)
    answers = _answers(document)
    script = _file("report.js")
    return environment.get_template(
        "report.html.j2"
    ).render(
        document=document,
        unstable=wording.unstable_rows(document),
        style=Markup(_file("style.css")),  # noqa: S704 - a file of this package
        dark=Markup(_file("dark.css")),  # noqa: S704 - a file of this package
        script=Markup(script),  # noqa: S704 - a file of this package
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        plots={plot.name: plot for plot in plots},
        lead=answers[0] if answers else None,
        others=answers[1:],
        columns=columns,
        lines=lines,
        filters=filters_of(lines),
        states=state_table(document.device_state),
        samples=len(document.device_state.during),
        facts=[*fact_table(document.machine), *fact_table({"backend": document.backend.description})],
    )


def _file(name: str) -> str:
    return resources.files("tks_edge_runtime.report").joinpath(f"page/{name}").read_text(encoding="utf-8")


def _answers(document: ReportDocument) -> list[Answer]:
    """The conclusions, those that recommend something first."""
    answers = [Answer(one, tuple(_figures(one, document.rows))) for one in document.conclusions]
    return sorted(answers, key=lambda answer: answer.conclusion.verdict == "none")


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
        figures.append(_compared(f"{_RATIO}T={train.timesteps}", row, train))
    twin, rival = twin_of(row, rows), rival_of(row, rows)
    if twin is None or rival is None:
        return [*figures, Figure(f"{_RATIO}ReLU twin", wording.NONE, "no twin in the folder")]
    if twin is rival:
        return [*figures, _compared(f"{_RATIO}ReLU twin", row, twin)]
    return [*figures, *(_compared(f"{_RATIO}{one.variant} twin", row, one) for one in (twin, rival))]


def _compared(label: str, row: Row, other: Row) -> Figure:
    percent = f", {other.accuracy.percent:.2f} %" if other.accuracy is not None else ""
    return Figure(label, wording.times(ratio(row, other)), f"{wording.milliseconds(other.median)} ms{percent}")
