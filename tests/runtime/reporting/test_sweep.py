"""A sweep of real artifacts, measured for moments: turns, what is kept and measured again, rows that fail."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from tests.few_plots import DRAW, few_plots
from tests.runtime.conftest import Build
from tests.runtime.reporting.test_build import SAMPLES, TWIN, spoil_golden
from tks_edge_runtime import cli, presets
from tks_edge_runtime.artifact import Accuracy, EvaluationSpec, find_artifacts
from tks_edge_runtime.device import facts
from tks_edge_runtime.errors import InputError
from tks_edge_runtime.files import sha256_of
from tks_edge_runtime.reporting import sweep as sweeping
from tks_edge_runtime.reporting import turns as storing
from tks_edge_runtime.reporting.bounds import Bounds
from tks_edge_runtime.reporting.candidates import Candidate, candidates_of, engines_of
from tks_edge_runtime.reporting.collect import Collection, collect
from tks_edge_runtime.reporting.document import DeviceStates, ReportDocument, schema
from tks_edge_runtime.reporting.reading import read_report
from tks_edge_runtime.reporting.row import NOT_EXPORTED
from tks_edge_runtime.reporting.sweep import Plan, sweep

BOTH = "onnxruntime,openvino"


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(presets.PRESETS, "quick", 0.02)
    monkeypatch.setitem(presets.PRESETS, "long", 0.03)
    monkeypatch.setattr(DRAW, few_plots)


@pytest.fixture
def folder(build: Build, tmp_path: Path) -> Path:
    """A network at T=1, 2 and 8, its twin, and a graph lowered for OpenVINO alone, on one evaluation set."""
    made = tmp_path / "artifacts"
    made.mkdir()
    full = build(folder=made, timesteps=8, samples=SAMPLES, wrong=0)
    np.savez(made / "shared.eval.npz", inputs=full.inputs, labels=full.labels)
    evaluation = EvaluationSpec("digits", "test", SAMPLES, sha256_of(made / "shared.eval.npz"), "shared.eval.npz")
    given: dict[str, Any] = {"folder": made, "samples": SAMPLES, "evaluation": evaluation}
    for timesteps in (1, 2, 8):
        build(timesteps=timesteps, accuracies=(Accuracy(8, SAMPLES, SAMPLES),), **given)
    build(name="lowered", timesteps=2, target="openvino", **given)
    build(name="small-relu", timesteps=1, **given, **TWIN)
    return made


def candidates(folder: Path, engines: str = BOTH) -> list[Candidate]:
    artifacts = find_artifacts(folder)
    return candidates_of(artifacts, engines_of(engines, artifacts), threads=1, cuda_graph=False)


class Swept:
    """A sweep, and what it planned to do."""

    def __init__(self, folder: Path, preset: str = "quick", engines: str = BOTH, **options: Any) -> None:
        self.plan: Plan | None = None
        self.document = sweep(
            candidates(folder, engines),
            folder.parent / "sweep",
            command="tks-edge sweep",
            preset=preset,
            on_plan=self._keep,
            **options,
        )

    def _keep(self, plan: Plan) -> None:
        self.plan = plan

    @property
    def planned(self) -> tuple[int, list[int]]:
        """How many rows were kept, and how many each turn measures."""
        assert self.plan is not None
        return self.plan.kept, [len(turn) for turn in self.plan.turns]


def turns(folder: Path) -> list[Path]:
    return sorted((folder.parent / "sweep" / "turns").iterdir())


def test_each_artifact_is_measured_on_each_engine_that_it_is_for(folder: Path) -> None:
    document = Swept(folder).document
    found = sorted((row.file, row.backend) for row in document.rows)
    generic = ["small-relu-t1-fp32.onnx", "small-t1-fp32.onnx", "small-t2-fp32.onnx", "small-t8-fp32.onnx"]
    everywhere = [(file, backend) for file in generic for backend in ("onnxruntime", "openvino")]
    assert found == sorted([*everywhere, ("lowered-t2-fp32.onnx", "openvino")])
    assert {row.status for row in document.rows} == {"ok"}
    assert len({row.key for row in document.rows}) == len(document.rows)
    assert len({row.title for row in document.rows}) == len(document.rows)
    assert [one.name for one in document.backends] == ["onnxruntime", "openvino"]
    assert document.answer is not None
    assert document.answer.row is not None
    jsonschema.validate(document.to_dict(), schema())
    output = folder.parent / "sweep"
    assert read_report(output / "report.json") == document
    assert {path.name for path in output.iterdir()} == {"report.html", "report.json", "report.md", "turns"}


def test_what_is_finished_is_kept(folder: Path) -> None:
    first = Swept(folder)
    assert first.planned == (0, [9])
    again = Swept(folder)
    assert again.planned == (9, [])
    assert again.document.rows == first.document.rows
    assert len(turns(folder)) == 1


def test_turns_hold_so_many_rows_and_the_anchor_is_in_each(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "TURN", 4)
    swept = Swept(folder)
    assert swept.planned == (0, [4, 4, 3])
    files = [{row.file for row in read_report(path).rows if row.backend == "onnxruntime"} for path in turns(folder)]
    assert all("small-relu-t1-fp32.onnx" in of_turn for of_turn in files)
    rows = swept.document.rows
    assert {row.turn for row in rows} == {0, 1, 2}
    anchors = {row.turn: row.anchor_ms for row in rows}
    assert all(anchors.values())
    assert len(set(anchors.values())) == 3
    assert any("taken in units of it" in sentence for sentence in swept.document.method)
    twin = next(row for row in rows if row.is_twin and row.turn == 2)
    for row in rows:
        if row.twin == twin.file and row.turn != twin.turn and row.ratio_to_twin is not None:
            assert row.typical is not None
            assert row.anchor_ms is not None
            assert row.ratio_to_twin == pytest.approx(row.typical / row.anchor_ms, rel=0.5)


def test_an_interrupted_sweep_keeps_its_finished_turns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "TURN", 4)
    calls: list[Any] = []

    def interrupted(*given: Any, **options: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return collect(*given, **options)

    monkeypatch.setattr(sweeping, "collect", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Swept(folder)
    assert len(turns(folder)) == 1
    assert not (folder.parent / "sweep" / "report.json").exists()
    assert Swept(folder).planned == (4, [4, 3])


def test_another_method_is_measured_again_and_nothing_is_written_over(folder: Path) -> None:
    Swept(folder)
    before = {path: path.read_bytes() for path in turns(folder)}
    assert Swept(folder, preset="long").planned == (0, [9])
    assert len(turns(folder)) == 2
    assert all(path.read_bytes() == content for path, content in before.items())
    assert Swept(folder).planned == (9, [])


def test_another_state_of_the_machine_is_measured_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Swept(folder)
    monkeypatch.setattr(sweeping, "facts", lambda: facts() | {"power_mode": {"name": "15W", "id": 2}})
    assert Swept(folder).planned == (0, [9])


def test_another_version_of_the_tool_is_measured_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Swept(folder)
    monkeypatch.setattr(storing, "__version__", "99.0")
    assert Swept(folder).planned == (0, [9])


def test_what_was_measured_while_unstable_is_measured_again_and_kept_until_then(folder: Path) -> None:
    Swept(folder)
    (path,) = turns(folder)
    document = json.loads(path.read_text(encoding="utf-8"))
    for row in document["rows"]:
        row["unstable"] = row["file"] == "small-t8-fp32.onnx"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeping, "collect", lambda together, **_: Collection(
            tuple(one.row() for one in together), (), (), DeviceStates({}, (), {})))  # fmt: skip
        failing = Swept(folder)
    assert failing.planned == (7, [3])
    assert sum(row.unstable for row in failing.document.rows) == 2
    again = Swept(folder)
    assert again.planned == (7, [3])
    assert not any(row.unstable for row in again.document.rows)
    assert Swept(folder).planned == (9, [])


def test_a_twin_that_comes_later_is_measured_beside_what_all_turns_share(folder: Path) -> None:
    twins = {path: path.read_bytes() for path in folder.glob("small-relu-*")}
    for path in twins:
        path.unlink()
    Swept(folder, engines="onnxruntime")
    for path, content in twins.items():
        path.write_bytes(content)
    swept = Swept(folder, engines="onnxruntime")
    assert swept.planned == (4, [2])
    assert swept.plan is not None
    first = candidates(folder, "onnxruntime")[0].artifact.path.name
    assert [one.artifact.path.name for one in swept.plan.turns[0]] == [first, "small-relu-t1-fp32.onnx"]
    rows = swept.document.rows
    assert all(row.anchor_ms for row in rows)
    assert all(row.ratio_to_twin is not None for row in rows if not row.is_twin)
    assert all(engine.description["spinning"] == "off" for engine in swept.document.backends)


def test_what_is_said_of_the_method_is_said_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "TURN", 4)
    method = Swept(folder).document.method
    assert len(method) == len(set(method))
    for begun in ("Accuracy is top-1", "The ReLU twin is", "Measured in 3 turns"):
        assert sum(sentence.startswith(begun) for sentence in method) == 1


def test_two_trainings_under_one_name_are_refused_before_anything_is_measured(folder: Path, build: Build) -> None:
    build(folder=folder, timesteps=1, samples=SAMPLES, weights_sha256="1" * 64)
    build(folder=folder, timesteps=2, samples=SAMPLES, weights_sha256="2" * 64)
    with pytest.raises(InputError, match="come from two trainings"):
        Swept(folder)
    assert not (folder.parent / "sweep").exists()


def test_another_file_of_that_name_is_measured_again(folder: Path, build: Build) -> None:
    Swept(folder)
    build(folder=folder, timesteps=1, samples=SAMPLES, wrong=3)
    kept, measured = Swept(folder).planned
    assert (kept, measured) == (7, [3])  # the anchor beside the new file on both engines


def test_a_row_that_fails_says_why_and_is_tried_again(folder: Path) -> None:
    spoil_golden(folder)
    swept = Swept(folder)
    failed = {row.label: row.reason for row in swept.document.failed}
    assert set(failed) == {"small-t2-fp32.onnx on onnxruntime", "small-t2-fp32.onnx on openvino"}
    assert all("self-test failed" in str(reason) for reason in failed.values())
    assert Swept(folder).planned == (7, [3])


def test_a_graph_that_cannot_be_opened_does_not_end_the_sweep(folder: Path) -> None:
    (folder / "small-t8-fp32.golden.npz").unlink()
    document = Swept(folder).document
    assert {row.file for row in document.failed} == {"small-t8-fp32.onnx"}
    assert all("golden" in str(row.reason) for row in document.failed)
    assert len(document.rows) == 9


def test_what_could_not_be_exported_is_a_row(folder: Path) -> None:
    missing = dataclasses.replace(
        candidates(folder)[0].row(), file="small-t4-int8.onnx", sha256=None, size_bytes=0, status=NOT_EXPORTED,
        reason="int8 covers nothing here", backend="", device="",
    )  # fmt: skip
    document = Swept(folder, unexported=[missing]).document
    assert [(row.status, row.reason) for row in document.failed] == [(NOT_EXPORTED, "int8 covers nothing here")]
    jsonschema.validate(document.to_dict(), schema())
    text = (folder.parent / "sweep" / "report.md").read_text(encoding="utf-8")
    assert "failed to export" in text


def test_foreign_and_damaged_turns_are_left_out_and_left_alone(folder: Path) -> None:
    Swept(folder)
    place = folder.parent / "sweep" / "turns"
    (place / "turn-007.json").write_text("{", encoding="utf-8")
    (place / "notes.json").write_text('{"mine": true}', encoding="utf-8")
    (place / ".turn-008-x.partial.json").write_text("{", encoding="utf-8")
    swept = Swept(folder)
    assert swept.planned == (9, [])
    assert swept.plan is not None
    assert len(swept.plan.unreadable) == 2
    assert any("notes.json is no report" in text for text in swept.plan.unreadable)
    Swept(folder, preset="long")
    assert (place / "turn-008.json").is_file()
    assert (place / "turn-007.json").read_text(encoding="utf-8") == "{"


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [*map(str, arguments)])


def test_bounds_over_accuracies_that_do_not_compare_are_refused_before_anything_is_measured(
    folder: Path, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "collect", lambda *_, **__: pytest.fail("measuring begins"))
    build(folder=folder, timesteps=4, samples=SAMPLES)
    with pytest.raises(InputError, match="do not compare, since they are of different sets"):
        Swept(folder, bounds=Bounds(min_accuracy=90))
    assert not (folder.parent / "sweep").exists()


def test_the_commands_sweep_and_pick(folder: Path) -> None:
    output = folder.parent / "sweep"
    swept = invoke("sweep", folder, "--backend", BOTH, "--output", output, "--threads", 1, "--min-accuracy", "1%")
    assert swept.exit_code == 0, swept.stderr
    assert "measuring 9 in 1 turn" in swept.stdout.replace("\n", " ")
    assert f"next: tks-edge pick {output}" in swept.stdout.replace("\n", "")
    picked = invoke("pick", output, "--max-latency", "1s", "--json")
    assert picked.exit_code == 0, picked.stderr
    found = json.loads(picked.stdout)
    document: ReportDocument = read_report(output / "report.json")
    best = max(row.accuracy.percent for row in document.rows if row.accuracy is not None)
    assert found["pick"]["accuracy"] == best
    assert found["asked"] == "latency of at most 1000 ms"
    nothing = invoke("pick", output / "report.json", "--max-latency", "1ns")
    assert nothing.exit_code == 1
    assert "nothing fits" in nothing.stderr
    assert "Nearest misses:" in nothing.stdout


def test_a_sweep_that_did_not_end_says_so_when_it_is_picked_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = folder.parent / "sweep"

    def ended(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sweeping, "write_report", ended)
        with pytest.raises(KeyboardInterrupt):
            Swept(folder)
    result = invoke("pick", output)
    assert result.exit_code == 2
    assert "its sweep did not end. Run the sweep again" in result.stderr.replace("\n", " ")
    Swept(folder)
    whole = invoke("pick", output)
    assert "did not end" not in whole.output
    later = json.loads(turns(folder)[0].read_text(encoding="utf-8")) | {"created": "2999-01-01T00:00:00+00:00"}
    (output / "turns" / "turn-002.json").write_text(json.dumps(later, indent=2), encoding="utf-8")
    warned = invoke("pick", output, "--max-latency", "1s")
    assert warned.exit_code == 0
    assert "does not know of turn-002.json" in warned.stdout.replace("\n", " ")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--max-latency", "5m"], "whose unit 'm' is none of"),
        (["--min-accuracy", "0.9"], "may be a share of 1"),
        (["--percentile", "p98"], "Did you mean 'p99'"),
        (["--prefer", "speed"], "unknown preference"),
        (["--max-energy", "3ms"], "whose unit 'ms' is none of"),
        (["--network", "big"], "unknown network"),
    ],
)
def test_a_pick_that_cannot_be_made_is_refused(folder: Path, options: list[str], words: str) -> None:
    Swept(folder, engines="onnxruntime")
    result = invoke("pick", folder.parent / "sweep", *options)
    assert result.exit_code == 2
    assert words in result.stderr.replace("\n", " ")


def test_engines_are_named_once_and_must_have_something_to_run(folder: Path) -> None:
    artifacts = find_artifacts(folder)
    assert engines_of("onnxruntime:cpu, openvino", artifacts) == (("onnxruntime", "cpu"), ("openvino", "cpu"))
    with pytest.raises(InputError, match="twice"):
        engines_of("onnxruntime,onnxruntime:cpu", artifacts)
    with pytest.raises(InputError, match="unknown device"):
        engines_of("openvino:npu", artifacts)
    only = [artifact for artifact in artifacts if artifact.manifest.target == "openvino"]
    with pytest.raises(InputError, match="no artifact is for onnxruntime on cpu"):
        candidates_of(only, engines_of(BOTH, only), threads=None, cuda_graph=False)
    with pytest.raises(InputError, match="no CUDA graphs"):
        candidates_of(artifacts, engines_of(BOTH, artifacts), threads=None, cuda_graph=True)
