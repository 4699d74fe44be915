"""Which rows of two reports belong together, and of what their ratio is: of early exit, of the means."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.runtime.reporting.example import document, row
from tks_edge_runtime import cli
from tks_edge_runtime.artifact import STEP
from tks_edge_runtime.errors import InputError
from tks_edge_runtime.measurement import PackedTraces
from tks_edge_runtime.reporting.compare import BACKEND, Comparison, compare
from tks_edge_runtime.reporting.compare_page import render
from tks_edge_runtime.reporting.compare_texts import render_comparisons
from tks_edge_runtime.reporting.document import Backend, ReportDocument
from tks_edge_runtime.reporting.row import NOT_EXPORTED, EarlyExit, Row
from tks_edge_runtime.statistics import ratio_of_means, summarize
from tks_edge_runtime.traces import pack

ORT, VINO, TRT = ("onnxruntime", "cpu"), ("openvino", "cpu"), ("tensorrt", "cuda")


def stopping(share: float, runs: int = 2000) -> Row:
    """A step row with early exit: a run takes 8 ms for that share of the samples, and 1 ms for the others."""
    generator = random.Random(3)  # noqa: S311 - a trace, not a secret
    latencies = [(8.0 if generator.random() < share else 1.0) * generator.lognormvariate(0, 0.02) for _ in range(runs)]
    rule = EarlyExit("margin", 0.1, (500, 0, 0, 0, 0, 0, 0, 97))
    traces = PackedTraces(pack(latencies), pack([0.75 * latency for latency in latencies]))
    made = row(8, 588, 1.0, form=STEP, early_exit=rule, traces=traces)
    return dataclasses.replace(made, latency=summarize(latencies))


def on(engine: tuple[str, str], made: Row, *, several: bool) -> Row:
    """The row on that engine, which it names where its report has several."""
    return dataclasses.replace(made, backend=engine[0], device=engine[1], engine=engine[0] if several else None)


def measured_on(engines: Sequence[tuple[str, str]], median: float = 0.1, digest: str = "a") -> ReportDocument:
    """A report of T=1 and T=2 on each of the engines, the later ones faster."""
    rows = [
        on(engine, row(t, 580, median * t / place, sha256=digest * 64), several=len(engines) > 1)
        for place, engine in enumerate(engines, start=1)
        for t in (1, 2)
    ]
    return document(rows, backends=tuple(Backend(*engine, None, {}) for engine in engines))


def engines_of(found: Comparison) -> list[tuple[str, str]]:
    return [(pair.a.backend, pair.b.backend) for pair in found.pairs]


@pytest.mark.parametrize("digest", ["a", "b"], ids=["the same file", "another file"])
def test_early_exit_is_matched_with_early_exit(digest: str) -> None:
    whole = row(8, 589, 8.0, form=STEP)
    later = [dataclasses.replace(one, sha256=digest * 64) for one in (stopping(0.2), whole)]
    found = compare(document([whole, stopping(0.1)]), document(later))
    assert [(pair.a.early_exit is None, pair.b.early_exit is None) for pair in found.pairs] in (
        [(True, True), (False, False)],
        [(False, False), (True, True)],
    )
    assert {pair.same_file for pair in found.pairs} == {digest == "a"}
    with pytest.raises(InputError, match="no row of A stands in B"):
        compare(document([whole]), document([later[0]]))


def unexported(precision: str) -> Row:
    """As a sweep lists it: on no engine."""
    nothing: dict[str, Any] = dict.fromkeys(("sha256", "latency", "compute", "traces"))
    return row(2, None, 1.0, precision=precision, status=NOT_EXPORTED, backend="", device="", **nothing)


def test_what_could_not_be_exported_is_not_the_same_file() -> None:
    found = compare(document([row(1, 580, 1.0), unexported("int8")]), document([row(1, 580, 1.0), unexported("fp16")]))
    assert [(pair.a.timesteps, pair.same_file) for pair in found.pairs] == [(1, True)]
    found = compare(document([unexported("int8")]), document([unexported("int8")]))
    assert [pair.same_file for pair in found.pairs] == [False]


@pytest.mark.parametrize("digest", ["a", "b"], ids=["the same file", "another file"])
def test_a_report_on_one_engine_stands_in_a_sweep_on_several(digest: str) -> None:
    one, several = measured_on([VINO]), measured_on([ORT, VINO], digest=digest)
    found = compare(one, several)
    assert not found.differences
    assert engines_of(found) == [("openvino", "openvino")] * 2
    assert {only.backend for only in found.only_b} == {"onnxruntime"}
    found = compare(several, one)
    assert engines_of(found) == [("openvino", "openvino")] * 2
    assert not compare(several, measured_on([VINO, ORT])).differences
    assert engines_of(compare(several, several)).count(("onnxruntime", "onnxruntime")) == 2


def test_one_engine_each_is_compared_whatever_engine_it_is() -> None:
    a, b = measured_on([ORT]), measured_on([TRT], digest="b")
    assert engines_of(compare(a, b, allow=[BACKEND])) == [("onnxruntime", "tensorrt")] * 2
    with pytest.raises(InputError, match="backend: A onnxruntime, B tensorrt"):
        compare(a, b)


def test_what_could_not_be_exported_is_no_second_engine() -> None:
    a, b = measured_on([ORT]), measured_on([TRT])
    b = dataclasses.replace(b, rows=(*b.rows, unexported("int8")))
    assert engines_of(compare(a, b, allow=[BACKEND])) == [("onnxruntime", "tensorrt")] * 2


def test_of_several_engines_none_of_which_is_in_the_other_both_lists_are_named() -> None:
    with pytest.raises(
        InputError, match=r"measured on onnxruntime cpu and openvino cpu; B .* measured on tensorrt cuda"
    ):
        compare(measured_on([ORT, VINO]), measured_on([TRT]), allow=[BACKEND])


def test_early_exit_is_compared_by_its_means() -> None:
    (pair,) = compare(document([stopping(0.1)]), document([stopping(0.3)])).pairs
    a, b = pair.a.latency, pair.b.latency
    assert a is not None
    assert b is not None
    assert b.p50 / a.p50 < 1.05
    assert pair.typical_name == "mean"
    assert pair.ratio == b.mean / a.mean > 1.6
    assert pair.interval is not None
    assert pair.interval == ratio_of_means(pair.b.trace_ms, pair.a.trace_ms)
    assert 1.4 < pair.interval.low < pair.ratio < pair.interval.high < 2.2
    (few,) = compare(document([stopping(0.1, runs=19)]), document([stopping(0.3)])).pairs
    assert few.interval is None


def test_all_others_are_compared_by_their_medians() -> None:
    (pair,) = compare(document([row(2, 590, 2.0)]), document([row(2, 590, 3.0)])).pairs
    a, b = pair.a.latency, pair.b.latency
    assert a is not None
    assert b is not None
    assert (pair.typical_name, pair.ratio) == ("median", b.p50 / a.p50)


def invoked(folder: Path, a: Sequence[Row], b: Sequence[Row], *options: str, width: int = 120) -> Result:
    for name, rows in (("a", a), ("b", b)):
        (folder / f"{name}.json").write_text(document(rows).to_json(), encoding="utf-8")
    arguments = ["compare", str(folder / "a.json"), str(folder / "b.json"), *options]
    result = CliRunner().invoke(cli.app, arguments, env={"COLUMNS": str(width)})
    assert result.exit_code == 0, result.output
    return result


def test_every_form_says_which_ratio_is_of_means(tmp_path: Path) -> None:
    a, b = [row(2, 590, 2.0), stopping(0.1)], [row(2, 590, 3.0), stopping(0.3)]
    named = [(compare(document(a), document(b)), ("a.json", "b.json"))]
    told = "compared by their means, not their medians"
    title = stopping(0.1).title
    markdown, page = render_comparisons(named), render(named)
    printed = " ".join(invoked(tmp_path, a, b).stdout.split())
    for text in (markdown, page, printed):
        assert told in text
        assert "mean" in text
    assert "latency \N{MULTIPLICATION SIGN} A" in page
    assert "Latency in units of A" in page
    assert "Median latency in units of A" not in page
    pair = next(pair for pair in named[0][0].pairs if pair.typical_name == "mean")
    assert f"{pair.ratio:.3f}\N{MULTIPLICATION SIGN} (means)" in page
    header, *lines = [line.split("|")[1:-1] for line in markdown.splitlines() if line.startswith("|")]
    columns = [cell.strip() for cell in header]
    start = next(place for place, line in enumerate(lines) if title.replace("<", "&lt;") in line[0] or title in line[0])
    of_ratio, of_interval = lines[start + 2], lines[start + 3]
    assert of_ratio[columns.index("e2e mean ms")].strip() == f"{pair.ratio:.3f}\N{MULTIPLICATION SIGN}"
    assert of_interval[columns.index("e2e p50 ms")].strip() == ""
    assert of_interval[columns.index("e2e mean ms")].strip() != ""
    (found,) = json.loads(invoked(tmp_path, a, b, "--json").stdout)["comparisons"]
    assert [one["ratio_of"] for one in found["rows"]] == [pair.typical_name for pair in named[0][0].pairs]
    assert [one["ratio"] for one in found["rows"]] == [pair.ratio for pair in named[0][0].pairs]


def test_without_early_exit_nothing_is_said_of_means() -> None:
    named = [(compare(document([row(2, 590, 2.0)]), document([row(2, 590, 3.0)])), ("a.json", "b.json"))]
    assert "mean" not in render_comparisons(named)
    assert "e2e mean ms" not in render(named)


def test_early_exit_breaks_no_line_of_a_narrow_table(tmp_path: Path) -> None:
    text = invoked(tmp_path, [row(2, 590, 2.0), stopping(0.1)], [row(2, 590, 3.0), stopping(0.3)], width=80).stdout
    assert max(map(len, text.splitlines())) <= 80
    assert sum(line.startswith("  95 %") for line in text.splitlines()) == 2
