"""`compare`: reports side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tks_edge_runtime import completion
from tks_edge_runtime.command import DebugFlag, JsonFlag, running

if TYPE_CHECKING:
    from tks_edge_runtime.reporting.compare import Named


def compare(
    a: Annotated[
        Path,
        typer.Argument(
            metavar="A.json",
            help="The report.json of one report.",
            show_default=False,
            autocompletion=completion.report_file,
        ),
    ],
    others: Annotated[
        list[Path],
        typer.Argument(
            metavar="B.json...",
            help="Those that are held against it.",
            show_default=False,
            autocompletion=completion.report_file,
        ),
    ],
    allow: Annotated[
        str,
        typer.Option(
            "--allow",
            help="What may differ, by commas: power-mode, method, backend, evaluation-set, batch-size.",
            show_default="nothing",
            autocompletion=completion.aspects,
        ),
    ] = "",
    anyway: Annotated[bool, typer.Option("--anyway", help="Compare whatever differs.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", help="Write the comparison as Markdown (.md) or as a page (.html).", show_default=False
        ),
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Set reports side by side: accuracy, latency and energy, and how many times one is the other."""
    with running(as_json, debug) as out:
        from tks_edge_runtime.files import write_text
        from tks_edge_runtime.reporting import compare as comparing
        from tks_edge_runtime.reporting import compare_texts
        from tks_edge_runtime.reporting.compare_document import comparisons_document
        from tks_edge_runtime.reporting.reading import read_report

        written = _written(output)
        allowed = comparing.ASPECTS if anyway else [name.strip() for name in allow.split(",") if name.strip()]
        first = read_report(a)
        compared = [
            (comparing.compare(first, read_report(other), allow=allowed, letter=letter), (str(a), str(other)))
            for letter, other in zip(comparing.letters(len(others)), others, strict=True)
        ]
        for one, names in compared:
            compare_texts.print_comparison(one, names, out.console)
        if output is not None:
            write_text(output, written(compared))
            out.console.print(f"\nwritten: {output}", markup=False, highlight=False, soft_wrap=True)
        out.document(comparisons_document(compared))


def _written(output: Path | None) -> Callable[[Sequence[Named]], str]:
    """How the file is written that its ending asks for.

    Raises:
        InputError: it asks for nothing that there is.
    """
    from tks_edge_runtime.errors import InputError

    ending = output.suffix if output is not None else ".md"
    if ending == ".md":
        from tks_edge_runtime.reporting.compare_texts import render_comparisons

        return render_comparisons
    if ending == ".html":
        from tks_edge_runtime.reporting.compare_page import render

        return render
    raise InputError(
        f"cannot tell from {output} what to write. Give --output a name that ends in .md (Markdown) or .html (a page)."
    )
