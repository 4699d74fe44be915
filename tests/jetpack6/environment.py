"""An environment with what JetPack 6 has: Python 3.10, and the newest ONNX Runtime that was built for it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "build/jetpack6"
PYTHON = FOLDER / "bin/python"
REQUIREMENTS = ("onnxruntime==1.23.2", "polygraphy", "nvidia-ml-py", "onnx", "pytest", "hypothesis", "jsonschema")
"""Beside what the runtime itself needs."""


def interpreters() -> Iterator[Path]:
    """Where a Python 3.10 may be: on the path, or among those of pyenv, the newest first."""
    if found := shutil.which("python3.10"):
        yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob("versions/3.10.*/bin/python3.10"), reverse=True)


def interpreter() -> Path | None:
    """A Python 3.10 that runs, or None: pyenv's own `python3.10` fails where no version of it is chosen."""
    program = "import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 10))"
    for path in interpreters():
        if subprocess.run([path, "-c", program], capture_output=True, check=False).returncode == 0:
            return path
    return None


def prepare(python: Path) -> None:
    """Make the environment in `build/jetpack6`, where it is not there as it has to be.

    Raises:
        subprocess.CalledProcessError: pip could not install something; what it says is on standard error.
    """
    project = (ROOT / "runtime/pyproject.toml").read_bytes()
    wanted = hashlib.sha256(repr((REQUIREMENTS, str(python), project)).encode()).hexdigest()
    stamp = FOLDER / "prepared"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    subprocess.run([python, "-m", "venv", FOLDER], check=True)
    pip: list[str | Path] = [PYTHON, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-compile", ROOT / "runtime", *REQUIREMENTS], check=True)
    # The tests are to run the source as it is now.
    subprocess.run([*pip, "uninstall", "--yes", "tks-edge-runtime"], check=True)
    stamp.write_text(wanted)
