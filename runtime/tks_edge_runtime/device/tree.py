"""The files of a machine below a root: each read as a whole, and what cannot be read is None."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

_KERNEL = ("proc/", "sys/")
_PAGE = 4096
"""No attribute under /sys is longer."""
_CHUNK = 1 << 16
_MOST_OPEN = 256
"""Handles that stay open; a machine with hundreds of CPUs would otherwise meet the limit of a process."""
_INTEGER = re.compile(r"-?[0-9]{1,18}")


class Tree:
    """A machine's files, by their paths relative to `root`, made for reading the same ones again and again.

    Files of the kernel's (under proc/ and sys/) are opened once and read at position 0 each time, which renews them;
    others may be replaced while a handle to the old one is held, so they are opened each time.
    Several threads may read.

    Attributes:
        root: the folder that stands for /.
        live: whether that is this machine itself, and no recorded tree.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.live = root.resolve() == Path("/")
        self._handles: dict[str, int] = {}
        self._constants: dict[str, str | None] = {}
        self._paths: dict[str, list[str]] = {}

    def text(self, path: str) -> str | None:
        """Read a file: its text, stripped; None where it is missing, not ours to read, empty, or no file."""
        if not path.startswith(_KERNEL):
            return self._text_once(path)
        try:
            handle = self._handles.get(path)
            if handle is None:
                if len(self._handles) >= _MOST_OPEN:
                    return self._text_once(path)
                handle = self._open(path)
                # Of two threads that open it at once, one closes its own again.
                kept = self._handles.setdefault(path, handle)
                if kept != handle:
                    os.close(handle)
                    handle = kept
            return _clean(_content(handle, path))
        except (OSError, ValueError):
            return None

    def constant(self, path: str) -> str | None:
        """Read a file that does not change, such as a label, and remember its text."""
        if path not in self._constants:
            self._constants[path] = self._text_once(path)
        return self._constants[path]

    def _text_once(self, path: str) -> str | None:
        try:
            handle = self._open(path)
        except (OSError, ValueError):
            return None
        try:
            return _clean(_content(handle, path))
        except OSError:
            return None
        finally:
            os.close(handle)

    def _open(self, path: str) -> int:
        # Without O_NONBLOCK a pipe in a recorded tree would wait for its writer.
        return os.open(self.root / path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def integer(self, path: str) -> int | None:
        """Read a file that holds one integer; None where it holds anything else."""
        return integer(self.text(path))

    def integers(self, paths: Iterable[str]) -> list[int]:
        """Read those of the files that hold one integer."""
        return [value for path in paths if (value := self.integer(path)) is not None]

    def texts(self, paths: Iterable[str]) -> list[str]:
        """Read those of the files that can be read."""
        return [text for path in paths if (text := self.text(path)) is not None]

    def paths(self, pattern: str) -> list[str]:
        """Find the paths that match a pattern, `cpu2` before `cpu10`; they are looked for once, and remembered."""
        if pattern not in self._paths:
            try:
                found = [path.relative_to(self.root).as_posix() for path in self.root.glob(pattern)]
            except OSError:
                found = []
            self._paths[pattern] = sorted(found, key=_natural)
        return self._paths[pattern]

    def close(self) -> None:
        """Close the handles; reading opens them again."""
        while self._handles:
            os.close(self._handles.popitem()[1])

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def integer(text: str | None) -> int | None:
    """Read the integer that is all of a text; None where there is anything else in it."""
    return int(text) if text is not None and _INTEGER.fullmatch(text) else None


def pairs(text: str | None, separator: str = ":") -> dict[str, str]:
    """Split `name: value` lines; of a name that comes again, the first value counts."""
    found: dict[str, str] = {}
    for line in (text or "").splitlines():
        name, mark, value = line.partition(separator)
        if mark:
            found.setdefault(name.strip(), value.strip())
    return found


def _content(handle: int, path: str) -> bytes:
    if path.startswith("sys/"):
        return os.pread(handle, _PAGE, 0)
    parts: list[bytes] = []
    while part := os.pread(handle, _CHUNK, sum(map(len, parts))):
        parts.append(part)
    return b"".join(parts)


def _clean(content: bytes) -> str | None:
    return content.decode(errors="replace").strip("\0 \n\t") or None


def _natural(path: str) -> list[tuple[int, str]]:
    """Sort numbers by their size."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", path)]
