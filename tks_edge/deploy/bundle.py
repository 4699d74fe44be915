"""One archive for a board without network: the runtime, all it needs, the artifacts, and a script that installs it."""

from __future__ import annotations

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tks_edge.data.room import free_for
from tks_edge.deploy.archive import checked_ending, write_archive
from tks_edge.deploy.download import download
from tks_edge.deploy.payload import SUMS, WHEELS, PayloadFile, artifact_files, checksums
from tks_edge.deploy.script import FOLDER, INSTALL, LAUNCHER, MARK, MARKER, Settings, install_script
from tks_edge.deploy.target import Target
from tks_edge.deploy.wheel import chosen_extras, runtime_wheel
from tks_edge_runtime.errors import MissingError

ROOT = "tks-edge-board"
"""The folder in the archive."""
INSTALLER = "install.sh"
_STEPS = ("verify", "check", *INSTALL, "report")


@dataclass(frozen=True)
class Bundle:
    """What went into an archive: paths in its folder, and its size in bytes."""

    path: Path
    size: int
    wheels: tuple[str, ...]
    artifacts: tuple[str, ...]


def write_bundle(
    artifacts: Path,
    output: Path,
    target: Target,
    *,
    extras: str = "onnxruntime",
    runtime: Path | None = None,
) -> Bundle:
    """Write the archive for a board, whole or not at all.

    Args:
        artifacts: the folder that `tks-edge export` wrote to.
        output: the archive; its ending decides the compression.
        target: the board's Python and processor.
        extras: of the runtime, separated by commas; "none" for none.
        runtime: a wheel of the runtime; None for that of this tks-edge.

    Raises:
        InputError: an unknown ending or extra, no such folder, or `output` cannot be written to.
        ArtifactError: an artifact is damaged or lacks a file beside it.
        MissingError: no room on the disk, no network, or no wheel for the target.
    """
    checked_ending(output)
    carried = artifact_files(artifacts)
    _check_room(output, carried)
    with tempfile.TemporaryDirectory() as temporary:
        built, fetched = Path(temporary, "runtime"), Path(temporary, "fetched")
        built.mkdir()
        fetched.mkdir()
        wheel = runtime_wheel(built, runtime)
        chosen = chosen_extras(extras, wheel)
        wheels = [PayloadFile.of(path, WHEELS) for path in (wheel, *download(wheel, chosen, target, fetched))]
        launcher = PayloadFile.of(FOLDER / LAUNCHER, executable=True)
        files = [launcher, *wheels, *carried]
        _check_room(output, files)
        settings = Settings(_STEPS, "", target.python, target.machine, wheel.name, chosen, offline=True)
        script = install_script(settings)
        texts = {INSTALLER: script, MARKER: f"{MARK}\n", SUMS: checksums(files)}
        write_archive(output, ROOT, files, texts)
    return Bundle(
        output,
        output.stat().st_size,
        tuple(sorted(file.source.name for file in wheels)),
        tuple(sorted(file.source.name for file in carried)),
    )


@dataclass(frozen=True)
class Packing:
    """What would go into an archive, as far as it is known before any wheel is fetched."""

    artifacts: tuple[str, ...]
    wheel: str
    extras: tuple[str, ...]


def planned_bundle(
    artifacts: Path, output: Path, *, extras: str = "onnxruntime", runtime: Path | None = None
) -> Packing:
    """What `write_bundle` would pack; arguments and errors are its own, but for those of the network."""
    checked_ending(output)
    carried = artifact_files(artifacts)
    _check_room(output, carried)
    with tempfile.TemporaryDirectory() as temporary:
        wheel = runtime_wheel(Path(temporary), runtime)
        return Packing(tuple(str(file.source) for file in carried), wheel.name, chosen_extras(extras, wheel))


def _check_room(output: Path, files: list[PayloadFile]) -> None:
    """Refuse a disk that the archive cannot fit on; wheels and weights hardly become smaller in it."""
    needed, free = sum(file.size for file in files), free_for(output.parent)
    if needed > free:
        raise MissingError(
            f"no room for {output}: about {needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free. Free some "
            "space, or give an --output on another disk."
        )


def describe(bundle: Bundle) -> dict[str, object]:
    """The bundle as a JSON document."""
    return {**dataclasses.asdict(bundle), "path": str(bundle.path)}
