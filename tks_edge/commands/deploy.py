"""`tks-edge deploy`: artifacts onto a board over SSH: install, test, measure, and bring the report home."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tks_edge.commands import completion
from tks_edge.commands.board_options import ExtrasOption, RuntimeWheelOption
from tks_edge.commands.options import given
from tks_edge_runtime import completion as shared
from tks_edge_runtime.command import DebugFlag, JsonFlag, Output, running
from tks_edge_runtime.commands.options import DEFAULT_PRESET
from tks_edge_runtime.dry_run import DryRunFlag, Intent, Sent, Written, show_intent, written
from tks_edge_runtime.errors import InputError

if TYPE_CHECKING:
    from tks_edge.deploy.deploying import Deployed, Plan, Telling

_FOLDER = "tks-edge"
_OF_REMOVAL = frozenset({"host", "folder", "remove", "ssh_option", "ssh_config", "dry_run", "as_json", "debug"})
"""What says something of a removal."""
_KEPT = "what the board has is kept; the same command goes on from there."


def deploy(
    context: typer.Context,
    host: Annotated[
        str, typer.Argument(metavar="USER@HOST", help="As ssh takes it, or a name from your SSH configuration.")
    ],
    artifacts: Annotated[
        Path | None,
        typer.Argument(
            help="The folder that `tks-edge export` wrote to.",
            show_default=False,
            autocompletion=shared.artifact_folder,
        ),
    ] = None,
    folder: Annotated[
        str, typer.Option(help="The folder on the board that everything goes to, in the home folder there.")
    ] = _FOLDER,
    python: Annotated[
        str | None,
        typer.Option(
            help="The board's Python to use, such as 3.10. (default: its python3)", autocompletion=completion.python
        ),
    ] = None,
    extras: ExtrasOption = "onnxruntime",
    wheels: Annotated[
        Path | None,
        typer.Option(help="A folder of wheels to install from, for a board without network. (default: its own index)"),
    ] = None,
    runtime_wheel: RuntimeWheelOption = None,
    backend: Annotated[
        str | None,
        typer.Option(
            help="What runs the artifacts. (default: tensorrt where the board can, else the first that can)",
            autocompletion=shared.backend_name,
        ),
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Measure on the board, and bring the report home.")] = False,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Measuring time per artifact: quick 3 s, standard 10 s, long 60 s, mlperf 600 s.",
            autocompletion=shared.preset,
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="The folder that the report comes home to. (default: report)")
    ] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove the folder on the board, with all that is in it.")
    ] = False,
    ssh_option: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE, as `ssh -o` takes it: Port=2222. Repeatable.")
    ] = None,
    ssh_config: Annotated[
        Path | None, typer.Option(help="An SSH configuration in place of your own, as `ssh -F` takes it.")
    ] = None,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Bring artifacts onto a board over SSH, install the runtime there, test every artifact, and measure.

    Run again, it copies and installs only what is new, and goes on where it was interrupted.
    """
    with running(as_json, debug, kept=_KEPT) as out:
        if remove:
            _check_removal(given(context))
        if not report and (preset is not None or output is not None):
            raise InputError("--preset and --output are of the report: give --report as well, or leave them out.")
        from tks_edge.deploy.deploying import Plan
        from tks_edge.deploy.deploying import deploy as bring
        from tks_edge.deploy.deploying import remove as take_away
        from tks_edge.deploy.ssh import Connection

        connection = Connection(host, ssh_option or (), ssh_config)
        if remove and dry_run:
            show_intent(Intent(writes=[Written(f"{host}:{folder}", "removed")]), out)
            return
        if remove:
            take_away(connection, folder, _telling(out))
            out.document({"host": host, "folder": folder, "removed": True})
            return
        if artifacts is None:
            raise InputError("no artifacts are named. Give the folder that `tks-edge export` wrote to.")
        plan = Plan(
            artifacts=artifacts,
            python=_checked_python(python),
            extras=extras,
            wheels=wheels,
            runtime=runtime_wheel,
            backend=_checked_backend(backend),
            preset=_checked_preset(preset),
            report=(output or Path("report")) if report else None,
        )
        if dry_run:
            _show_intent(plan, host, folder, out)
            return
        done = bring(plan, connection, folder, _telling(out))
        out.document(_document(done, host, folder))
        place = [] if folder == _FOLDER else ["--folder", folder]
        place += [part for option in ssh_option or () for part in ("--ssh-option", option)]
        place += [] if ssh_config is None else ["--ssh-config", str(ssh_config)]
        _finish(done, plan, host, place, out)


def _check_removal(options: Sequence[str]) -> None:
    """Refuse what was given beside `--remove` and says nothing of what is removed; InputError."""
    if odd := [name for name in options if name not in _OF_REMOVAL]:
        what = "a folder of artifacts" if odd[0] == "artifacts" else f"--{odd[0].replace('_', '-')}"
        raise InputError(f"--remove takes the host and the --folder alone, and {what} changes nothing. Leave it out.")


def _show_intent(plan: Plan, host: str, folder: str, out: Output) -> None:
    """Say what would be sent to the board, done there, and written here; the board is not asked."""
    from tks_edge.deploy.deploying import payload_of, steps_of
    from tks_edge_runtime.reporting.build import report_files

    with out.waiting("building the runtime's wheel"):
        payload = payload_of(plan)
    at = f"{host}:{folder}"
    before, after = steps_of(plan)
    does = [f"take the step {step} on {host}" for step in (*before, "copy", *after)]
    home = [] if plan.report is None else written(report_files(plan.report))
    show_intent(Intent(does, home, [Sent(at, file.path, file.size) for file in payload]), out)


def _finish(done: Deployed, plan: Plan, host: str, place: list[str], out: Output) -> None:
    """Say where the report is and what to do next, at the same place; or that an artifact failed."""
    if plan.report is not None:
        page = plan.report / "report.html"
        out.say(f"the report is at home: {page}")
    if done.failed is not None:
        raise done.failed
    if plan.report is None:
        out.next("deploy", host, str(plan.artifacts), *place, "--report")
    else:
        out.next("deploy", host, *place, "--remove")


def _document(done: Deployed, host: str, folder: str) -> dict[str, Any]:
    return {
        "host": host,
        "folder": folder,
        "copied": done.copied.sent,
        "resumed": done.copied.resumed,
        "unchanged": done.copied.unchanged,
        "bytes": done.copied.bytes,
        "doctor": done.doctor,
        "self_test": done.self_test,
        "report": [str(path) for path in done.report],
    }


def _telling(out: Output) -> Telling:
    from tks_edge.deploy.deploying import Telling

    def show(line: str) -> None:
        # What to type next on the board is not what to type next here.
        if not line.startswith("next: "):
            out.say(line)

    @contextlib.contextmanager
    def bar(total: int) -> Iterator[Callable[[int], None]]:
        with out.progress() as progress:
            task = progress.add_task("copying, in kB", total=total / 1000)
            yield lambda count: progress.advance(task, count / 1000)

    return Telling(line=show, say=show, warn=out.warn, bar=bar)


def _checked_python(version: str | None) -> str:
    from tks_edge.deploy.target import checked_python

    return "" if version is None else checked_python(version)


def _checked_backend(name: str | None) -> str:
    from tks_edge_runtime.backends import find_backend

    if name is not None:
        find_backend(name)
    return name or ""


def _checked_preset(name: str | None) -> str:
    from tks_edge_runtime.presets import preset_seconds

    preset = name if name is not None else DEFAULT_PRESET
    preset_seconds(preset)
    return preset
