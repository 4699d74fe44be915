"""The report as Markdown, for a pull request or an issue: the conclusions, tables, method and facts of the page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from tks_edge_runtime.layer_table import LayerTable
from tks_edge_runtime.reporting.columns import columns_of
from tks_edge_runtime.reporting.document import ReportDocument
from tks_edge_runtime.reporting.facts import engine_table, fact_table, state_table
from tks_edge_runtime.reporting.plot_forms import Plot
from tks_edge_runtime.reporting.wording import unstable_rows

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$&])")


def render(document: ReportDocument, plots: Sequence[Plot]) -> str:
    """The document as GitHub-flavoured Markdown; `plots` are linked as `plots/<name>.png`."""
    parts = ["# Latency against accuracy", _unstable(document), _conclusions(document)]
    parts += [f"![{escaped(plot.description)}](plots/{plot.name}.png)" for plot in plots]
    parts += ["## Every artifact", _table(document), _remarks(document), *_layers(document)]
    parts += ["## How it was measured", "\n".join(f"- {escaped(sentence)}" for sentence in document.method)]
    parts += ["## Device state", grid(("", "before", "during", "after"), state_table(document.device_state))]
    machine = [*fact_table(document.machine), *engine_table(document.backends)]
    parts += ["## Machine", grid(("fact", "value"), machine)]
    version = " ".join((document.tool["name"], document.tool["version"]))
    # Four-space indentation: a code block that no name inside it can end.
    parts += ["## Made with", f"{escaped(version)}, {document.created}:", f"    {_one_line(document.command)}"]
    return "\n\n".join(part for part in parts if part) + "\n"


def _unstable(document: ReportDocument) -> str:
    sentence = unstable_rows(document)
    return f"**{escaped(sentence)}**" if sentence is not None else ""


def _conclusions(document: ReportDocument) -> str:
    answer = document.answer
    said = [(one.headline, one.sentences) for one in document.conclusions]
    if answer is not None:
        said.insert(0, (answer.headline, (*answer.sentences, *(f"Nearest miss: {miss}" for miss in answer.misses))))
    return "\n\n".join(
        "\n".join((f"**{escaped(headline)}**", "", *(f"- {escaped(sentence)}" for sentence in sentences)))
        for headline, sentences in said
    )


def _table(document: ReportDocument) -> str:
    columns = columns_of(document.rows)
    header = [column.header for column in columns]
    aligned = [column.numeric for column in columns]
    return grid(header, ([column.cell(row) for column in columns] for row in document.rows), aligned)


def _remarks(document: ReportDocument) -> str:
    found = [(row.label, text) for row in document.rows for text in (*row.warnings, *filter(None, [row.reason]))]
    return "\n".join(f"- {escaped(label)}: {escaped(text)}" for label, text in found)


def _layers(document: ReportDocument) -> Iterator[str]:
    """The layers of the rows that were profiled, in the words of the page."""
    profiled = [(row.title, row.layer_profile.table) for row in document.rows if row.layer_profile is not None]
    if profiled:
        yield f"## {LayerTable.title}"
        yield escaped(LayerTable.about)
    for title, table in profiled:
        yield f"### {escaped(title)}"
        yield grid(table.header, table.rows, table.right)
        yield escaped(table.note)


def grid(header: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[bool] = ()) -> str:
    """A table whose cells are `escaped`; `right` says which columns stand to the right."""
    marks = ["---:" if index < len(right) and right[index] else "---" for index in range(len(header))]
    lines = [[escaped(cell) for cell in header], marks, *([escaped(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escaped(text: str) -> str:
    """`text` with nothing in it that Markdown or HTML would take for markup."""
    return _SPECIAL.sub(r"\\\1", _one_line(text)).replace("\\<", "&lt;").replace("\\>", "&gt;").replace("\\&", "&amp;")


def _one_line(text: str) -> str:
    return " ".join(text.split())
