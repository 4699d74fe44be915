"""What `tks-edge sweep` would export, measure and write, with `--dry-run`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tks_edge.artifacts import Wanted
from tks_edge.checkpoint import Run
from tks_edge.commands.export_intent import accuracy_of, evaluation_sets
from tks_edge.commands.sweep_exports import Grid, graph_path, is_there
from tks_edge.graphs import Writing
from tks_edge_runtime.dry_run import Intent, Written, show_intent, written
from tks_edge_runtime.presets import preset_seconds
from tks_edge_runtime.reporting.build import report_files

if TYPE_CHECKING:
    from tks_edge_runtime.command import Output


def show_sweep_intent(runs: Sequence[Run], grid: Grid, how: Writing, wanted: Wanted, preset: str, out: Output) -> None:
    """Say what would be exported, what is there already, what would be measured, and what would be written.

    Raises:
        InputError: the folder holds an artifact of that name from another training, or samples cannot be read.
        MissingError: the data set is not there.
    """
    computes: list[str] = []
    writes: list[Written] = []
    graphs = 0
    for run in runs:
        lacking = []
        for view in (shown := grid.views(run)):
            for options in grid.graphs(run, view):
                graphs += 1
                path = graph_path(run, view, options, how.folder)
                there = is_there(run, view, options, how.folder, wanted.samples)
                writes += written([path, path.with_suffix(".golden.npz")], kept=there)
                lacking += [view] if not there and view not in lacking else []
        if lacking:
            with out.waiting("opening the data"):
                dataset = run.dataset(wanted.data)
            computes.append(accuracy_of(run, [view for view in shown if view in lacking], dataset, wanted))
            writes += [one for one in evaluation_sets(dataset, how) if one not in writes]
    engines = ", ".join(f"{backend} {device}" for backend, device in grid.engines)
    computes.append(
        f"measure {graphs} artifacts on {engines} for {preset_seconds(preset):g} s each, but for what is measured "
        f"already in {how.folder.parent / 'turns'}"
    )
    show_intent(Intent(computes, [*writes, *written(report_files(how.folder.parent))]), out)
