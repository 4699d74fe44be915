"""Build a report: measure a folder of artifacts, rank the rows, conclude, and write every file of it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

from tks_edge_runtime.artifact import find_artifacts
from tks_edge_runtime.backends import find_device
from tks_edge_runtime.backends.choice import Choice, choose
from tks_edge_runtime.device import facts
from tks_edge_runtime.errors import InputError
from tks_edge_runtime.files import replacing, write_text
from tks_edge_runtime.measure import preset_seconds
from tks_edge_runtime.reporting import html, markdown
from tks_edge_runtime.reporting.bounds import Bounds
from tks_edge_runtime.reporting.candidates import Candidate, candidates_of
from tks_edge_runtime.reporting.collect import Collection, Progress, collect
from tks_edge_runtime.reporting.conclusion import conclude
from tks_edge_runtime.reporting.document import SCHEMA_VERSION, ReportDocument
from tks_edge_runtime.reporting.layering import with_layers
from tks_edge_runtime.reporting.mixed import check_sets, check_trainings, compares
from tks_edge_runtime.reporting.pick import pick
from tks_edge_runtime.reporting.plots import draw
from tks_edge_runtime.reporting.ranking import ranked
from tks_edge_runtime.reporting.row import Row
from tks_edge_runtime.session import DEFAULT_BACKEND
from tks_edge_runtime.version import __version__

FILES = ("report.html", "report.json", "report.md", "plots")
"""What a report consists of, in its folder; plots is a folder of PNG and SVG files."""

WRITING = "writing the report"

_TWIN_METHOD = (
    "The ReLU twin is the same network with ReLU in place of LIF, in one pass. Ratios are of end-to-end medians, to "
    "the fp32 twin where there is one; a verdict is against the twin of the same precision where there is one. Where a "
    "CUDA graph was on and off, a row is held against the twin that ran as it did. Of early exit, whose runs differ in "
    "length, the expected latency stands in for the median."
)
_ACCURACY_METHOD = (
    "Accuracy is top-1 over the whole evaluation set, from the very file that was timed, with a 95 % Wilson interval."
)


def report(
    folder: Path | str,
    output: Path | str = "report",
    *,
    preset: str = "quick",
    backend: str = DEFAULT_BACKEND,
    device: str | None = None,
    threads: int | None = None,
    cuda_graph: bool = False,
    program: str = "tks-edge",
    on_choice: Callable[[Choice], None] | None = None,
    on_progress: Progress | None = None,
    on_build: Progress | None = None,
) -> ReportDocument:
    """Measure latency and accuracy of every artifact in a folder, and write a report that opens in a browser.

    Artifacts that cannot be run, or fail their self-test, are rows that say so: look at `ReportDocument.failed`.

    Args:
        folder: what `tks-edge export --output` wrote to.
        output: the folder that gets report.html, report.json, report.md and plots/; made when missing.
        preset: how long each artifact is timed: "quick" 3 s, "standard" 10 s, "long" 60 s, "mlperf" 600 s.
        backend: what runs the artifacts; "auto" chooses one for all.
        device: where it computes, one of the backend's devices; None for its first.
        threads: threads inside one operator; None leaves the number to the library.
        cuda_graph: whether each artifact is measured twice, without and with a CUDA graph.
        program: whose command the report names as the one that made it.
        on_choice: told what runs them, before anything is opened.
        on_progress: told the stage ("accuracy", "latency") and the fraction of it that is done.
        on_build: told how far a build is, where the backend builds engines before their first run.

    Raises:
        InputError: no such folder, preset, backend or device, or the artifacts cannot stand in one report.
        ArtifactError: a file in the folder is no artifact.
        MissingError: the backend's library, its driver or the device is missing, or the disk is full.
    """
    command = [*program.split(), "report", str(folder), "--output", str(output), "--preset", preset]
    command += ["--backend", backend]
    for name, value in (("--device", device), ("--threads", threads)):
        command += [name, str(value)] if value is not None else []
    command += ["--cuda-graph"] if cuda_graph else []
    chosen = choose(backend, find_artifacts(folder), device=device, cuda_graph=cuda_graph)
    if on_choice is not None:
        on_choice(chosen)
    return build_report(
        folder,
        output,
        command=shlex.join(command),
        preset=preset,
        backend=chosen.backend,
        device=chosen.device,
        threads=threads,
        cuda_graph=cuda_graph,
        chosen=None if chosen.reason is None else str(chosen),
        on_progress=on_progress,
        on_build=on_build,
    )


def build_report(
    folder: Path | str,
    output: Path | str,
    *,
    command: str,
    preset: str = "quick",
    backend: str = DEFAULT_BACKEND,
    device: str | None = None,
    threads: int | None = None,
    cuda_graph: bool = False,
    bounds: Bounds | None = None,
    chosen: str | None = None,
    on_progress: Progress | None = None,
    on_build: Progress | None = None,
) -> ReportDocument:
    """Measure every artifact in `folder` and write the report into the folder `output`.

    Artifacts that cannot be run, or fail their self-test, are rows that say so: look at `ReportDocument.failed`.

    Args:
        folder: what `tks-edge export --output` wrote to.
        output: gets report.html, report.json, report.md and plots/; made when missing.
        command: the command line that the report names as its own.
        preset: how long each artifact is timed, by name; see `tks_edge_runtime.measure.PRESETS`.
        backend: what runs the artifacts.
        device: where it computes, one of the backend's devices; None for its first.
        threads: threads inside one operator; None leaves the number to the library.
        cuda_graph: whether each artifact is measured twice, without and with a CUDA graph, in the same run.
        bounds: what the artifact to ship must keep; None: an accuracy within one point of that at T of the training.
        chosen: a sentence on why this backend and device were chosen, where nobody asked for them by name.
        on_progress: told the stage ("accuracy", "latency") and the fraction of it that is done.
        on_build: told how far what is built is: engines, where the backend builds them before their first run, and
            the report.

    Raises:
        InputError: no such folder, preset, backend or device, no CUDA graphs there, `output` is a file, or the
            artifacts cannot stand together (`check_together`).
        ArtifactError: a file in the folder is no artifact.
        MissingError: the backend's library, its driver or the device is missing, or the disk is full.
    """
    seconds = preset_seconds(preset)
    candidates = report_candidates(
        folder, output, backend=backend, device=device, threads=threads, cuda_graph=cuda_graph, bounds=bounds
    )
    collection = collect(
        candidates,
        seconds=seconds,
        # Sessions that take turns would slow each other down with threads that wait actively.
        spinning=len(candidates) == 1 and not cuda_graph,
        on_progress=on_progress,
        on_build=on_build,
    )
    document = made(collection, command=command, preset=preset, bounds=bounds, chosen=chosen)
    document = with_layers(document, candidates, on_progress)
    write_report(document, output, on_build)
    return document


def report_candidates(
    folder: Path | str,
    output: Path | str,
    *,
    backend: str,
    device: str | None,
    threads: int | None,
    cuda_graph: bool,
    bounds: Bounds | None = None,
) -> list[Candidate]:
    """What `build_report` would measure, checked as far as it can be before; arguments and errors are its own."""
    check_output(output)
    engines = [(backend, find_device(backend, device))]
    candidates = candidates_of(find_artifacts(folder), engines, threads=threads, cuda_graph=cuda_graph)
    check_together([candidate.row() for candidate in candidates], bounds)
    return candidates


def report_files(output: Path) -> list[Path]:
    """The files and the folder that `write_report` writes into `output`."""
    return [output / name for name in FILES]


def made(
    collection: Collection, *, command: str, preset: str, bounds: Bounds | None = None, chosen: str | None = None
) -> ReportDocument:
    """The document of what was measured, ranked and concluded; arguments as of `build_report`."""
    rows = ranked(collection.rows)
    return ReportDocument(
        schema_version=SCHEMA_VERSION,
        tool={"name": "tks-edge", "version": __version__},
        command=command,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        preset=preset,
        seconds=preset_seconds(preset),
        method=tuple(
            dict.fromkeys((*([f"{chosen}."] if chosen else []), *collection.method, _ACCURACY_METHOD, _TWIN_METHOD))
        ),
        machine=facts(),
        backends=collection.backends,
        device_state=collection.states,
        answer=pick(rows, bounds) if bounds is not None or compares(rows) else None,
        conclusions=conclude(rows),
        rows=rows,
    )


def check_together(rows: Sequence[Row], bounds: Bounds | None) -> None:
    """Refuse, before minutes of measuring, rows of which nothing could be picked within bounds.

    Raises:
        InputError: one name stands for two trainings, or there are bounds and the accuracies do not compare.
    """
    check_trainings(rows)
    if bounds is not None:
        check_sets(rows)


def check_output(output: Path | str) -> None:
    """Refuse an output that cannot become a folder before minutes of measuring, not after."""
    output = Path(output)
    blocker = next((path for path in (output, *output.parents) if path.exists() and not path.is_dir()), None)
    if blocker is not None:
        raise InputError(f"cannot write the report to {output}: {blocker} is a file. Give a folder with --output.")


def write_report(document: ReportDocument, output: Path | str, on_build: Progress | None = None) -> None:
    """Write report.html, report.json, report.md and plots/ into the folder `output`, each file whole or not at all."""
    tell = on_build or (lambda _stage, _fraction: None)
    page, data, text, folder = (Path(output) / name for name in FILES)
    tell(WRITING, 0.0)
    plots = draw(document)
    tell(WRITING, 0.5)
    write_text(data, document.to_json())
    for plot in plots:
        write_text(folder / f"{plot.name}.svg", plot.svg)
        with replacing(folder / f"{plot.name}.png") as temporary:
            temporary.write_bytes(plot.png)
    write_text(text, markdown.render(document, plots))
    write_text(page, html.render(document, plots))
    tell(WRITING, 1.0)
