"""The wheels that the runtime needs on another Python and processor, all of them, and a proof that none is missing.

pip fetches wheels for another platform, but decides by *this* machine's Python which of a package's conditional needs
apply. So what came is checked against the needs as the board's Python reads them, and what lacks is asked for by name.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from email.message import Message
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from tks_edge.deploy.target import Target
from tks_edge.deploy.wheel import metadata_of
from tks_edge_runtime.errors import MissingError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_ROUNDS = 5
"""A package that was asked for by name may need others; more rounds than this no set of packages has needed."""


def download(wheel: Path, extras: tuple[str, ...], target: Target, folder: Path) -> list[Path]:
    """Fetch the wheels that `wheel` with its extras needs on the target into `folder`, from pip's own index.

    Returns:
        The wheels, by name, without `wheel` itself.

    Raises:
        MissingError: pip is not here, or there is no network, no room or no wheel for the target.
    """
    # Asked of the path alone: setuptools' finder takes the question for a build by pip, and changes what distutils is.
    if PathFinder.find_spec("pip") is None:
        raise MissingError("wheels are fetched by pip, which is missing here: python -m ensurepip")
    wanted = [f"{wheel}[{','.join(extras)}]" if extras else str(wheel)]
    for _ in range(_ROUNDS):
        for stale in folder.glob("*.whl"):
            stale.unlink()
        _fetch(wanted, target, folder)
        lacking = unmet(wheel, extras, target, folder)
        if not lacking:
            return sorted(path for path in folder.glob("*.whl") if path.name != wheel.name)
        wanted += lacking
    raise MissingError(f"the wheels for {_named(target)} are not complete: {', '.join(lacking)} cannot be found.")


def _fetch(wanted: list[str], target: Target, folder: Path) -> None:
    platforms = [part for tag in target.platforms for part in ("--platform", tag)]
    command = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "--retries",
        "2",
        "download",
        "--quiet",
    ]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", target.python, *platforms]
    done = subprocess.run(  # noqa: S603 - pip, of this environment
        [*command, "--dest", str(folder), *wanted], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise _explained(done.stderr, target)


def _explained(said: str, target: Target) -> MissingError:
    errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    last = errors[-1] if errors else (said.strip() or "no reason given").splitlines()[-1]
    if "No space left on device" in said:
        return MissingError("no room left on the disk while fetching wheels. Free some space (see TMPDIR), run again.")
    if any(words in said for words in ("NewConnectionError", "name resolution", "unreachable", "TimeoutError")):
        return MissingError(f"pip cannot reach its package index ({last}). Connect this machine to a network.")
    return MissingError(f"not every wheel is to be had for {_named(target)}: {last}")


def _named(target: Target) -> str:
    return f"Python {target.python} on {target.machine}"


def unmet(wheel: Path, extras: tuple[str, ...], target: Target, folder: Path) -> list[str]:
    """What `wheel` with these extras, or a wheel in `folder` that it leads to, needs on the target and `folder` lacks.

    Returns:
        The requirements without their conditions, by name.
    """
    from packaging.utils import canonicalize_name

    found = {canonicalize_name(str(metadata["Name"])): metadata for metadata in map(metadata_of, folder.glob("*.whl"))}
    lacking: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    todo: list[tuple[Message, frozenset[str]]] = [(metadata_of(wheel), frozenset(extras))]
    while todo:
        metadata, asked = todo.pop()
        for need in _needs(metadata, asked, target):
            name = canonicalize_name(need.name)
            there = found.get(name)
            if there is None or not need.specifier.contains(str(there["Version"]), prereleases=True):
                extra = f"[{','.join(sorted(need.extras))}]" if need.extras else ""
                lacking.add(f"{need.name}{extra}{need.specifier}")
            elif (name, key := frozenset(need.extras)) not in seen:
                seen.add((name, key))
                todo.append((there, key))
    return sorted(lacking)


def _needs(metadata: Message, extras: frozenset[str], target: Target) -> Iterator[Requirement]:
    """What a distribution needs on the target, with these of its extras."""
    from packaging.requirements import Requirement

    for line in metadata.get_all("Requires-Dist") or ():
        need = Requirement(line)
        places = [{**target.markers, "extra": extra} for extra in ("", *extras)]
        if need.marker is None or any(need.marker.evaluate(place) for place in places):
            yield need
