"""The turns of a sweep on disk: what was measured in one interleaved run is one report, and is kept.

A row is taken again where everything that its numbers depend on is the same: the file by its hash, the engine, its
version, device and threads, that of tks-edge, the time that each row is measured for, and what the machine says of
itself (its power mode, governors and clock limits among that).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tks_edge_runtime.backends import find_backend
from tks_edge_runtime.errors import InputError
from tks_edge_runtime.files import write_text
from tks_edge_runtime.reporting.candidates import Candidate
from tks_edge_runtime.reporting.document import ReportDocument
from tks_edge_runtime.reporting.reading import read_report
from tks_edge_runtime.reporting.row import OK, Row
from tks_edge_runtime.version import __version__

FOLDER = "turns"
_NAME = re.compile(r"turn-(\d+)\.json")
_CREATED = re.compile(r'"created": "([^"]+)"')
_HEAD = 1 << 16
"""So many characters hold the beginning of a report, up to when it was made."""


@dataclass(frozen=True)
class Identity:
    """What the numbers of a row depend on."""

    sha256: str | None
    timesteps: int
    backend: str
    device: str
    threads: int | None
    cuda_graph: bool
    rule: tuple[str, float] | None
    version: str
    tool: str
    seconds: float
    machine: dict[str, Any]


@dataclass(frozen=True)
class Turn:
    """One interleaved run: its file, and what was measured in it."""

    path: Path
    document: ReportDocument

    @cached_property
    def rows(self) -> tuple[tuple[Identity, Row], ...]:
        """The finished rows, each with what its numbers depend on."""
        return tuple(self._rows())

    def _rows(self) -> Iterator[tuple[Identity, Row]]:
        engines = {(engine.name, engine.device): engine for engine in self.document.backends}
        for row in self.document.rows:
            engine = engines.get((row.backend, row.device))
            if row.status == OK and engine is not None:
                yield (
                    Identity(
                        row.sha256,
                        row.timesteps,
                        row.backend,
                        row.device,
                        engine.threads,
                        bool(row.cuda_graph),
                        _rule(row),
                        engine.description.get("version", ""),
                        self.document.tool.get("version", ""),
                        self.document.seconds,
                        self.document.machine,
                    ),
                    row,
                )


def identity_of(candidate: Candidate, row: Row, seconds: float, machine: dict[str, Any]) -> Identity:
    """What the numbers of a candidate, whose row this is, would depend on, if it were measured now."""
    version = find_backend(candidate.backend).version()
    engine = (candidate.backend, candidate.device, candidate.threads, candidate.cuda_graph)
    return Identity(row.sha256, row.timesteps, *engine, _rule(row), version, __version__, seconds, machine)


def _rule(row: Row) -> tuple[str, float] | None:
    return None if row.early_exit is None else (row.early_exit.measure, row.early_exit.threshold)


class Turns:
    """The turns in a folder, in their order.

    Attributes:
        found: those that could be read.
        unreadable: why others could not, a sentence each.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.found: list[Turn] = []
        self.unreadable: list[str] = []
        for path in sorted(folder.glob("*.json"), key=_number) if folder.is_dir() else ():
            if path.name.startswith("."):  # an unfinished file of a sweep that was killed
                continue
            try:
                self.found.append(Turn(path, read_report(path)))
            except InputError as error:
                self.unreadable.append(str(error))

    def finished(self, identity: Identity) -> tuple[Turn, Row] | None:
        """The latest row with this identity, and its turn: one that is not UNSTABLE, where there is one."""
        found = [(turn, row) for turn in reversed(self.found) for one, row in turn.rows if one == identity]
        return min(found, key=lambda one: one[1].unstable, default=None)

    def next_paths(self, count: int) -> list[Path]:
        """The names of the turns that are added next."""
        taken = [_number(path)[0] for path in self._folder.glob("*.json")] if self._folder.is_dir() else []
        last = max(taken, default=0)
        return [self._folder / f"turn-{last + place:03d}.json" for place in range(1, count + 1)]

    def add(self, document: ReportDocument) -> Turn:
        """Write a turn under a name of its own: nothing that is there is written over."""
        turn = Turn(self.next_paths(1)[0], document)
        write_text(turn.path, document.to_json())
        self.found.append(turn)
        return turn


def turns_since(report: ReportDocument, folder: Path) -> list[str]:
    """The names of the turns in a folder that were measured after a report was written."""
    found = []
    for path in sorted(folder.glob("turn-*.json"), key=_number) if folder.is_dir() else ():
        with path.open(encoding="utf-8", errors="replace") as file:
            created = _CREATED.search(file.read(_HEAD))  # the whole, with its traces, would take seconds
        if created is not None and created[1] > report.created:
            found.append(path.name)
    return found


def _number(path: Path) -> tuple[int, str]:
    found = _NAME.fullmatch(path.name)
    return (int(found[1]) if found else 0, path.name)
