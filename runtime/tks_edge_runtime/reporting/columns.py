"""The columns of the table, once: the page and the Markdown show all of use, the terminal those that fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tks_edge_runtime.artifact import GENERIC, STATIC
from tks_edge_runtime.energy_estimate import METHOD
from tks_edge_runtime.reporting import wording
from tks_edge_runtime.reporting.row import OK, Row


@dataclass(frozen=True)
class Column:
    """One column: its key, header, what it means, how a row's cell is written, and whether it holds numbers.

    `width` is the narrowest terminal, in characters, that shows it where there is room; None: never on a terminal. A
    column with a `usual` cell is left out where every row has it. `e2e` in a header is end to end.
    """

    key: str
    header: str
    meaning: str
    cell: Callable[[Row], str]
    numeric: bool = True
    width: int | None = None
    usual: str | None = None


def _graph(row: Row) -> str:
    special = [name for name in (row.form, row.target) if name not in (STATIC, GENERIC)]
    return " ".join(special) or STATIC


def _as_trained(row: Row) -> str:
    return {True: "yes", False: "NO", None: wording.NONE}[row.accuracy_as_trained]


def _first_run(row: Row) -> str:
    return wording.milliseconds(row.cold_start.first_ms if row.cold_start is not None else None)


def _load(row: Row) -> str:
    return wording.milliseconds(row.cold_start.load_ms if row.cold_start is not None else None)


def _build(row: Row) -> str:
    return wording.milliseconds(row.cold_start.build_ms if row.cold_start is not None else None)


def _timesteps(row: Row) -> str:
    if row.is_twin:
        return "ReLU"
    return str(row.timesteps) if row.early_exit is None else f"\N{LESS-THAN OR EQUAL TO}{row.timesteps}"


def _mean_steps(row: Row) -> str:
    steps = row.early_exit.mean_steps if row.early_exit is not None else None
    return wording.NONE if steps is None else f"{steps:.2f}"


def _estimate(row: Row) -> str:
    return wording.NONE if row.estimate is None else wording.small(row.estimate.mj)


def _engine(row: Row) -> str:
    return row.engine or wording.NONE


def _cuda_graph(row: Row) -> str:
    return {True: "on", False: "off", None: wording.NONE}[row.cuda_graph]


def _percentile(name: str, part: str = "latency") -> Callable[[Row], str]:
    return lambda row: wording.percentile(getattr(row, part), name)


def _energy(source: str) -> Callable[[Row], str]:
    return lambda row: wording.energy(row.energy_by(source))


def _statistic(name: str) -> Callable[[Row], str]:
    return lambda row: wording.milliseconds(getattr(row.latency, name) if row.latency is not None else None)


def _variation(row: Row) -> str:
    return wording.NONE if row.latency is None else f"{100 * row.latency.cv:.1f}"


def _throughput(row: Row) -> str:
    return wording.NONE if row.latency is None else wording.rate(row.latency.throughput * row.batch_size)


COLUMNS = (
    Column("name", "network", "The run it was exported from.", lambda row: row.name, numeric=False, width=0),
    Column(
        "kind", "neuron", "LIF, or the ReLU twin.", lambda row: "ReLU twin" if row.is_twin else "LIF", numeric=False
    ),
    Column(
        "timesteps",
        "T",
        "Timesteps of one inference, with early exit the most; the ReLU twin has none.",
        _timesteps,
        width=0,
    ),
    Column(
        "steps",
        "mean steps",
        "With early exit, timesteps a sample on average over the evaluation set.",
        _mean_steps,
        width=0,
        usual=wording.NONE,
    ),
    Column("precision", "type", "Number format of the weights.", lambda row: row.precision, numeric=False, width=0),
    Column(
        "graph",
        "graph",
        "Static: all timesteps at once; step: one by one, states kept in between; and the target, where it has one.",
        _graph,
        numeric=False,
        width=0,
        usual=STATIC,
    ),
    Column("status", "status", "Whether it ran.", lambda row: row.status, numeric=False, width=0, usual=OK),
    Column("engine", "engine", "What ran it.", _engine, numeric=False, width=0, usual=wording.NONE),
    Column("device", "device", "Where it computed.", lambda row: row.device, numeric=False, width=100, usual="cpu"),
    Column(
        "cuda_graph",
        "CUDA graph",
        "Whether the launches of a run were replayed as one.",
        _cuda_graph,
        numeric=False,
        width=0,
        usual=wording.NONE,
    ),
    Column(
        "accuracy",
        "accuracy %",
        "Top-1, with its 95 % Wilson interval.",
        lambda row: wording.accuracy(row.accuracy),
        width=0,
    ),
    Column("as_trained", "as trained", "Whether it equals the trained network's accuracy.", _as_trained, numeric=False),
    Column("p50", "e2e p50 ms", "Median end-to-end latency.", _percentile("p50"), width=0),
    Column("compute", "compute p50 ms", "Median of the graph alone.", _percentile("p50", "compute"), width=80),
    Column("p90", "e2e p90 ms", "90th percentile, end to end.", _percentile("p90"), width=100),
    Column("p99", "e2e p99 ms", "99th percentile, end to end.", _percentile("p99"), width=88),
    Column(
        "ratio",
        "\N{MULTIPLICATION SIGN} twin",
        "Median end-to-end latency (of early exit expected) in units of the fp32 twin's, or of the one there is.",
        lambda row: wording.times(row.ratio_to_twin),
        width=0,
    ),
    Column(
        "marks", "notes", "What to see at a glance.", lambda row: ", ".join(wording.marks(row)), numeric=False, width=0
    ),
    Column(
        "cpu", "CPU ms", "Process CPU time of one inference.", lambda row: wording.milliseconds(row.cpu_ms), width=110
    ),
    Column("size", "size", "Size of the file.", lambda row: wording.size(row.size_bytes), width=110),
    Column("compute_p90", "compute p90 ms", "90th percentile of the graph alone.", _percentile("p90", "compute")),
    Column("compute_p99", "compute p99 ms", "99th percentile of the graph alone.", _percentile("p99", "compute")),
    Column(
        "enqueue",
        "enqueue p50 ms",
        "Median time in which the host hands a run to the device.",
        _percentile("p50", "enqueue"),
        usual=wording.NONE,
    ),
    Column(
        "copies",
        "copies p50 ms",
        "Median time of the inputs to the device and the outputs back.",
        _percentile("p50", "copies"),
        usual=wording.NONE,
    ),
    Column("p95", "e2e p95 ms", "95th percentile, end to end.", _percentile("p95")),
    Column("p999", "e2e p99.9 ms", "99.9th percentile, end to end.", _percentile("p999")),
    Column("min", "e2e min ms", "Fastest run, end to end.", _statistic("min")),
    Column("mean", "e2e mean ms", "Mean, end to end.", _statistic("mean")),
    Column("max", "e2e max ms", "Slowest run, end to end.", _statistic("max")),
    Column("iqr", "IQR ms", "Interquartile range: the middle half of the runs, end to end.", _statistic("iqr")),
    Column("cv", "CV %", "Coefficient of variation: standard deviation in percent of the mean.", _variation),
    Column("throughput", "samples/s", "Samples in a second, one batch after the other.", _throughput),
    Column("n", "runs", "Timed runs.", lambda row: str(row.latency.n) if row.latency is not None else wording.NONE),
    Column("load", "load ms", "Cold start: reading the file and building the session.", _load),
    Column("build", "build ms", "Cold start: building an engine, within load.", _build, usual=wording.NONE),
    Column("first", "first ms", "Cold start: the first inference.", _first_run),
    Column("parameters", "parameters", "Weights of the network.", lambda row: f"{row.parameters:,}".replace(",", " ")),
)


_BEFORE_ENERGY = "size"


def columns_of(rows: Iterable[Row]) -> tuple[Column, ...]:
    """The columns that say something about these rows; the measured energy has one for each source."""
    rows = tuple(rows)
    shown = [
        column for column in COLUMNS if column.usual is None or any(column.cell(row) != column.usual for row in rows)
    ]
    place = next(index for index, column in enumerate(shown) if column.key == _BEFORE_ENERGY)
    return (*shown[:place], *_energy_columns(rows), *shown[place:])


def _energy_columns(rows: tuple[Row, ...]) -> list[Column]:
    labels = {use.source: use.label for row in rows for use in row.energy}
    estimated = Column(
        "estimate",
        "estimated mJ",
        f"Of one sample, {METHOD}; no measurement.",
        _estimate,
        width=110,
        usual=wording.NONE,
    )
    unmeasured = Column("energy", "energy mJ", "Measured energy: nothing here tells it.", lambda _: wording.NONE)
    estimates = [estimated] if any(row.estimate is not None for row in rows) else []
    if not labels:
        return [unmeasured, *estimates]
    measured = [
        Column(
            f"energy-{index}",
            f"mJ ({label})",
            f"Measured energy of one run ({label}), idle power subtracted; its standard deviation over blocks.",
            _energy(source),
            width=100,
        )
        for index, (source, label) in enumerate(labels.items())
    ]
    return [*measured, *estimates]
