"""The machines below tests/runtime/trees; the README in each says where its files come from."""

from __future__ import annotations

import shutil
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "trees"
NAMES = tuple(sorted(path.name for path in FOLDER.iterdir() if path.is_dir()))


def tree(name: str) -> Path:
    """The folder that stands for / on that machine."""
    return FOLDER / name


def copied(name: str, folder: Path) -> Path:
    """A copy in `folder` that may be changed."""
    return shutil.copytree(tree(name), folder / name)


def files(root: Path) -> list[Path]:
    """Every file of a machine."""
    return sorted(path for path in root.rglob("*") if path.is_file() and path.name != "README.md")
