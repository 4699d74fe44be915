"""`self-test`: every artifact of a folder against its golden pair, on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tks_edge_runtime.command import DebugFlag, JsonFlag, Output, running
from tks_edge_runtime.commands.options import (
    DEFAULT_BACKEND,
    BackendOption,
    DeviceOption,
    FolderArgument,
    ThreadsOption,
)

if TYPE_CHECKING:
    from tks_edge_runtime.artifact import Artifact
    from tks_edge_runtime.session import SelfTest


def self_test(
    folder: FolderArgument,
    backend: BackendOption = DEFAULT_BACKEND,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Compare what every artifact in a folder computes here with what the trained network gave for the same input."""
    with running(as_json, debug) as out:
        import dataclasses

        from tks_edge_runtime.artifact import find_artifacts
        from tks_edge_runtime.backends.choice import choose
        from tks_edge_runtime.errors import CheckError
        from tks_edge_runtime.session import load

        tests = []
        found = find_artifacts(folder)
        chosen = choose(backend, found, device=device)
        out.say_choice(chosen)
        with out.stages() as show:
            for number, artifact in enumerate(found):
                show("testing the artifacts", number / len(found))
                session = load(artifact.path, chosen.backend, device=chosen.device, threads=threads, on_build=show)
                with session:
                    tests.append((artifact, session.self_test()))
        _show(tests, out)
        rows = [{"file": artifact.path.name, **dataclasses.asdict(test)} for artifact, test in tests]
        out.document({"folder": str(folder), "backend": chosen.backend, "device": chosen.device, "artifacts": rows})
        failed = [artifact.path.name for artifact, test in tests if not test.passed]
        if failed:
            raise CheckError(
                f"the self-test failed for {', '.join(failed)}: copied damaged, or lowered for another backend than "
                f"{chosen.backend}. Copy it again, or give the --backend it was lowered for."
            )
        out.next("report", f"{folder}/")


def _show(tests: list[tuple[Artifact, SelfTest]], out: Output) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("artifact", "self-test")
    table.add_column("largest difference of a logit", justify="right")
    table.add_column("allowed", justify="right")
    for artifact, test in tests:
        result = "passed" if test.passed else "[red]FAILED[/]"
        table.add_row(escape(artifact.path.name), result, f"{test.max_difference:.3g}", f"{test.tolerance:.3g}")
    out.console.print(table)
