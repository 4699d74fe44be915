"""The report as one HTML page that needs nothing else: style, script and plots are inside; nothing is fetched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tks_edge_runtime.layer_profile import LayerProfile
from tks_edge_runtime.reporting import wording
from tks_edge_runtime.reporting.document import Conclusion, ReportDocument
from tks_edge_runtime.reporting.facts import engine_table, fact_table, state_table
from tks_edge_runtime.reporting.page_frame import render_page
from tks_edge_runtime.reporting.page_table import filters_of, lines_of, page_columns
from tks_edge_runtime.reporting.plot_forms import Plot
from tks_edge_runtime.reporting.ranking import groups, like_at_train, ratio, reference_of, rival_of, twin_of
from tks_edge_runtime.reporting.row import Row

_RATIO = "latency / "


@dataclass(frozen=True)
class Figure:
    """One key figure of a conclusion: what it is, its value, and what it is to be read with."""

    label: str
    value: str
    note: str


@dataclass(frozen=True)
class Section:
    """What is said of one row, or of one network: a verdict, a headline, sentences and key figures.

    `gist` is the figures in a few words; `misses` what the nearest rows that do not fit would need.
    """

    verdict: str
    headline: str
    sentences: tuple[str, ...]
    figures: tuple[Figure, ...]
    misses: tuple[str, ...] = ()

    @property
    def gist(self) -> str:
        """Accuracy, latency and the ratios, without what they are to be read with."""
        _, accuracy, latency, *ratios = self.figures
        compared = (f"{one.value} {one.label.removeprefix(_RATIO)}" for one in ratios if one.value != wording.NONE)
        return ", ".join((accuracy.value, latency.value, *compared))


@dataclass(frozen=True)
class Layers:
    """The layers of one row, with its plot."""

    title: str
    profile: LayerProfile
    plot: Plot


def render(document: ReportDocument, plots: Sequence[Plot]) -> str:
    """The whole page."""
    columns = page_columns(document.rows)
    lines = lines_of(document.rows, columns)
    lead, others = _sections(document)
    drawn = {plot.name: plot for plot in plots}
    return render_page(
        "report.html.j2",
        document=document,
        unstable=wording.unstable_rows(document),
        plots=drawn,
        lead=lead,
        others=others,
        layers=_layers(document.rows, drawn),
        columns=columns,
        lines=lines,
        filters=filters_of(lines),
        states=state_table(document.device_state),
        samples=len(document.device_state.during),
        facts=[*fact_table(document.machine), *engine_table(document.backends)],
    )


def _sections(document: ReportDocument) -> tuple[Section | None, list[Section]]:
    """What the page begins with, and what is folded under it: the conclusions, those that recommend something first."""
    rows, answer = document.rows, document.answer
    found = [
        Section(one.verdict, one.headline, one.sentences, tuple(_figures(_recommended(one, rows), rows)))
        for one in sorted(document.conclusions, key=lambda one: one.verdict == "none")
    ]
    if answer is None:
        return (found[0] if found else None), found[1:]
    row = rows[answer.row] if answer.row is not None else None
    verdict = "none" if row is None else "twin" if row.is_twin else "ship"
    figures = tuple(_figures(row, rows))
    return Section(verdict, answer.headline, answer.sentences, figures, answer.misses), found


def _recommended(conclusion: Conclusion, rows: tuple[Row, ...]) -> Row | None:
    return next((row for row in rows if row.file == conclusion.file and row.recommended), None)


def _layers(rows: Sequence[Row], plots: dict[str, Plot]) -> list[Layers]:
    return [
        Layers(row.title, row.layer_profile, plots[f"layers-{place}"])
        for place, row in enumerate(rows)
        if row.layer_profile is not None
    ]


def _figures(row: Row | None, rows: tuple[Row, ...]) -> list[Figure]:
    if row is None or row.accuracy is None:
        return []
    exits = row.early_exit
    steps = (
        "one pass"
        if row.is_twin
        else f"T={row.timesteps}"
        if exits is None
        else f"T\N{LESS-THAN OR EQUAL TO}{row.timesteps}"
    )
    trained = "" if row.is_twin else f", trained at T={row.train_timesteps}"
    stops = "" if exits is None or exits.mean_steps is None else f", {exits.mean_steps:.2f} steps on average"
    figures = [
        Figure("timesteps", steps, f"{row.variant}{trained}{stops}"),
        Figure("accuracy", f"{row.accuracy.percent:.2f} %", f"95 %: {wording.interval(row.accuracy)}"),
        Figure(
            "latency, UNSTABLE" if row.unstable else "latency, end to end",
            f"{wording.milliseconds(row.typical)} ms",
            f"{row.typical_name}; compute {wording.percentile(row.compute, 'p50')}, "
            f"p99 {wording.percentile(row.latency, 'p99')}",
        ),
    ]
    if row.is_twin:
        return [*figures, *_against_spiking(row, rows)]
    train = _at_train(row, rows)
    if train is not None and not row.as_trained:
        figures.append(_compared(f"{_RATIO}T={train.timesteps}", row, train))
    twin, rival = twin_of(row, rows), rival_of(row, rows)
    if twin is None or rival is None:
        return [*figures, Figure(f"{_RATIO}ReLU twin", wording.NONE, "no twin in the folder")]
    if twin is rival:
        return [*figures, _compared(f"{_RATIO}ReLU twin", row, twin)]
    return [*figures, *(_compared(f"{_RATIO}{one.variant} twin", row, one) for one in (twin, rival))]


def _at_train(row: Row, rows: tuple[Row, ...]) -> Row | None:
    """The row at T_train to hold a spiking row against."""
    group = next(group for group in groups(rows) if row in group)
    reference = reference_of(group, rows)
    return like_at_train(row, group, reference) if reference is not None else None


def _against_spiking(twin: Row, rows: tuple[Row, ...]) -> Iterator[Figure]:
    """A ReLU twin against the best of its spiking networks, and against that at T_train."""
    rivals = [row for row in rows if row.recommended and row.typical is not None and rival_of(row, rows) is twin]
    best = min(rivals, key=lambda row: row.typical or 0.0, default=None)
    if best is None:
        return
    yield _compared(f"{_RATIO}{best.pace}", twin, best)
    train = _at_train(best, rows)
    if train is not None and not best.as_trained:
        yield _compared(f"{_RATIO}T={train.timesteps}", twin, train)


def _compared(label: str, row: Row, other: Row) -> Figure:
    percent = f", {other.accuracy.percent:.2f} %" if other.accuracy is not None else ""
    return Figure(label, wording.times(ratio(row, other)), f"{wording.milliseconds(other.typical)} ms{percent}")
