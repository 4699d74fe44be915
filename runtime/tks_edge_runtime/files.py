"""Files that are either whole or not there: everything tks-edge writes goes through `replacing`."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tks_edge_runtime.errors import InputError, MissingError, TksEdgeError, nearest_beside

_CHUNK = 1 << 20


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; what was written there becomes `path` when the block ends well.

    Until then, and when the block raises, whatever stood at `path` stays as it was and nothing is left behind. Only a
    process that is killed leaves the temporary file: its name begins with a dot and has the ending of `path`, so who
    lists files by their ending must skip names with a dot in front.

    Raises:
        MissingError: the disk is full.
        InputError: the folder cannot be written to.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise InputError(f"cannot write {path}: it is a folder or a device, not a file. Choose another output.")
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix is kept: some writers choose the format by it.
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=f".partial{path.suffix}", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        _publish(temporary, path)
    except OSError as error:
        raise _explained(error, path) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _publish(temporary: Path, path: Path) -> None:
    """Make the temporary file durable, give it the permissions of an ordinary file, and rename it into place."""
    mask = os.umask(0)
    os.umask(mask)
    with temporary.open("rb") as file:
        os.fchmod(file.fileno(), 0o666 & ~mask)
        os.fsync(file.fileno())
    temporary.replace(path)


def _explained(error: OSError, path: Path) -> TksEdgeError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return MissingError(
            f"no room left on the disk while writing {path}; that file was left as it was. "
            "Free some space and run again."
        )
    if isinstance(error, FileExistsError | NotADirectoryError):
        return InputError(f"cannot write {path}: a file stands where a folder is needed. Choose another output.")
    return InputError(f"cannot write {path}: {error.strerror or error}. Choose a place that can be written to.")


def write_text(path: Path | str, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, document: Any) -> None:
    """Write `document` to `path` as indented JSON, whole or not at all. NaN and infinity are refused: JSON has none."""
    write_text(path, json.dumps(document, indent=2, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is missing, unreadable, or not JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        near = "" if path.exists() else nearest_beside(path, lambda one: one.suffix == path.suffix or one.is_dir())
        raise InputError(f"cannot read {path}: {error.strerror}.{near}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({error}). It may be damaged; write it again.") from error


def sha256_of(path: Path | str) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
