"""Build a report: measure a folder of artifacts, rank the rows, conclude, and write every file of it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

from tks_edge_runtime.artifact import Artifact, find_artifacts
from tks_edge_runtime.backends.choice import Choice, choose
from tks_edge_runtime.device import facts
from tks_edge_runtime.errors import InputError
from tks_edge_runtime.files import replacing, write_text
from tks_edge_runtime.presets import preset_seconds
from tks_edge_runtime.reporting import html, markdown
from tks_edge_runtime.reporting.bounds import Bounds
from tks_edge_runtime.reporting.candidates import Candidate, candidates_of
from tks_edge_runtime.reporting.collect import Collection, Progress, collect
from tks_edge_runtime.reporting.conclusion import conclude
from tks_edge_runtime.reporting.document import SCHEMA_VERSION, ReportDocument
from tks_edge_runtime.reporting.layering import with_layers
from tks_edge_runtime.reporting.mixed import check_trainings, compares
from tks_edge_runtime.reporting.pick import pick
from tks_edge_runtime.reporting.plots import draw
from tks_edge_runtime.reporting.ranking import ranked
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
        cuda_graph: whether each artifact is measured twice, without and with a CUDA graph, in the same run.
        program: whose command the report names as the one that made it.
        on_choice: told what runs them, before anything is opened.
        on_progress: told the stage ("accuracy", "latency") and the fraction of it that is done.
        on_build: told how far what is built is: engines, where the backend builds them before their first run, and
            the report.

    Raises:
        InputError: no such folder, preset, backend or device, no CUDA graphs there, `output` is a file, or the
            artifacts cannot stand in one report (`mixed.check_trainings`).
        ArtifactError: a file in the folder is no artifact.
        MissingError: the backend's library, its driver or the device is missing, or the disk is full.
    """
    seconds = preset_seconds(preset)
    artifacts = find_artifacts(folder)
    chosen = choose(backend, artifacts, device=device, cuda_graph=cuda_graph)
    if on_choice is not None:
        on_choice(chosen)
    candidates = report_candidates(
        artifacts, output, backend=chosen.backend, device=chosen.device, threads=threads, cuda_graph=cuda_graph
    )
    collection = collect(
        candidates,
        seconds=seconds,
        # Sessions that take turns would slow each other down with threads that wait actively.
        spinning=len(candidates) == 1 and not cuda_graph,
        on_progress=on_progress,
        on_build=on_build,
    )
    options = {"--preset": preset, "--backend": backend, "--device": device, "--threads": threads}
    document = made(
        collection,
        command=_command(program, folder, output, options, cuda_graph=cuda_graph),
        preset=preset,
        chosen=None if chosen.reason is None else str(chosen),
    )
    document = with_layers(document, candidates, on_progress)
    write_report(document, output, on_build)
    return document


def _command(
    program: str, folder: Path | str, output: Path | str, options: Mapping[str, object], *, cuda_graph: bool
) -> str:
    """The command line that makes this report; options that are None are not in it."""
    command = [*program.split(), "report", str(folder), "--output", str(output)]
    for name, value in options.items():
        command += [name, str(value)] if value is not None else []
    return shlex.join([*command, *(["--cuda-graph"] if cuda_graph else [])])


def report_candidates(
    artifacts: Sequence[Artifact],
    output: Path | str,
    *,
    backend: str,
    device: str,
    threads: int | None,
    cuda_graph: bool,
) -> list[Candidate]:
    """What `report` would measure of the artifacts it found, checked as far as it can be before; errors are its own."""
    check_output(output)
    candidates = candidates_of(artifacts, [(backend, device)], threads=threads, cuda_graph=cuda_graph)
    check_trainings([candidate.row() for candidate in candidates])
    return candidates


def report_files(output: Path) -> list[Path]:
    """The files and the folder that `write_report` writes into `output`."""
    return [output / name for name in FILES]


def made(
    collection: Collection, *, command: str, preset: str, bounds: Bounds | None = None, chosen: str | None = None
) -> ReportDocument:
    """The document of what was measured, ranked and concluded.

    Args:
        collection: what was measured.
        command: the command line that the report names as its own.
        preset: how long each row was timed, by name.
        bounds: what the artifact to ship must keep; None: an accuracy within one point of that at T of the training.
        chosen: a sentence on why this backend and device were chosen, where nobody asked for them by name.
    """
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
