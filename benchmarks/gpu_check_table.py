"""The rows of the GPU check as a Markdown table, one line an artifact on an engine."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.gpu_check_run import NOT_RUN, Row

_HEADERS = (
    "engine",
    "CUDA graph",
    "network",
    "T",
    "precision",
    "golden",
    "e2e ms",
    "compute ms",
    "e2e, twin = 1",
    "compute, twin = 1",
)


def table(rows: Sequence[Row]) -> str:
    """Latencies and their ratios to the fp32 twin of the same run; why a row is empty, in notes below."""
    notes: list[str] = []
    lines = [f"| {' | '.join(_HEADERS)} |", f"|{'---|' * len(_HEADERS)}"]
    lines += [f"| {' | '.join(_cells(row, notes))} |" for row in rows]
    timed = {f"{row.backend}:{row.device}": (row.engine or {}).get("timing", "host clock") for row in rows}
    lines.append("\nCompute is timed by: " + "; ".join(f"{name} {clock}" for name, clock in timed.items()) + ".")
    return "\n".join([*lines, *(f"\n[{number}] {note}" for number, note in enumerate(notes, start=1))])


def _cells(row: Row, notes: list[str]) -> list[str]:
    if row.problem is not None and row.problem not in notes:
        notes.append(row.problem)
    note = f" [{notes.index(row.problem) + 1}]" if row.problem is not None else ""
    return [
        f"{row.backend}:{row.device}",
        "on" if row.cuda_graph else "off",
        f"{row.model}, ReLU twin" if row.is_twin else row.model,
        f"ReLU, beside T={row.run_timesteps}" if row.is_twin else str(row.timesteps),
        row.precision,
        ("not run" if row.status == NOT_RUN else row.status) + note,
        *(_number(value) for value in (row.e2e_ms, row.compute_ms)),
        *("" if value is None else f"{value:.2f}" for value in (row.ratio, row.compute_ratio)),
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
