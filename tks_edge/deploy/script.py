"""The one script that installs on a board, `board/install.sh`, with its settings filled in."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "board"
LAUNCHER = "tks-edge-runtime"
"""Of the runtime, in the board's folder; it keeps the runtime's caches in there as well."""
MARKER = ".tks-edge-board"
MARK = "This folder was made by tks-edge, which removes it whole when it is asked to."
"""The first line of the file `MARKER`; a folder without it is never removed."""
INSTALL = ("environment", "doctor", "build", "self-test")
"""The steps that make a board ready; `report` measures."""

_SETTINGS = re.compile(r"^folder=\n.*?(?=^# End of the settings\.$)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Settings:
    """What the script is told.

    Attributes:
        steps: what to do, in this order.
        folder: the folder on the board, below the home folder unless absolute; empty for the one the script lies in.
        python: the version that the environment must have ("3.10"); empty for the board's `python3`.
        machine: the architecture that the board must have; empty for any.
        wheel: the file of the runtime in `wheels/`.
        extras: those of the runtime that are installed with it.
        offline: whether everything is installed from `wheels/`.
        backend: what runs the artifacts; empty for the board's choice.
        preset: how long each artifact is measured, by name.
    """

    steps: tuple[str, ...]
    folder: str = ""
    python: str = ""
    machine: str = ""
    wheel: str = ""
    extras: tuple[str, ...] = ()
    offline: bool = False
    backend: str = ""
    preset: str = "quick"


def install_script(settings: Settings) -> str:
    """The script with these settings, as a POSIX shell reads it."""
    values = {
        "folder": settings.folder,
        "steps": " ".join(settings.steps),
        "python": settings.python,
        "machine": settings.machine,
        "wheel": settings.wheel,
        "extras": ",".join(settings.extras),
        "offline": "yes" if settings.offline else "",
        "backend": settings.backend,
        "preset": settings.preset,
    }
    lines = "".join(f"{name}={shlex.quote(value) if value else ''}\n" for name, value in values.items())
    script, count = _SETTINGS.subn(lambda _: lines, (FOLDER / "install.sh").read_text(encoding="utf-8"))
    if count != 1:
        raise RuntimeError("board/install.sh has no settings to fill in")
    return script
