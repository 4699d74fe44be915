"""What goes onto a board: the artifacts with the files beside them, by the names they have there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tks_edge_runtime.artifact import find_artifacts
from tks_edge_runtime.errors import ArtifactError, InputError
from tks_edge_runtime.exit_rule import read_exit_rule, rule_path
from tks_edge_runtime.files import sha256_of

ARTIFACTS, WHEELS = "artifacts", "wheels"
SUMS = "SHA256SUMS"


@dataclass(frozen=True)
class PayloadFile:
    """A file of this machine and its place in the board's folder (`path`, relative, with slashes)."""

    source: Path
    path: str
    size: int
    sha256: str
    executable: bool = False

    @classmethod
    def of(cls, source: Path, folder: str = "", *, executable: bool = False) -> PayloadFile:
        """The file `source`, to be put into `folder` under its own name.

        Raises:
            InputError: its name holds a line break or a backslash, which no list of checksums can name.
        """
        if {"\n", "\r", "\\"} & set(source.name):
            raise InputError(f"the name {source.name!r} holds a line break or a backslash. Rename the file.")
        path = f"{folder}/{source.name}" if folder else source.name
        return cls(source, path, source.stat().st_size, sha256_of(source), executable)


def artifact_files(folder: Path) -> list[PayloadFile]:
    """Every artifact of `folder`, its golden pair, its evaluation set and its rule for early exit, where it has them.

    Raises:
        InputError: there is no such folder, or no artifact in it.
        ArtifactError: an artifact is damaged, or what its manifest names does not lie beside it.
    """
    files: dict[Path, PayloadFile] = {}
    for artifact in find_artifacts(folder):
        manifest = artifact.manifest
        beside = [manifest.golden_file]
        evaluation = manifest.evaluation
        if evaluation is not None and evaluation.file is not None:
            beside.append(evaluation.file)
        if read_exit_rule(artifact.path) is not None:
            beside.append(rule_path(artifact.path).name)
        for path in (artifact.path, *(artifact.path.with_name(name) for name in beside)):
            if not path.is_file():
                raise ArtifactError(f"{path} is missing; {artifact.path.name} needs it on the board. Export again.")
            if path not in files:
                files[path] = PayloadFile.of(path, ARTIFACTS)
        if evaluation is not None and evaluation.file is not None:
            found = files[artifact.path.with_name(evaluation.file)]
            if found.sha256 != evaluation.sha256:
                raise ArtifactError(f"{found.source} is not the set that {artifact.path.name} names. Export again.")
    return list(files.values())


def checksums(files: Iterable[PayloadFile]) -> str:
    """The list that `sha256sum -c` reads."""
    return "".join(f"{file.sha256}  {file.path}\n" for file in sorted(files, key=lambda file: file.path))
