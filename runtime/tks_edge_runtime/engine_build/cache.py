"""The folder of engines: each a pure `.engine` file, with a `.json` beside it that says what it belongs to.

A file is used only where its `.json` names its very bytes and everything it belongs to; whatever else lies there is
built anew. Who builds holds a lock on the engine's name, so that two processes do not do the same work; a lock ends
with the process that holds it, whatever ends that.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import glob
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tks_edge_runtime.documents import parse
from tks_edge_runtime.engine_build.origin import Origin, difference
from tks_edge_runtime.errors import ArtifactError, InputError
from tks_edge_runtime.files import replacing, sha256_of, write_json

SCHEMA_VERSION = 1
_DIGITS = 16
_ENGINE, _SIDECAR, _LOCK = ".engine", ".json", ".lock"


@dataclass(frozen=True)
class Golden:
    """How far the engine's logits for the golden input were from the network's, and how far they might be."""

    max_difference: float
    tolerance: float


@dataclass(frozen=True)
class Sidecar:
    """What is known about an engine.

    Attributes:
        artifact: the name of the `.onnx` file it was built from.
        key: of its origin.
        origin: what it belongs to.
        onnx_bytes: the size of that file.
        engine_bytes: the size of the engine.
        engine_sha256: of the engine.
        built: when, in ISO 8601.
        seconds: how long the build took.
        workspace_bytes: what tactics might use.
        layers: how many layers compute in each precision.
        golden: the comparison with the golden pair; None where there was none beside the artifact.
        notes: what is worth knowing about the build.
    """

    schema_version: int
    artifact: str
    key: str
    origin: Origin
    onnx_bytes: int
    engine_bytes: int
    engine_sha256: str
    built: str
    seconds: float
    workspace_bytes: int
    layers: dict[str, int]
    golden: Golden | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """An engine in the folder, with what is known about it."""

    path: Path
    sidecar: Sidecar

    @property
    def sidecar_path(self) -> Path:
        """Where the `.json` is."""
        return self.path.with_suffix(_SIDECAR)


def cache_folder() -> Path:
    """The folder of engines: `$TKS_EDGE_CACHE`, or below `$XDG_CACHE_HOME` or `~/.cache`."""
    asked = os.environ.get("TKS_EDGE_CACHE")
    if asked:
        return Path(asked).expanduser()
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path("~/.cache").expanduser()) / "tks-edge" / "engines"


def engine_path(stem: str, origin: Origin) -> Path:
    """Where the engine of an artifact of that name and origin belongs."""
    return cache_folder() / f"{stem}-{origin.key[:_DIGITS]}{_ENGINE}"


def look_up(stem: str, origin: Origin) -> Entry | str | None:
    """The engine of that name and origin, why what is there is not it, or None where the artifact was never built."""
    path = engine_path(stem, origin)
    if path.exists():
        found = _entry(path)
        if isinstance(found, str):
            return found
        return _differing(found, origin) or found
    others = _entries(stem)
    return _differing(others[-1], origin) if others else None


def _differing(entry: Entry, origin: Origin) -> str | None:
    differs = difference(entry.sidecar.origin, origin)
    return None if differs is None else f"{entry.path.name} was {differs}"


def newest(stem: str, origin: Origin) -> Entry | None:
    """The engine that was built last for this artifact and this machine, with whatever options."""

    def fits(entry: Entry) -> bool:
        found = entry.sidecar.origin
        here = dataclasses.replace(origin, low_memory=found.low_memory, workspace_bytes=found.workspace_bytes)
        return found == here and entry.path == engine_path(stem, found)

    fitting = [entry for entry in _entries(stem) if fits(entry)]
    return next((entry for entry in reversed(fitting) if not isinstance(_entry(entry.path), str)), None)


def _entries(stem: str) -> list[Entry]:
    """What the folder says it has of an artifact, the oldest first; the engines themselves are not read."""
    found = []
    for path in cache_folder().glob(f"*{_SIDECAR}"):
        sidecar = _sidecar(path)
        if not isinstance(sidecar, str) and Path(sidecar.artifact).stem == stem:
            found.append(Entry(path.with_suffix(_ENGINE), sidecar))
    return sorted(found, key=lambda entry: entry.sidecar.built)


def _entry(path: Path) -> Entry | str:
    """An engine whose bytes are those that its `.json` names, or why it is none."""
    sidecar = _sidecar(path.with_suffix(_SIDECAR))
    if isinstance(sidecar, str):
        return f"{path.name} {sidecar}: who made it is not known, and loading an engine runs its code"
    try:
        if path.stat().st_uid not in (os.getuid(), 0):
            return f"{path.name} belongs to another user, and loading an engine runs its code"
        if sha256_of(path) != sidecar.engine_sha256:
            return f"{path.name} is damaged: its bytes are not those that were built"
    except OSError as error:
        return f"{path.name} cannot be read ({error.strerror})"
    return Entry(path, sidecar)


def _sidecar(path: Path) -> Sidecar | str:
    """What a `.json` says, or why it says nothing."""
    try:
        sidecar = parse(Sidecar, json.loads(path.read_text(encoding="utf-8")), path.name)
    except OSError:
        return f"has no {path.name} beside it"
    except (ValueError, TypeError, RecursionError):
        return f"has a damaged {path.name} beside it"
    if sidecar.schema_version != SCHEMA_VERSION or sidecar.key != sidecar.origin.key:
        return f"has a {path.name} beside it that contradicts itself"
    return sidecar


def checksum(plan: bytes | memoryview) -> str:
    """The SHA-256 of an engine's bytes."""
    return hashlib.sha256(plan).hexdigest()


def read(path: Path) -> bytes:
    """The bytes of the engine at `path`, read once and compared with their checksum: these are what may be loaded.

    Raises:
        ArtifactError: they are not those that were built.
    """
    with locked(path):
        sidecar = _sidecar(path.with_suffix(_SIDECAR))
        try:
            plan = path.read_bytes()
        except OSError as error:
            raise ArtifactError(f"cannot read {path}: {error.strerror}. Build it again.") from error
    if isinstance(sidecar, str) or checksum(plan) != sidecar.engine_sha256:
        raise ArtifactError(f"{path} was changed since it was looked up, and is not loaded. Build it again.")
    return plan


def store(path: Path, plan: memoryview, sidecar: Sidecar) -> Entry:
    """Give a checked engine its name. Whoever holds the lock may; between the two files nobody takes it for whole."""
    with replacing(path) as temporary:
        temporary.write_bytes(plan)
    write_json(path.with_suffix(_SIDECAR), dataclasses.asdict(sidecar))
    return Entry(path, sidecar)


@contextlib.contextmanager
def locked(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock on a file's name while the block runs.

    Args:
        path: the file; its lock lies beside it and stays.
        on_wait: called where another process holds it, before waiting for that.

    Raises:
        InputError: the folder cannot be written to.
    """
    lock = path.with_suffix(_LOCK)
    try:
        # Only the user: loading what lies here runs code.
        lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = lock.open("a")
    except OSError as error:
        raise InputError(
            f"cannot write {lock}: {error.strerror}. Set TKS_EDGE_CACHE to a folder that can be written to."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if on_wait is not None:
                on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def remove_unfinished(path: Path) -> None:
    """Remove what a killed process left of this engine. Whoever holds the lock may."""
    for left in path.parent.glob(f".{glob.escape(path.stem)}-*.partial.*"):
        left.unlink(missing_ok=True)
