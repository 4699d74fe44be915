"""How much room there is on the disk for what will be written."""

from __future__ import annotations

import shutil
from pathlib import Path


def free_for(folder: Path) -> int:
    """Bytes that are free where `folder` is, or will be made."""
    return shutil.disk_usage(standing(folder)).free


def standing(folder: Path) -> Path:
    """`folder`, or the nearest folder above it that is there."""
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
