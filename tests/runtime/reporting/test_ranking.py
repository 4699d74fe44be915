"""Twins, ratios, the Pareto front and the recommended T, from rows whose numbers are known."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.runtime.reporting.example import EVALUATION, failed, on_a_gpu, row, sweep, twin
from tks_edge_runtime.artifact import STEP, Accuracy
from tks_edge_runtime.reporting.ranking import groups, like_at_train, measured, ranked, reference_of, rival_of
from tks_edge_runtime.reporting.row import EarlyExit, Row


def chosen(rows: list[Row]) -> list[str]:
    return [row.file for row in ranked(rows) if row.recommended]


def front(rows: list[Row]) -> list[str]:
    return [row.file for row in ranked(rows) if row.pareto]


def test_the_front_holds_what_nothing_else_is_both_faster_and_more_accurate_than() -> None:
    rows = [row(1, 570, 1.0), row(2, 590, 2.0), row(4, 580, 3.0), row(8, 595, 4.0), twin(560, 1.5)]
    assert front(rows) == ["digits-t1-fp32.onnx", "digits-t2-fp32.onnx", "digits-t8-fp32.onnx"]


def test_the_twin_can_push_every_spiking_row_off_the_front() -> None:
    assert front(sweep()) == ["digits-relu-t1-fp32.onnx"]


def test_rows_on_different_evaluation_sets_do_not_dominate_each_other() -> None:
    other = dataclasses.replace(EVALUATION, sha256="f" * 64)
    rows = [row(1, 590, 1.0), row(1, 500, 9.0, name="other", evaluation=other)]
    assert len(front(rows)) == 2


def test_the_fastest_within_one_point_is_recommended() -> None:
    assert chosen(sweep()) == ["digits-t2-fp32.onnx"]


def test_exactly_one_point_is_within_one_point() -> None:
    rows = [row(1, 978, 1.0, total=1000), row(2, 979, 1.5, total=1000), row(8, 989, 2.0, total=1000)]
    assert chosen(rows) == ["digits-t2-fp32.onnx"]


def test_without_the_artifact_at_t_train_the_recorded_accuracy_is_the_reference() -> None:
    recorded = Accuracy(8, 590, 597)
    rows = [row(1, 570, 1.0, recorded_train_accuracy=recorded), row(2, 588, 2.0, recorded_train_accuracy=recorded)]
    assert chosen(rows) == ["digits-t2-fp32.onnx"]


def test_without_any_reference_nothing_is_recommended() -> None:
    assert chosen([row(1, 590, 1.0), row(2, 590, 2.0)]) == []


def test_each_precision_is_judged_by_itself_and_against_its_own_t_train_first() -> None:
    rows = [
        row(1, 580, 1.0),
        row(8, 590, 4.0),
        row(1, 572, 0.5, precision="int8"),
        row(8, 575, 2.0, precision="int8"),
        row(1, 585, 0.7, precision="fp16"),
    ]
    assert chosen(rows) == ["digits-t8-fp32.onnx", "digits-t1-int8.onnx", "digits-t1-fp16.onnx"]


def test_an_early_exit_is_held_against_a_run_of_all_steps_and_never_against_itself() -> None:
    exits = row(8, 588, 0.07, form=STEP, early_exit=EarlyExit("margin", 0.05, (590, 0, 0, 0, 0, 0, 0, 7)))
    stepped, static = row(8, 589, 0.45, form=STEP), row(8, 589, 0.4)
    for rows, expected in (([exits, stepped, static], stepped), ([exits, static], static)):
        group = groups(rows)[0]
        reference = reference_of(group, rows)
        assert reference is not None
        assert like_at_train(exits, group, reference) is expected


def test_the_same_graph_on_two_devices_of_one_backend_has_two_names() -> None:
    made: dict[str, Any] = {"backend": "openvino", "target": "openvino", "precision": "int8"}
    rows = ranked([row(2, 590, 1.0, device="cpu", **made), row(2, 590, 1.0, device="gpu", **made), row(2, 590, 1.0)])
    assert [one.variant for one in rows] == [
        "int8 openvino on openvino cpu",
        "int8 openvino on openvino gpu",
        "fp32 on onnxruntime",
    ]
    alone = ranked([row(2, 590, 1.0, **made), row(2, 590, 1.0, target="onnxruntime-cpu"), row(2, 590, 1.0)])
    assert [one.variant for one in alone] == ["int8 openvino", "fp32 onnxruntime-cpu", "fp32 on onnxruntime"]


def test_the_ratio_is_of_medians() -> None:
    rows = ranked([row(2, 590, 1.0), twin(590, 0.5)])
    latency, reference = rows[0].latency, rows[1].latency
    assert latency is not None
    assert reference is not None
    assert rows[0].twin == "digits-relu-t1-fp32.onnx"
    assert rows[0].ratio_to_twin == latency.p50 / reference.p50
    assert rows[1].twin is None


@pytest.mark.parametrize(
    "other",
    [
        {"model": "sew_resnet18"},
        {"evaluation": dataclasses.replace(EVALUATION, sha256="f" * 64)},
        {"classes": ("cat", "dog")},
    ],
)
def test_a_network_of_another_kind_or_on_another_set_is_no_twin(other: dict[str, object]) -> None:
    assert ranked([row(2, 590, 1.0), twin(590, 0.5, **other)])[0].twin is None


def test_ratios_of_every_precision_are_to_the_fp32_twin() -> None:
    rows = [
        row(2, 590, 1.0),
        row(2, 590, 0.4, precision="int8"),
        twin(595, 0.2, precision="int8"),
        twin(580, 0.4, name="weak"),
        twin(590, 0.5, name="strong"),
    ]
    found = ranked(rows)
    assert [row.twin for row in found[:2]] == ["strong-t1-fp32.onnx"] * 2
    assert found[1].ratio_to_twin == pytest.approx(0.8, rel=0.01)


def test_without_an_fp32_twin_ratios_are_to_that_of_the_rows_own_precision() -> None:
    rows = [row(2, 590, 0.4, precision="int8"), twin(595, 0.3, precision="fp16"), twin(590, 0.2, precision="int8")]
    assert ranked(rows)[0].twin == "digits-relu-t1-int8.onnx"
    assert ranked(rows[:2])[0].twin == "digits-relu-t1-fp16.onnx"


def test_the_rival_is_the_twin_of_the_rows_own_precision_then_the_fp32_one() -> None:
    rows = [row(2, 590, 0.4, precision="int8"), twin(590, 0.5), twin(595, 0.3, precision="fp16")]
    assert rival_of(rows[0], rows) == rows[1]
    own = twin(500, 0.9, precision="int8")
    assert rival_of(rows[0], [*rows, own]) == own
    assert rival_of(own, rows) is None


def test_of_the_graphs_that_hold_the_fastest_is_recommended() -> None:
    rows = [
        row(1, 500, 0.5),
        row(2, 588, 1.0),
        row(2, 588, 0.9, target="onnxruntime-cpu"),
        row(2, 500, 0.8, target="openvino"),
        row(2, 588, 1.1, form="step"),
        row(8, 590, 4.0),
        row(8, 589, 3.0, target="onnxruntime-cpu"),
    ]
    assert chosen(rows) == ["digits-t2-fp32-onnxruntime-cpu.onnx"]
    assert len(groups(rows)) == 1


def test_a_step_artifact_alone_is_judged_at_the_t_it_was_run_at() -> None:
    assert chosen([row(8, 590, 4.0, form="step")]) == ["digits-step-fp32.onnx"]


def test_the_accuracy_at_t_train_is_that_of_the_plain_static_graph_where_there_is_one() -> None:
    rows = [
        row(8, 570, 4.0, form="step"),
        row(8, 575, 3.0, target="openvino"),
        row(8, 590, 4.0),
        row(2, 588, 1.0, target="openvino"),
    ]
    (group,) = groups(rows)
    reference = reference_of(group, rows)
    assert reference is not None
    assert reference.row == rows[2]
    assert like_at_train(rows[3], group, reference) == rows[1]
    assert like_at_train(row(2, 588, 1.0, target="tensorrt"), group, reference) == rows[2]


def test_a_failed_row_is_neither_twin_nor_reference_nor_on_the_front() -> None:
    rows = ranked([row(1, 590, 1.0), failed(8), failed(1, is_twin=True, neuron="relu", name="digits-relu")])
    assert rows[0].twin is None
    assert [r.pareto for r in rows] == [True, False, False]
    assert not any(r.recommended for r in rows)


def test_noise_is_judged_by_the_interval_of_the_difference() -> None:
    assert measured(586, 597).within_noise_of(measured(589, 597))
    assert not measured(500, 597).within_noise_of(measured(589, 597))
    # The intervals of these two overlap; that of their difference does not hold 0.
    weaker, stronger = measured(570, 597), measured(584, 597)
    assert weaker.high > stronger.low
    assert not weaker.within_noise_of(stronger)
    # Newcombe (1998), table II, contrast (a): 56/70 and 48/80 give 0.0524 to 0.3339 by method 10.
    assert measured(56, 70).difference(measured(48, 80)) == pytest.approx((5.24, 33.39), abs=0.005)


def test_what_is_no_better_than_guessing_is_never_recommended() -> None:
    assert chosen([row(1, 60, 1.0), row(8, 62, 4.0)]) == []
    assert chosen([row(1, 60, 1.0), row(2, 588, 2.0), row(8, 590, 4.0)]) == ["digits-t2-fp32.onnx"]
    assert chosen([row(1, 100, 1.0), row(8, 102, 4.0)]) == ["digits-t1-fp32.onnx"]


def test_rows_with_a_cuda_graph_are_held_against_a_twin_with_one() -> None:
    found = ranked(on_a_gpu())
    for one in found:
        if not one.is_twin:
            other = next(r for r in found if r.is_twin and r.cuda_graph == one.cuda_graph)
            assert one.typical is not None
            assert other.typical is not None
            assert one.ratio_to_twin == one.typical / other.typical
    (pick,) = [one for one in found if one.recommended]
    assert (pick.timesteps, pick.cuda_graph) == (2, True)
