"""Everything that is looked at, put together: what there is, what can run, and the command that comes next."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tks_edge_runtime.device import Machine
from tks_edge_runtime.device.tree import Tree
from tks_edge_runtime.doctor import board, computer, software
from tks_edge_runtime.doctor.finding import Finding
from tks_edge_runtime.session import DEFAULT_BACKEND

_ENGINES = "tensorrt"
"""The backend that is taken on a GPU where it can run."""
_EVERYWHERE = "Python 3.10 or later, and: pip install './runtime[onnxruntime]'"


@dataclass(frozen=True)
class Examination:
    """What was found.

    Attributes:
        findings: one for each thing that was looked at.
        backends: those that can run here, on at least one device; of a recorded tree none, since nothing was asked.
        devices: of each of these, the devices.
        facts: of the machine (`device.facts`).
        refusal: why tks-edge does not support this board; None where it does.
        next: the command that comes next, without the program's name; empty where there is none.
    """

    findings: tuple[Finding, ...]
    backends: tuple[str, ...]
    devices: dict[str, tuple[str, ...]]
    facts: dict[str, Any]
    refusal: str | None
    next: tuple[str, ...]


def examine(root: Path = Path("/"), folder: Path = Path()) -> Examination:
    """Look at the machine below `root`, and at the room on the disk that holds `folder`.

    Of a recorded tree (a `root` other than /) it is told what its files say; this Python and its backends are not its.
    """
    with Machine(root) as machine:
        facts, now = machine.facts(), machine.state()
    with Tree(root) as tree:
        return _live(facts, now, tree, folder) if tree.live else _recorded(facts, now, tree)


def _live(facts: dict[str, Any], now: dict[str, Any], tree: Tree, folder: Path) -> Examination:
    asked = software.backends()
    findings = (
        *software.findings(facts),
        *asked.values(),
        software.training(),
        *_computer(facts, now, tree),
        computer.disk(folder),
    )
    able = [key for key, finding in asked.items() if finding.status == "ok"]
    names = tuple(dict.fromkeys(name for name, _ in able))
    devices = {name: tuple(device for other, device in able if other == name) for name in names}
    return Examination(findings, names, devices, facts, board.out_of_scope(facts), _next(facts, names))


def _recorded(facts: dict[str, Any], now: dict[str, Any], tree: Tree) -> Examination:
    refusal = board.out_of_scope(facts)
    findings = (*_computer(facts, now, tree), *(() if refusal is not None else _could_run(facts)))
    names = (_ENGINES, DEFAULT_BACKEND) if board.is_board(facts) and board.tensorrt_runs(facts) else (DEFAULT_BACKEND,)
    return Examination(findings, (), {}, facts, refusal, () if refusal is not None else _next(facts, names))


def _computer(facts: dict[str, Any], now: dict[str, Any], tree: Tree) -> list[Finding]:
    """Look at the machine, as that kind of machine."""
    if board.is_board(facts):
        return [*board.findings(facts, now, tree), *computer.findings(facts, now, tree)]
    name = [Finding("board", "ok", facts["board"])] if facts["board"] is not None else []
    clocks_and_memory = [computer.governor(facts), computer.memory(facts, now), computer.swap(facts)]
    return [*name, *computer.findings(facts, now, tree), *clocks_and_memory]


def _could_run(facts: dict[str, Any]) -> list[Finding]:
    """Say what the files of a recorded tree let expect."""
    graphs = Finding(f"{DEFAULT_BACKEND} on cpu", "ok", "can run", _EVERYWHERE)
    if board.tensorrt_runs(facts):
        return [graphs, Finding(f"{_ENGINES} on the GPU", "ok", f"can run, with TensorRT {facts['tensorrt']}")]
    version = facts.get("tensorrt")
    reason = (
        f"TensorRT {version} is older than {board.TENSORRT_FLOOR}"
        if version
        else "no TensorRT among the system's libraries"
    )
    return [graphs, Finding(f"{_ENGINES} on the GPU", "absent", reason)]


def _next(facts: dict[str, Any], names: tuple[str, ...]) -> tuple[str, ...]:
    """Choose the command that comes next on a machine that can run these backends."""
    if not names:
        return ()
    if _ENGINES in names and board.is_small(facts):
        return ("build", "artifacts/NAME.onnx", "--low-memory")
    chosen = _ENGINES if _ENGINES in names else DEFAULT_BACKEND if DEFAULT_BACKEND in names else names[0]
    return ("report", "artifacts/", *(() if chosen == DEFAULT_BACKEND else ("--backend", chosen)))
