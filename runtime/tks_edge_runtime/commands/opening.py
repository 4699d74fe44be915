"""An artifact, opened as the options of a command ask: what `run` and `calibrate-exit` begin with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tks_edge_runtime.command import Output

if TYPE_CHECKING:
    from tks_edge_runtime.backends.choice import Choice
    from tks_edge_runtime.session import Session


@dataclass(frozen=True)
class Opened:
    """A session, what runs it, and `show`, which is told a stage and how far it is for the progress bar."""

    session: Session
    chosen: Choice
    show: Callable[[str, float], None]


@contextlib.contextmanager
def opened(
    out: Output,
    artifact: Path,
    backend: str,
    *,
    device: str | None,
    threads: int | None,
    cuda_graph: bool,
    steps: int | None,
) -> Iterator[Opened]:
    """Choose the backend, say which and why where nobody named it, and load the artifact; a build shows its progress.

    The arguments are the options of the same names; the errors are those of `choose` and `load`.
    """
    from tks_edge_runtime.chosen import load_chosen

    with out.stages() as show:
        session, chosen = load_chosen(
            artifact,
            backend,
            device=device,
            threads=threads,
            cuda_graph=cuda_graph,
            steps=steps,
            on_choice=out.say_choice,
            on_build=show,
        )
        with session:
            yield Opened(session, chosen, show)
