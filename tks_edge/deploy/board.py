"""A folder on a board, over one connection: what is copied into it, what is run there, and what comes home."""

from __future__ import annotations

import json
import shlex
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from tks_edge.deploy.copying import Copier
from tks_edge.deploy.script import Settings, install_script
from tks_edge.deploy.ssh import Connection
from tks_edge_runtime.errors import CheckError, InputError, MissingError, TksEdgeError
from tks_edge_runtime.files import replacing

_ERRORS: dict[int, type[TksEdgeError]] = {1: CheckError, 2: InputError, 3: MissingError}
_PREFIX = "error: "


class Board:
    """The folder `folder` on the board at the other end of `connection`.

    Args:
        connection: an open one.
        folder: below the home folder there, unless absolute.
        on_line: gets what the board's programs print, line by line.

    Raises:
        InputError: `folder` cannot be the name of one.
    """

    def __init__(self, connection: Connection, folder: str, *, on_line: Callable[[str], None] = lambda _: None) -> None:
        self.connection = connection
        self.folder = checked_folder(folder)
        self._on_line = on_line
        quoted = shlex.quote(self.folder)
        root = quoted if self.folder.startswith("/") else f'"${{HOME:-.}}"/{quoted}'
        self.enter = f'export LC_ALL=C\nroot={root}\ncd -- "$root" || exit 70'

    def run(self, settings: Settings) -> None:
        """Run steps of the installing script there.

        Raises:
            CheckError: an artifact failed its self-test.
            InputError: something cannot be done as asked.
            MissingError: the board lacks something, or the connection broke.
        """
        script = install_script(replace(settings, folder=self.folder))
        errors = []

        def line(text: str) -> None:
            # An error of a step is the end of this command, and said there.
            if text.startswith(_PREFIX):
                errors.append(text)
            else:
                self._on_line(text)

        # Tables are as wide as here.
        done = self.connection.run(f"export COLUMNS={_columns()}\n{script}", on_line=line)
        if done.code:
            raise _failure(done.code, "\n".join((*errors, done.err)), self.connection.host)

    def copier(self, on_progress: Callable[[int], None], on_drop: Callable[[str], None]) -> Copier:
        """Copies files into the folder, which `prepare` has made."""
        return Copier(self.connection, self.enter, on_progress=on_progress, on_drop=on_drop)

    def document(self, name: str) -> Any:
        """The JSON document `results/NAME.json`, or None where no step has written it."""
        done = self.connection.run(f"{self.enter}\ncat results/{shlex.quote(name)}.json 2>/dev/null\n")
        try:
            return json.loads(done.out)
        except ValueError:
            return None

    def fetch(self, name: str, output: Path) -> list[Path]:
        """Bring the files below the folder `name` there home into `output`, each whole or not at all.

        Raises:
            MissingError: there are none, or they did not arrive.
            InputError: `output` cannot be written to.
        """
        written = []
        with self.connection.streaming(f"{self.enter}\ncd {shlex.quote(name)} && tar -cf - .\n") as stream:
            try:
                with tarfile.open(fileobj=stream.out, mode="r|") as archive:
                    for member in archive:
                        source = archive.extractfile(member) if member.isfile() else None
                        if source is None:
                            continue
                        with replacing(output / _inside(member.name)) as temporary:
                            temporary.write_bytes(source.read())
                        written.append(output / _inside(member.name))
            except tarfile.TarError as error:
                raise MissingError(f"{name}/ did not come home from {self.connection.host}: {error}") from error
        if stream.code or not written:
            raise MissingError(f"{name}/ did not come home from {self.connection.host}: {stream.err.strip()}")
        return sorted(written)


def checked_folder(folder: str) -> str:
    """The name of a folder on a board, without what only a shell would read in it.

    Raises:
        InputError: it is empty, is the home folder or the root, or leaves its place by `..`.
    """
    name = folder.removeprefix("~/").rstrip("/")
    parts = PurePosixPath(name).parts
    if not parts or parts == ("/",) or ".." in parts or name.startswith("~") or {"\n", "\0"} & set(name):
        raise InputError(
            f"--folder {folder!r} cannot be the folder on the board. Give a name in the home folder there (tks-edge), "
            "or an absolute path, without `..`."
        )
    return str(PurePosixPath(name))


def _inside(name: str) -> Path:
    """A path out of an archive from the board, which must not lead out of the folder it goes to."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise MissingError(f"the board sent a file named {name!r}, which leads out of its folder; it was not written.")
    return Path(*path.parts)


def _columns() -> int:
    return shutil.get_terminal_size(fallback=(120, 24)).columns


def _failure(code: int, said: str, host: str) -> TksEdgeError:
    """The error for a script that ended with `code`, in its own words where it has some."""
    lines = [line for line in said.splitlines() if line.strip()]
    named = [line.removeprefix(_PREFIX) for line in lines if line.startswith(_PREFIX)]
    if named:
        return _ERRORS.get(code, MissingError)(f"{host}: {named[-1]}")
    return _ERRORS.get(code, MissingError)(f"{host}: {lines[-1] if lines else f'stopped with exit code {code}'}")
