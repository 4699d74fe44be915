"""A process that damages artifacts and uses them; what it does to itself ends with it.

It takes the cases from `FIRST` on, below `COUNT`, and prints two lines of JSON for each: `{"begins": index}`
before it touches the files, and an `Outcome` after.

    python -m tests.fuzz.worker ORIGINALS SEED BACKEND FIRST COUNT
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import numpy as np
from typer.testing import CliRunner

from tests.fuzz import damaged_archives, damaged_bytes, damaged_graphs, damaged_manifests, graph_bombs
from tests.fuzz.case import Case, Damage
from tks_edge_runtime.artifact import STEP, Artifact, find_artifacts
from tks_edge_runtime.backends import find_backend
from tks_edge_runtime.cli import app
from tks_edge_runtime.errors import TksEdgeError
from tks_edge_runtime.session import Session, load

ROOM = 1 << 30
"""Bytes that a worker may still take once its libraries are there: the kernel gives it no more."""
_LONGEST_MESSAGE = 1000
_KINDS: tuple[tuple[Damage, ...], ...] = (
    damaged_bytes.DAMAGES,
    damaged_manifests.DAMAGES,
    damaged_graphs.DAMAGES,
    damaged_bytes.DAMAGES,
    damaged_archives.DAMAGES,
    graph_bombs.DAMAGES,
    damaged_graphs.DAMAGES,
)
"""Cases take these kinds of damage in turn, and of each kind its damages in turn."""


@dataclass(frozen=True)
class Outcome:
    """What became of one case.

    Attributes:
        index: of the case.
        damage: what was done to the artifact.
        errors: the messages that a user would have read, one for each use that ended in one.
        fault: a traceback, where it ended in anything else.
        seconds: what the uses took, all together.
        megabytes: by how much the process grew at its largest.
    """

    index: int
    damage: str
    errors: tuple[str, ...]
    fault: str | None
    seconds: float
    megabytes: float


def damage_of(index: int) -> Damage:
    """Which damage a case has."""
    kind = _KINDS[index % len(_KINDS)]
    return kind[index // len(_KINDS) % len(kind)]


def prepare(originals: Path, folder: Path, seed: int, index: int) -> Case:
    """Copy an original into `folder`, damage it there, and return it."""
    chance = Random(f"{seed}-{index}")  # noqa: S311 - no secret
    whole, other = chance.sample(sorted(originals.glob("*/*.onnx")), 2)
    shutil.copytree(whole.parent, folder, dirs_exist_ok=True)
    case = Case(folder / whole.name, other, chance)
    damage_of(index)(case)
    return case


def _whole(session: Session) -> None:
    manifest = session.manifest
    session.predict(np.zeros(manifest.batch.shape, manifest.batch.dtype))
    if manifest.form == STEP:
        with session.stream() as stream:
            for _ in range(3):
                stream.step(np.zeros(manifest.input.shape, manifest.input.dtype))


def _image(folder: Path) -> Path:
    from PIL import Image

    path = folder / "image.png"
    Image.new("L", (40, 30)).save(path)
    return path


def _command(*arguments: str) -> None:
    """Run a command of the runtime; an error of ours is raised, anything else is an AssertionError."""
    done = CliRunner().invoke(app, [*arguments, "--json"], env={"COLUMNS": "200"})
    if done.exit_code == 0:
        json.loads(done.stdout)
        return
    message = done.stderr.removeprefix("error: ").rstrip("\n")
    assert done.exit_code in (1, 2, 3), done
    assert "a fault in tks-edge" not in message, message
    raise TksEdgeError(message)


def use(path: Path, backend: str) -> tuple[str, ...]:
    """Use an artifact in every way that reads it; the messages of all `TksEdgeError`s. Anything else is raised."""
    errors: list[str] = []

    def attempt(what: Callable[[], Any]) -> Any:
        try:
            return what()
        except TksEdgeError as error:
            errors.append(f"{type(error).__name__}: {error}")
            return None

    attempt(lambda: find_artifacts(path.parent))
    artifact = attempt(lambda: Artifact.open(path))
    if artifact is not None:
        attempt(artifact.golden)
        attempt(artifact.evaluation_set)
    attempt(lambda: _command("info", str(path)))
    attempt(lambda: _command("run", str(path), str(_image(path.parent)), "--backend", backend, "--threads", "1"))
    session = attempt(lambda: load(path, backend, threads=1, spinning=False))
    if session is not None:
        with session:
            for task in (lambda: _whole(session), session.self_test, session.evaluate):
                attempt(task)
    return tuple(errors)


def _memory(key: str) -> float:
    """A line of this process's memory, in megabytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:"))


def run(originals: Path, folder: Path, seed: int, backend: str, index: int) -> Outcome:
    """Damage one artifact in `folder` and use it."""
    path = prepare(originals, folder, seed, index).path
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    before, start, fault = _memory("VmRSS"), monotonic(), None
    errors: tuple[str, ...] = ()
    try:
        errors = use(path, backend)
        unclear = [error for error in errors if len(error.splitlines()) > 2 or len(error) > _LONGEST_MESSAGE]
        fault = f"no message for a user: {unclear[0][:2000]!r}" if unclear else None
    except BaseException:
        fault = traceback.format_exc()
    seconds, grown = monotonic() - start, _memory("VmHWM") - before
    return Outcome(index, damage_of(index).__name__, errors, fault, round(seconds, 3), round(grown, 1))


def main() -> None:
    """Take the cases of the command line, one after the other."""
    originals, backend = Path(sys.argv[1]), sys.argv[3]
    seed, first, count = (int(sys.argv[i]) for i in (2, 4, 5))
    find_backend(backend).require("cpu")
    limit = int(_memory("VmSize")) * 2**20 + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The libraries print to the descriptors themselves; what is said to the supervisor must stay apart from it.
    said = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for index in range(first, count):
        said.write(json.dumps({"begins": index}) + "\n")
        with tempfile.TemporaryDirectory(prefix="tks-edge-fuzz-") as folder:
            outcome = run(originals, Path(folder), seed, backend, index)
        said.write(json.dumps(dataclasses.asdict(outcome)) + "\n")


if __name__ == "__main__":
    main()
