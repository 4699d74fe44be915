"""The wheel of the runtime, as a board installs it: built from a checkout, or from the installed tks-edge.

Both ways end in the same build of the same project: in a checkout `runtime/` is that project; an installed tks-edge
carries its `pyproject.toml` and `README.md` in `runtime_project/`, and the package itself is the one that is installed.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

import tks_edge_runtime
from tks_edge_runtime.errors import InputError, MissingError, did_you_mean

_PACKAGE = "tks_edge_runtime"
_PROJECT_FILES = ("pyproject.toml", "README.md")
_CARRIED = Path(__file__).parent / "runtime_project"


def runtime_wheel(folder: Path, given: Path | None = None) -> Path:
    """The wheel of the runtime in `folder`: that of this tks-edge, or the one that was given.

    Raises:
        InputError: `given` is not a wheel of the runtime.
        MissingError: hatchling, which builds it, is not installed.
    """
    if given is None:
        return build_wheel(folder)
    offered_extras(given)
    return Path(shutil.copy(given, folder))


def build_wheel(folder: Path) -> Path:
    """Build the wheel of the runtime that is running into `folder`.

    Raises:
        MissingError: hatchling is not installed, or this installation does not carry the runtime's project file.
    """
    if importlib.util.find_spec("hatchling") is None:
        raise MissingError("the board's wheel is built with hatchling, which is missing here: pip install hatchling")
    package = Path(tks_edge_runtime.__file__).parent
    if (package.parent / "pyproject.toml").is_file():
        return _built(package.parent, folder)
    with tempfile.TemporaryDirectory() as temporary:
        project = Path(temporary)
        for name in _PROJECT_FILES:
            if not (_CARRIED / name).is_file():
                raise MissingError(f"{_CARRIED / name} is missing: tks-edge is not installed whole. Install it again.")
            shutil.copy(_CARRIED / name, project)
        shutil.copytree(package, project / _PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
        return _built(project, folder)


def _built(project: Path, folder: Path) -> Path:
    # A process of its own: the backend works in the current directory, and that is one for the whole process.
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder.resolve())]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)  # noqa: S603 - our own project
    wheels = list(folder.glob(f"{_PACKAGE}-*.whl"))
    if done.returncode or len(wheels) != 1:
        last = (done.stderr.strip() or "no wheel came out").splitlines()[-1]
        raise MissingError(f"the runtime's wheel cannot be built from {project}: {last}")
    return wheels[0]


def metadata_of(wheel: Path) -> Message:
    """The core metadata of a wheel, whose one `*.dist-info` is at its top; vendored ones deeper down are not its own.

    Raises:
        OSError, ValueError, BadZipFile: it is no wheel.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        (name,) = (name for name in names if name.count("/") == 1)
        return HeaderParser().parsestr(archive.read(name).decode())


def offered_extras(wheel: Path) -> tuple[str, ...]:
    """The extras that a wheel of the runtime offers, by its metadata.

    Raises:
        InputError: it is no wheel of the runtime.
    """
    try:
        metadata = metadata_of(wheel)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{wheel} is not a wheel ({error}). Give one of tks-edge-runtime, or leave it out.") from error
    if metadata["Name"] != "tks-edge-runtime":
        raise InputError(f"{wheel} is a wheel of {metadata['Name']}. Give one of tks-edge-runtime, or leave it out.")
    return tuple(metadata.get_all("Provides-Extra") or ())


def chosen_extras(text: str, wheel: Path) -> tuple[str, ...]:
    """The extras named in `text`, separated by commas ("none" for no extra), checked against what the wheel offers.

    Raises:
        InputError: the wheel does not offer one of them.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if names == ("none",):
        return ()
    offered = offered_extras(wheel)
    for name in names:
        if name not in offered:
            near = did_you_mean(name, (*offered, "none"))
            raise InputError(f"the runtime has no extra {name!r}.{near} Allowed: {', '.join(offered)}, or none.")
    return names
