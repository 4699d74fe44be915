"""Early exit, estimated energy and the layers in a report of real artifacts."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from tests.few_plots import DRAW, few_plots
from tests.runtime.conftest import BuildSpiking, SpikingArtifact
from tests.runtime.reporting.example import row, twin
from tests.runtime.spiking import LAYERS
from tks_edge_runtime import presets
from tks_edge_runtime.artifact import STATIC, STEP, LayerSpec
from tks_edge_runtime.energy_estimate import ACCUMULATE_PJ, METHOD, MULTIPLY_ACCUMULATE_PJ
from tks_edge_runtime.errors import ArtifactError
from tks_edge_runtime.exit_rule import CalibratedRule, write_exit_rule
from tks_edge_runtime.files import sha256_of
from tks_edge_runtime.reporting.build import report
from tks_edge_runtime.reporting.columns import columns_of
from tks_edge_runtime.reporting.conclusion import conclude
from tks_edge_runtime.reporting.document import ReportDocument, schema
from tks_edge_runtime.reporting.ranking import ranked
from tks_edge_runtime.reporting.reading import read_report
from tks_edge_runtime.reporting.row import EarlyExit, Row

SPECS = (
    LayerSpec("body.0", "weights", 1000, "analogue", 0.5),
    LayerSpec("body.1", "weights", 2000, "spikes", 0.25),
)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(presets.PRESETS, "quick", 0.05)
    monkeypatch.setattr(DRAW, few_plots)


def keep_rule(built: SpikingArtifact, threshold: float) -> None:
    write_exit_rule(
        built.path,
        CalibratedRule(sha256_of(built.path), "confidence", threshold, 4, "digits", "validation", 12, 0.0, 12, 12, 1.5),
    )


@pytest.fixture
def folder(build_spiking: BuildSpiking) -> Path:
    """A static graph of T=1, 2 and 4, and a step graph with a rule beside it that stops some samples at once."""
    for timesteps in (1, 2, 4):
        build_spiking(form=STATIC, timesteps=timesteps, layers=SPECS)
    built = build_spiking(form=STEP, timesteps=4, layers=SPECS)
    keep_rule(built, 0.4)
    return built.path.parent


def reported(folder: Path) -> ReportDocument:
    return report(folder, folder.parent / "report", threads=1)


def early(document: ReportDocument) -> Row:
    (found,) = (one for one in document.rows if one.early_exit is not None)
    return found


def test_a_step_artifact_with_a_rule_has_a_row_with_and_one_without_early_exit(folder: Path) -> None:
    document = reported(folder)
    stepped = [one for one in document.rows if one.form == STEP]
    assert len(stepped) == 2
    found = early(document)
    assert found.early_exit is not None
    assert found.early_exit.stopped is not None
    assert found.early_exit.refilled_per_second is None
    assert found.early_exit.expected_ms is not None
    assert sum(found.early_exit.stopped) == 12
    assert found.early_exit.mean_steps is not None
    assert 1 <= found.early_exit.mean_steps < 4
    assert found.latency is not None
    assert (found.typical, found.typical_name) == (found.early_exit.expected_ms, "expected")
    assert found.latency.min < found.early_exit.expected_ms < found.latency.max
    assert found.title.startswith("spiking T<=4 fp32 step")
    assert found.title.endswith("early exit")
    assert not [text for text in found.warnings if "latency varies" in text]
    written = json.loads((folder.parent / "report" / "report.json").read_text(encoding="utf-8"))
    jsonschema.validate(written, schema())
    assert read_report(folder.parent / "report" / "report.json") == document


def test_its_accuracy_never_stands_in_for_that_at_t_of_the_training() -> None:
    rows = ranked(
        [
            row(8, 589, 0.4),
            row(8, 500, 0.06, form=STEP, early_exit=EarlyExit("margin", 0.1, (590, 0, 0, 0, 0, 0, 0, 7))),
        ]
    )
    assert [one.recommended for one in rows] == [True, False]


def test_what_stopping_early_gives_is_said_against_static_graphs_of_few_timesteps() -> None:
    stopped = EarlyExit("margin", 0.0543, (580, 10, 0, 0, 0, 0, 0, 7))
    exits = row(8, 588, 0.07, form=STEP, early_exit=stopped)
    rows = ranked([row(1, 579, 0.05), row(2, 586, 0.1), row(8, 589, 0.4), exits, twin(590, 0.049)])
    assert exits.typical is not None
    (conclusion,) = conclude(rows)
    (sentence,) = [text for text in conclusion.sentences if text.startswith("Early exit")]
    assert "margin 0.0543) stops after 1.10 steps a sample on average, with accuracy 98.49 %" in sentence
    assert "times slower than static T=1, whose accuracy is 96.98 %" in sentence
    assert "times faster than static T=2, whose accuracy is 98.16 %" in sentence
    assert "static T=8" not in sentence


def test_of_batches_the_latency_is_of_the_last_sample_and_refilled_ones_are_a_rate_of_their_own(
    build_spiking: BuildSpiking,
) -> None:
    build_spiking(form=STATIC, timesteps=1, batch=2)
    built = build_spiking(form=STEP, timesteps=4, batch=2)
    keep_rule(built, 0.4)
    document = reported(built.path.parent)
    found = early(document).early_exit
    assert found is not None
    assert found.refilled_per_second is not None
    assert found.refilled_per_second > 0
    told = " ".join(sentence for conclusion in document.conclusions for sentence in conclusion.sentences)
    assert "ms for a batch of 2, until its last sample stops, the rule included" in told
    assert (
        f"passes {found.refilled_per_second:.0f} samples a second over the evaluation set, once and without warm-up"
        in told
    )
    assert " of spiking-t1-fp32.onnx." in told
    jsonschema.validate(document.to_dict(), schema())


def test_too_few_runs_to_see_every_sample_are_a_warning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(presets.PRESETS, "quick", 1e-4)
    found = early(reported(folder))
    assert found.latency is not None
    assert found.latency.n < 12
    assert any("fewer than the 12 batches in rotation" in warning for warning in found.warnings)


def test_energy_is_estimated_in_a_column_of_its_own_and_early_exit_in_proportion(folder: Path) -> None:
    document = reported(folder)
    full = (1000 * MULTIPLY_ACCUMULATE_PJ + 2000 * 0.25 * ACCUMULATE_PJ) * 1e-9
    for one in document.rows:
        assert one.estimate is not None
        steps = one.early_exit.mean_steps if one.early_exit is not None else 4.0
        assert steps is not None
        assert one.estimate.mj == pytest.approx(full * steps / 4)
    columns = {column.key: column for column in columns_of(document.rows)}
    assert METHOD in columns["estimate"].meaning
    assert columns["estimate"].cell(document.rows[0]) == "0.00000505"
    assert columns["energy"].cell(document.rows[0]) == "\N{EN DASH}" or document.rows[0].energy


def test_the_layers_of_what_is_asked_about_first_are_timed(folder: Path) -> None:
    document = reported(folder)
    profiled = [one for one in document.rows if one.layer_profile is not None]
    assert profiled
    assert all(one.early_exit is None for one in profiled)
    for one in profiled:
        assert one.layer_profile is not None
        assert [layer.path for layer in one.layer_profile.layers][: len(LAYERS)] == list(LAYERS)
        assert sum(layer.share for layer in one.layer_profile.layers) == pytest.approx(1)


def test_artifacts_that_do_not_say_which_layers_they_have_are_reported_without(build_spiking: BuildSpiking) -> None:
    folder = build_spiking(form=STATIC).path.parent
    document = reported(folder)
    assert [(one.estimate, one.layers, one.layer_profile) for one in document.rows] == [(None, (), None)]
    assert "estimate" not in {column.key for column in columns_of(document.rows)}


def test_a_rule_of_another_file_ends_the_report_before_anything_is_measured(
    folder: Path, build_spiking: BuildSpiking
) -> None:
    build_spiking(form=STEP, timesteps=4, seed=1)
    with pytest.raises(ArtifactError, match="was chosen for another artifact"):
        reported(folder)
