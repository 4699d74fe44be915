"""The rows of one network on one number of threads as a Markdown table: a line a variant, a column the run at a T.

The first two lines are in every run; the other forms of the twin, with one pass whatever T is, in the first alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.comparison import CLOSE, Row
from benchmarks.variants import TWIN

_ENGINES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "torch": "PyTorch"}


def table(rows: Sequence[Row]) -> str:
    """The ratios to the twin: of CPU time on one thread, of wall and CPU time on more; what failed, in notes below."""
    timesteps = sorted({row.run_timesteps for row in rows})
    measures = ["CPU"] if rows[0].threads == 1 else ["wall", "CPU"]
    columns = [f"{measure} T={t}" for measure in measures for t in timesteps]
    lines = [f"| variant | engine | precision | {' | '.join(columns)} |", f"|{'---|' * (3 + len(columns))}"]
    grouped: dict[tuple[str, str, str], dict[int, Row]] = {}
    for row in rows:
        grouped.setdefault((label(row), row.engine, row.precision), {})[row.run_timesteps] = row
    notes: list[str] = []
    for (name, engine, precision), by_run in grouped.items():
        cells = [_cell(by_run.get(t), measure, notes) for measure in measures for t in timesteps]
        lines.append(f"| {name} | {_ENGINES[engine]} | {precision} | {' | '.join(cells)} |")
    times = "; ".join(_times(row) for row in rows if _is_twin(row))
    lines.append(f"\nThe twin, in ms of CPU time and wall: {times}.")
    return "\n".join([*lines, *(f"\n[{number}] {note}" for number, note in enumerate(notes, start=1))])


def _is_twin(row: Row) -> bool:
    return (row.variant, row.engine, row.precision) == (TWIN.name, TWIN.engine, TWIN.precision)


def _times(row: Row) -> str:
    return f"T={row.run_timesteps} {row.cpu_ms:.2f}, {row.wall_ms:.2f}"


def label(row: Row) -> str:
    """The variant, whether its graph is the one for every engine, and whether its spikes may differ."""
    name = f"{row.variant}, generic graph" if row.target == "generic" else row.variant
    return name if row.exact else f"{name} ~"


def _cell(row: Row | None, measure: str, notes: list[str]) -> str:
    ratio = None if row is None else row.cpu_ratio if measure == "CPU" else row.wall_ratio
    if row is None or (ratio is None and row.problem is None):
        return ""
    if row.problem is None:
        return f"{ratio:.2f}"
    if row.problem not in notes:
        notes.append(row.problem)
    word = "wrong" if row.exact and row.distance is not None and row.distance > CLOSE else "fails"
    return f"{word} [{notes.index(row.problem) + 1}]"
