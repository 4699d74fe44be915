"""The way onto a board over SSH, step by step: look, copy, install, test, measure."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tks_edge.deploy.board import Board
from tks_edge.deploy.copying import Copied
from tks_edge.deploy.payload import WHEELS, PayloadFile, artifact_files
from tks_edge.deploy.script import FOLDER, INSTALL, LAUNCHER, Settings
from tks_edge.deploy.ssh import Connection
from tks_edge.deploy.wheel import chosen_extras, runtime_wheel
from tks_edge_runtime.errors import CheckError, InputError
from tks_edge_runtime.reporting.build import check_output


@dataclass(frozen=True)
class Plan:
    """What is to be done on a board.

    Attributes:
        artifacts: the folder that `tks-edge export` wrote to.
        python: the version to make the environment with ("3.10"); empty for the board's `python3`.
        extras: those of the runtime to install, separated by commas; "none" for none.
        wheels: a folder of wheels to install from; None for the board's own package index.
        runtime: a wheel of the runtime; None for that of this tks-edge.
        backend: what runs the artifacts; empty for the board's choice.
        preset: how long each artifact is measured.
        report: the folder that the report comes home to; None for no measuring.
    """

    artifacts: Path
    python: str = ""
    extras: str = "onnxruntime"
    wheels: Path | None = None
    runtime: Path | None = None
    backend: str = ""
    preset: str = "quick"
    report: Path | None = None


@dataclass(frozen=True)
class Deployed:
    """What was done: what was copied, the documents of the board's `doctor` and `self-test`, the report's files.

    `failed` is the error of a self-test that did not pass; everything else was done.
    """

    copied: Copied
    doctor: Any
    self_test: Any
    report: tuple[Path, ...]
    failed: CheckError | None


@dataclass(frozen=True)
class Telling:
    """How the user is told what happens.

    Attributes:
        line: gets what the board's programs print, line by line.
        say: gets sentences of ours.
        warn: gets warnings.
        bar: makes the bar of a copy of so many bytes; what it yields gets the bytes that arrived since.
    """

    line: Callable[[str], None]
    say: Callable[[str], None]
    warn: Callable[[str], None]
    bar: Callable[[int], AbstractContextManager[Callable[[int], None]]]


def deploy(plan: Plan, connection: Connection, folder: str, telling: Telling) -> Deployed:
    """Make a board ready for the artifacts of `plan`, test them there, and measure them.

    What can be found wrong here is found before the board is asked; what can be found wrong there, before anything is
    copied.

    Args:
        plan: what is to be done.
        connection: to the board, not yet open.
        folder: the folder there.
        telling: how the user is told.

    Raises:
        InputError: something cannot be done as asked.
        ArtifactError: an artifact is damaged or lacks a file beside it.
        MissingError: this machine or the board lacks something, or the connection broke.
    """
    board = Board(connection, folder, on_line=telling.line)
    before, after = steps_of(plan)
    if plan.report is not None:
        check_output(plan.report)
    with tempfile.TemporaryDirectory() as temporary:
        files, settings = _prepared(plan, Path(temporary))
        with connection:
            board.run(replace(settings, steps=before))
            with telling.bar(sum(file.size for file in files)) as arrived:
                copied = board.copier(arrived, telling.warn).copy(files)
            telling.say(_summary(copied, board))
            return _installed(board, replace(settings, steps=after), plan, copied)


def _installed(board: Board, settings: Settings, plan: Plan, copied: Copied) -> Deployed:
    failed = None
    try:
        board.run(settings)
    except CheckError as error:
        failed = error  # the report says which artifact it was, so it comes home all the same
    report = board.fetch("report", plan.report) if plan.report is not None else []
    return Deployed(copied, board.document("doctor"), board.document("self-test"), tuple(report), failed)


def remove(connection: Connection, folder: str, telling: Telling) -> None:
    """Remove the folder on the board, whole; only one that `deploy` made.

    Raises:
        InputError: it was not made by `deploy`, or cannot be removed.
        MissingError: the connection broke.
    """
    board = Board(connection, folder, on_line=telling.line)
    with connection:
        board.run(Settings(steps=("remove",)))


def steps_of(plan: Plan) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The steps of the script on the board, before the files are copied and after it."""
    return ("check", "prepare"), (*INSTALL, *(("report",) if plan.report is not None else ()))


def payload_of(plan: Plan) -> list[PayloadFile]:
    """The files that would go to the board, whatever is there already; errors as of `deploy`, here on this machine."""
    if plan.report is not None:
        check_output(plan.report)
    with tempfile.TemporaryDirectory() as temporary:
        return _prepared(plan, Path(temporary))[0]


def _prepared(plan: Plan, temporary: Path) -> tuple[list[PayloadFile], Settings]:
    """The files that go to the board, and the settings of the script there."""
    artifacts = artifact_files(plan.artifacts)
    wheel = runtime_wheel(temporary, plan.runtime)
    wheels = [] if plan.wheels is None else wheels_of(plan.wheels)
    files = [
        PayloadFile.of(FOLDER / LAUNCHER, executable=True),
        PayloadFile.of(wheel, WHEELS),
        *(PayloadFile.of(path, WHEELS) for path in wheels),
        *artifacts,
    ]
    settings = Settings(
        steps=(),
        python=plan.python,
        wheel=wheel.name,
        extras=chosen_extras(plan.extras, wheel),
        offline=plan.wheels is not None,
        backend=plan.backend,
        preset=plan.preset,
    )
    return files, settings


def wheels_of(folder: Path) -> list[Path]:
    """The wheels in a folder, without the runtime's own.

    Raises:
        InputError: there are none.
    """
    wheels = [path for path in sorted(folder.glob("*.whl")) if not path.name.startswith("tks_edge_runtime-")]
    if not wheels:
        raise InputError(f"{folder} holds no wheels. `tks-edge bundle` collects them, into the wheels/ of its archive.")
    return wheels


def _summary(copied: Copied, board: Board) -> str:
    place = f"{board.connection.host}:{board.folder}"
    if not copied.sent:
        return f"nothing to copy: {place} has all {copied.unchanged} files already"
    there = f"; {copied.unchanged} were there already" if copied.unchanged else ""
    resumed = f"; went on in the middle of {', '.join(copied.resumed)}" if copied.resumed else ""
    return f"copied {len(copied.sent)} files to {place} ({copied.bytes / 1e6:.1f} MB){there}{resumed}"
