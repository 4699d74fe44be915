"""Two reports side by side: what is compared, what is refused and why, and what the command says of bad files."""

from __future__ import annotations

import dataclasses
import json
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.runtime.reporting.example import EVALUATION, document, failed, on_a_gpu, row, sweep, twin
from tks_edge_runtime import cli
from tks_edge_runtime.errors import InputError
from tks_edge_runtime.reporting.compare import ASPECTS, Comparison, compare
from tks_edge_runtime.reporting.document import SCHEMA_VERSION, Backend, ReportDocument
from tks_edge_runtime.reporting.reading import read_report
from tks_edge_runtime.reporting.row import FAILED, Row
from tks_edge_runtime.statistics import ratio_of_medians

POWER = {"cpu": "a CPU", "governors": ["powersave"], "power_mode": {"name": "15W", "id": 1}}


def invoke(*arguments: object, width: int = 100) -> Result:
    environment = {"COLUMNS": str(width)}
    return CliRunner().invoke(cli.app, ["compare", *map(str, arguments)], env=environment)


def fails(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) <= 2
    for word in words:
        assert word in result.stderr, result.stderr


def retrained(rows: Sequence[Row]) -> list[Row]:
    return [dataclasses.replace(row, sha256="b" * 64) for row in rows]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a report's JSON."""

    def written(name: str, rows: Sequence[Row], **fields: Any) -> Path:
        path = tmp_path / f"{name}.json"
        path.write_text(document(rows, **fields).to_json(), encoding="utf-8")
        return path

    return written


def compared(a: Sequence[Row], b: Sequence[Row], allow: Sequence[str] = (), **fields: Any) -> Comparison:
    return compare(document(a), document(b, **fields), allow=allow)


def test_a_report_is_read_back_as_it_was_written(write: Callable[..., Path]) -> None:
    for rows in (sweep(), on_a_gpu(), [*sweep(), failed(2, name="broken")]):
        made = document(rows)
        assert read_report(write("a", rows)) == made


def test_rows_are_matched_by_their_files_first_and_then_by_what_they_say() -> None:
    digest = [character * 64 for character in "0123"]
    a = [row(1, 580, 1.0, sha256=digest[0]), row(2, 590, 2.0, sha256=digest[1]), row(4, 590, 3.0, sha256=digest[2])]
    b = [row(2, 585, 2.2, sha256=digest[3]), row(1, 580, 1.1, sha256=digest[0], name="renamed"), row(8, 590, 9.0)]
    found = compared(a, b)
    assert [(pair.a.timesteps, pair.b.name, pair.same_file) for pair in found.pairs] == [
        (1, "renamed", True),
        (2, "digits", False),
    ]
    assert [row.timesteps for row in found.only_a] == [4]
    assert [row.timesteps for row in found.only_b] == [8]


def test_a_cuda_graph_is_matched_with_a_cuda_graph() -> None:
    found = compared(on_a_gpu(), on_a_gpu()[::-1])
    assert len(found.pairs) == 8
    assert all(pair.a.cuda_graph == pair.b.cuda_graph for pair in found.pairs)
    host = compared(sweep(), on_a_gpu())
    assert all(pair.b.cuda_graph is False for pair in host.pairs)


def test_the_ratio_is_of_medians_with_an_interval_from_the_traces() -> None:
    (pair,) = compared([row(2, 590, 2.0)], [row(2, 590, 3.0)]).pairs
    assert pair.interval is not None
    assert pair.interval.value == pytest.approx(1.5, rel=0.01)
    assert 1.48 < pair.interval.low < pair.interval.value < pair.interval.high < 1.52
    (few,) = compared([row(2, 590, 2.0, samples=19)], [row(2, 590, 3.0)]).pairs
    assert few.interval is None


def test_an_interval_holds_the_true_ratio_nineteen_times_of_twenty() -> None:
    generator = random.Random(5)  # noqa: S311 - traces, not secrets

    def drawn(median: float) -> list[float]:
        return [median * generator.lognormvariate(0, 0.1) for _ in range(300)]

    intervals = [ratio_of_medians(drawn(1.25), drawn(1.0)) for _ in range(100)]
    assert 88 <= sum(found.low <= 1.25 <= found.high for found in intervals) <= 99


def test_slow_changes_within_a_run_widen_the_interval() -> None:
    """As heat makes them: single runs, taken for independent, would hide it."""
    generator = random.Random(5)  # noqa: S311 - traces, not secrets
    steady = [generator.lognormvariate(0, 0.05) for _ in range(2000)]
    restless = sorted(steady)
    still, moving = (ratio_of_medians(trace, steady) for trace in (steady, restless))
    assert moving.high - moving.low > 3 * (still.high - still.low)


REFUSED: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "power mode": (
        "power-mode",
        {"machine": {**POWER, "power_mode": {"name": "MAXN", "id": 0}}},
        ("15W", "MAXN, id 0"),
    ),
    "governor": ("power-mode", {"machine": {**POWER, "governors": ["performance"]}}, ("powersave", "performance")),
    "unknown governor": ("power-mode", {"machine": {**POWER, "governors": None}}, ("powersave", "unknown")),
    "preset": ("method", {"preset": "long", "seconds": 60.0}, ("quick", "long", "3.0", "60.0")),
    "threads": ("backend", {"backends": (Backend("onnxruntime", "cpu", None, {}),)}, ("A 1", "B the library's choice")),
    "device": ("backend", {"backends": (Backend("onnxruntime", "cuda", 1, {}),)}, ("A cpu", "B cuda")),
    "spinning": (
        "backend",
        {"backends": (Backend("onnxruntime", "cpu", 1, {"spinning": "off"}),)},
        ("spinning", "off"),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_was_measured_differently_is_refused_unless_allowed(case: str) -> None:
    aspect, changed, words = REFUSED[case]
    a, b = document(sweep(), machine=POWER), document(sweep(), **{"machine": POWER, **changed})
    with pytest.raises(InputError, match=f"do not compare.*--allow {aspect} ") as caught:
        compare(a, b)
    for word in words:
        assert word in str(caught.value)
    with pytest.raises(InputError, match="do not compare"):
        compare(a, b, allow=[other for other in ASPECTS if other != aspect])
    allowed = compare(a, b, allow=[aspect])
    assert allowed.differences
    assert {difference.aspect for difference in allowed.differences} == {aspect}


@pytest.mark.parametrize(
    ("changed", "aspect", "words"),
    [
        ({"evaluation": dataclasses.replace(EVALUATION, sha256="f" * 64)}, "evaluation-set", ("eeee", "ffff")),
        ({"classes": ("cat", "dog")}, "evaluation-set", ("10 classes", "2 classes (cat, dog")),
        ({"batch_size": 4}, "batch-size", ("A 1", "B 4")),
    ],
)
def test_rows_on_other_data_are_refused_unless_allowed(
    changed: dict[str, Any], aspect: str, words: tuple[str, ...]
) -> None:
    a, b = [row(1, 580, 1.0), row(2, 590, 2.0)], [row(1, 580, 1.0, **changed), row(2, 590, 2.0, **changed)]
    with pytest.raises(InputError, match=f"--allow {aspect} ") as caught:
        compared(a, b)
    for word in words:
        assert word in str(caught.value)
    assert len(compared(a, b, [aspect]).pairs) == 2


def test_several_differences_are_named_together() -> None:
    with pytest.raises(InputError, match="--allow method,batch-size "):
        compared([row(1, 580, 1.0)], [row(1, 580, 1.0, batch_size=2)], preset="standard")


def test_what_cannot_be_allowed_and_what_has_no_counterpart_is_refused() -> None:
    with pytest.raises(InputError, match="Did you mean 'power-mode'"):
        compared(sweep(), sweep(), ["power-mod"])
    with pytest.raises(InputError, match="no row of A stands in B: A holds digits T=1 fp32; B holds other T=1 fp32"):
        compared([row(1, 580, 1.0, sha256="1" * 64)], [row(1, 580, 1.0, name="other", sha256="2" * 64)])


def test_the_command_shows_both_and_says_what_a_ratio_is_worth(write: Callable[..., Path], tmp_path: Path) -> None:
    b = retrained([row(1, 560, 0.104, unstable=True), row(2, 586, 0.101, precision="int8"), twin(590, 0.049)])
    result = invoke(write("a", sweep()), write("b", b), "--output", tmp_path / "out" / "both.md")
    assert result.exit_code == 0, result.output
    markdown = (tmp_path / "out" / "both.md").read_text(encoding="utf-8")
    for text in (" ".join(result.stdout.split()), markdown):
        for words in ("B UNSTABLE", "digits T=1 fp32: UNSTABLE in B", "-3.18", "2.00", "not of one interleaved run",
                      "Only in A: digits T=2 fp32, digits T=4 fp32, digits T=8 fp32", "Only in B: digits T=2 int8",
                      "Not the same files", "aaaaaaaaaaaa", "bbbbbbbbbbbb"):  # fmt: skip
            assert words in text, words
    table = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 2 * 4
    assert len({line.count("|") for line in table}) == 1


@pytest.mark.parametrize("rows", [sweep(), on_a_gpu()], ids=["cpu", "gpu"])
def test_a_narrow_terminal_breaks_no_line_of_the_table(write: Callable[..., Path], rows: list[Row]) -> None:
    text = invoke(write("a", rows), write("b", rows), width=80).stdout
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert (
        sum(line.startswith("  A ") for line in lines) == sum(line.startswith("  95 %") for line in lines) == len(rows)
    )
    assert ("module" in text and "±" in text) == bool(rows[0].energy)


def test_the_json_holds_the_numbers(write: Callable[..., Path]) -> None:
    result = invoke(write("a", on_a_gpu()), write("b", on_a_gpu()), "--json")
    assert result.exit_code == 0
    (found,) = json.loads(result.stdout)["comparisons"]
    assert len(found["rows"]) == 8
    first = found["rows"][0]
    assert first["ratios"] == dict.fromkeys(("p50", "mean", "p90", "p99", "compute_p50", "energy"), 1.0)
    assert first["interval"][0] < 1 < first["interval"][1]
    assert (first["same_file"], first["energy_source"]) == (True, "vdd_in")
    assert first["a"]["latency"]["p50"] == first["b"]["latency"]["p50"]


def test_a_row_that_failed_in_one_report_has_dashes(write: Callable[..., Path]) -> None:
    result = invoke(write("a", [row(2, 586, 1.0)]), write("b", [failed(2)]))
    assert result.exit_code == 0, result.output
    assert "not measured in B (self-test failed: the logits differ by 3)" in " ".join(result.stdout.split())


def test_a_report_without_traces_is_compared_without_intervals(write: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "printed.json").write_text(json.dumps(document(sweep()).to_dict(traces=False)))
    (found,) = json.loads(invoke(write("a", sweep()), tmp_path / "printed.json", "--json").stdout)["comparisons"]
    assert {row["interval"] for row in found["rows"]} == {None}
    assert found["rows"][0]["ratio"] == 1


def test_anyway_and_allow_let_through_and_say_so(write: Callable[..., Path]) -> None:
    a, b = write("a", sweep()), write("b", sweep(), preset="long", seconds=60.0)
    fails(invoke(a, b), "do not compare", "preset: A quick, B long", "--allow method")
    for options in (("--anyway",), ("--allow", "method, power-mode")):
        text = " ".join(invoke(a, b, *options).stdout.split())
        assert "Compared all the same, though they differ. preset: A quick, B long" in text


def broken(change: Callable[[dict[str, Any]], object]) -> str:
    made = document(sweep()).to_dict()
    change(made)
    return json.dumps(made)


WRONG: dict[str, tuple[str, tuple[str, ...]]] = {
    "no JSON": ("{", ("is not valid JSON",)),
    "a list": ("[1]", ("is no report of tks-edge",)),
    "another tool's": ('{"schema_version": "1.0", "rows": []}', ("is no report of tks-edge",)),
    "a profile": (
        json.dumps({"artifact": "a.onnx", "preset": "quick", "latency": {}}),
        ("is the output of `profile`", "Give the report.json"),
    ),
    "older": (broken(lambda d: d.update(schema_version=1)), ("schema 1", "Measure again: tks-edge report artifacts/")),
    "newer": (broken(lambda d: d.update(schema_version=SCHEMA_VERSION + 1)), ("Update tks-edge",)),
    "a missing field": (broken(lambda d: d["rows"][0].pop("latency")), ("damaged", "report.rows[0] lacks latency")),
    "a wrong type": (broken(lambda d: d["rows"][0].update(timesteps="2")), ("damaged", "timesteps is '2', not int")),
    "rows that are none": (broken(lambda d: d.update(rows=7)), ("damaged", "report.rows")),
    "a row that is none": (broken(lambda d: d.update(rows=[7])), ("damaged", "report.rows[0]")),
    "a spoiled trace": (broken(lambda d: d["rows"][0]["traces"].update(e2e="AAAA")), ("damaged", "a trace is damaged")),
    "a cut trace": (
        broken(lambda d: d["rows"][0]["traces"].update(e2e=document([row(1, 9, 1.0, samples=3)]).rows[0].traces.e2e)),  # type: ignore[union-attr]
        ("damaged", "a trace holds 3 runs, its row says 2000"),
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_is_no_report_of_this_version_is_refused(
    write: Callable[..., Path], tmp_path: Path, case: str
) -> None:
    text, words = WRONG[case]
    (tmp_path / "wrong.json").write_text(text)
    good = write("good", sweep())
    fails(invoke(good, tmp_path / "wrong.json"), "wrong.json", *words)
    fails(invoke(tmp_path / "wrong.json", good), "wrong.json", *words)


def test_a_missing_file_and_an_output_that_cannot_be_written_are_refused(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    good = write("good", sweep())
    fails(invoke(good, tmp_path / "none.json"), "none.json", "No such file")
    (tmp_path / "folder.md").mkdir()
    result = invoke(good, good, "--output", tmp_path / "folder.md")
    assert result.exit_code == 2
    assert "it is a folder" in result.stderr
    fails(invoke(good, good, "--output", tmp_path / "both.pdf"), "both.pdf", ".md", ".html")
    fails(invoke(good, *[good] * 26), "27 reports are too many", "at most 26")


def test_several_are_each_held_against_the_first(write: Callable[..., Path], tmp_path: Path) -> None:
    slower = retrained([row(1, 579, 0.104), row(2, 586, 0.202)])
    result = invoke(
        write("a", sweep()), write("b", sweep()), write("c", slower), "--json", "--output", tmp_path / "all.md"
    )
    assert result.exit_code == 0, result.output
    one, other = json.loads(result.stdout)["comparisons"]
    assert [row["ratios"]["p50"] for row in one["rows"]] == [1.0] * 5
    assert [row["ratios"]["p50"] for row in other["rows"]] == pytest.approx([2.0, 2.0], rel=0.01)
    assert any(note.startswith("C: ") for note in other["notes"])
    assert any("(A aaaaaaaaaaaa, C bbbbbbbbbbbb)" in note for note in other["notes"])
    markdown = (tmp_path / "all.md").read_text(encoding="utf-8")
    assert markdown.index("## B beside A") < markdown.index("## C beside A")
    assert "C / A" in markdown
    with pytest.raises(InputError, match="preset: A quick, C long"):
        compare(document(sweep()), document(sweep(), preset="long"), letter="C")


def test_what_did_not_change_tells_what_the_machine_did(write: Callable[..., Path]) -> None:
    def rows(digest: str, slower: float) -> list[Row]:
        return [row(2, 586, 0.101 * slower, sha256=digest * 64), twin(590, 0.05 * slower, sha256="0" * 64)]

    text = " ".join(invoke(write("a", rows("1", 1.0)), write("b", rows("2", 1.1))).stdout.split())
    assert re.search(r"The same file in both took in B in units of A: digits-relu ReLU twin fp32 1\.(09|10)", text)
    text = " ".join(invoke(write("a", rows("1", 1.0)), write("b", rows("1", 1.1))).stdout.split())
    assert "The same file" not in text


def test_a_failed_self_test_without_a_finite_difference_is_read(write: Callable[..., Path]) -> None:
    row = failed(2)
    assert row.self_test is not None
    row = dataclasses.replace(row, self_test=dataclasses.replace(row.self_test, max_difference=float("nan")))
    report: ReportDocument = read_report(write("a", [row]))
    assert report.rows[0].status == FAILED
