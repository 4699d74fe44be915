"""`compare`: two reports side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tks_edge_runtime.command import DebugFlag, JsonFlag, running


def compare(
    a: Annotated[Path, typer.Argument(metavar="A.json", help="The report.json of one report.", show_default=False)],
    b: Annotated[Path, typer.Argument(metavar="B.json", help="That of another.", show_default=False)],
    allow: Annotated[
        str,
        typer.Option(
            "--allow",
            help="What may differ, by commas: power-mode, method, backend, evaluation-set, batch-size.",
            show_default="nothing",
        ),
    ] = "",
    anyway: Annotated[bool, typer.Option("--anyway", help="Compare whatever differs.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", help="Write the comparison as Markdown.", show_default=False)
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Set two reports side by side: accuracy, latency and energy, and how many times one is the other."""
    with running(as_json, debug) as out:
        from tks_edge_runtime.files import write_text
        from tks_edge_runtime.report import compare as comparing
        from tks_edge_runtime.report.compare_texts import comparison_document, print_comparison, render_comparison
        from tks_edge_runtime.report.reading import read_report

        allowed = comparing.ASPECTS if anyway else [name.strip() for name in allow.split(",") if name.strip()]
        comparison = comparing.compare(read_report(a), read_report(b), allow=allowed)
        names = (str(a), str(b))
        print_comparison(comparison, names, out.console)
        if output is not None:
            write_text(output, render_comparison(comparison, names))
            out.console.print(f"\nwritten: {output}", markup=False, highlight=False, soft_wrap=True)
        out.document(comparison_document(comparison, names))
