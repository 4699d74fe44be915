"""An artifact, opened on the backend that is named for it or chosen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tks_edge_runtime.artifact import Artifact
from tks_edge_runtime.backends import BuildProgress
from tks_edge_runtime.backends.choice import Choice, choose
from tks_edge_runtime.session import Session, load


def load_chosen(
    artifact: Path,
    backend: str,
    *,
    device: str | None,
    threads: int | None,
    cuda_graph: bool,
    steps: int | None,
    on_choice: Callable[[Choice], None],
    on_build: BuildProgress,
) -> tuple[Session, Choice]:
    """Choose the backend, tell which, and load the artifact; arguments and errors are those of `choose` and `load`."""
    chosen = choose(backend, [Artifact.open(artifact)], device=device, cuda_graph=cuda_graph)
    on_choice(chosen)
    session = load(
        artifact,
        chosen.backend,
        device=chosen.device,
        threads=threads,
        cuda_graph=cuda_graph,
        steps=steps,
        on_build=on_build,
    )
    return session, chosen
