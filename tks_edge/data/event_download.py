"""Archives of recordings, fetched from their own site through torchvision, compared with their MD5 and unpacked."""

from __future__ import annotations

import urllib.error
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torchvision.datasets.utils import download_and_extract_archive

from tks_edge.data.room import free_for, standing
from tks_edge_runtime.errors import MissingError


@dataclass(frozen=True)
class Archive:
    """A published archive.

    Attributes:
        name: of the file.
        url: where it is.
        md5: of the file, as its users compare it.
        megabytes: its size, where it is published; 0 where it is not.
    """

    name: str
    url: str
    md5: str
    megabytes: int = 0

    def __str__(self) -> str:
        size = f", {self.megabytes} MB" if self.megabytes else ""
        return f"{self.name} ({self.url}{size}, MD5 {self.md5})"


def fetch(archives: Sequence[Archive], folder: Path) -> None:
    """Fetch archives that are not in `folder` and unpack all of them there; an archive goes once it is unpacked.

    Raises:
        MissingError: they cannot be fetched, are not the published ones, or there is too little room for them.
    """
    needed = sum(archive.megabytes for archive in archives) * 10**6
    if needed > (free := free_for(folder)):
        raise MissingError(
            f"the archives alone take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free in {standing(folder)}. "
            f"Free some space, or give another folder with --data."
        )
    for archive in archives:
        _fetch(archive, folder)


def _fetch(archive: Archive, folder: Path) -> None:
    try:
        download_and_extract_archive(
            archive.url, str(folder), filename=archive.name, md5=archive.md5, remove_finished=True
        )
    except (urllib.error.URLError, OSError, RuntimeError, zipfile.BadZipFile) as error:
        raise MissingError(
            f"{archive.name} could not be fetched and unpacked ({error}). Fetch {archive}, and unpack it in {folder}."
        ) from error
