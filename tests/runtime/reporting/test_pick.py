"""Which artifact is picked within bounds, why, what comes second, and what the nearest miss would need."""

from __future__ import annotations

import dataclasses
import random

import pytest

from tests.runtime.reporting.example import EVALUATION, RAIL, failed, row, twin
from tks_edge_runtime.artifact import STEP
from tks_edge_runtime.energy import Covers, EnergyUse
from tks_edge_runtime.errors import InputError
from tks_edge_runtime.reporting.bounds import Bounds, misses
from tks_edge_runtime.reporting.document import Answer
from tks_edge_runtime.reporting.pick import pick, selected
from tks_edge_runtime.reporting.ranking import ranked
from tks_edge_runtime.reporting.row import EarlyExit, Row
from tks_edge_runtime.reporting.wording import milliseconds

ROWS = ranked(
    [
        row(1, 579, 0.052),
        row(2, 586, 0.101),
        row(4, 588, 0.197),
        row(8, 589, 0.402),
        row(2, 583, 0.045, precision="int8"),
        twin(590, 0.049),
    ]
)
T1, T2, T4, T8, INT8, TWIN = range(6)


def told(answer: Answer) -> str:
    return " ".join(answer.sentences)


def test_of_those_that_keep_a_bound_on_accuracy_the_fastest_is_shipped() -> None:
    answer = pick(ROWS, Bounds(min_accuracy=97.5))
    assert (answer.row, answer.runner_up) == (INT8, TWIN)
    assert answer.headline == "Ship digits T=2 int8"
    assert "The fastest of 5 rows with accuracy of at least 97.5 %, of 6 in all." in told(answer)


def test_of_those_that_keep_a_bound_on_latency_the_most_accurate_is_shipped() -> None:
    answer = pick(ROWS, Bounds(max_latency=0.3), spiking_only=True)
    assert answer.row == T4
    assert answer.preference == "accuracy"
    assert pick(ROWS, Bounds(max_latency=0.3, prefer="latency"), spiking_only=True).row == INT8


def test_the_relu_twin_is_shipped_where_it_is_better() -> None:
    answer = pick(ROWS, Bounds(max_latency=0.3))
    assert answer.row == TWIN
    assert "That is the plain ReLU network" in told(answer)
    best = "Runner-up and the best spiking one: digits T=4 fp32, 4.02 times as slow, 0.34 points less accurate"
    assert best in told(answer)


def test_without_bounds_it_is_the_fastest_within_a_point_of_the_training() -> None:
    answer = pick(ROWS)
    assert answer.row == TWIN  # 0.049 ms; int8 loses more than a point
    assert answer.asked == "accuracy within 1 point of T=8 (at least 97.66 %)"
    assert pick(ROWS, spiking_only=True).row == T2


def test_within_noise_of_the_bound_says_so() -> None:
    answer = pick(ROWS, Bounds(min_accuracy=97.6), spiking_only=True)
    assert answer.row == INT8
    assert "Its accuracy is within noise of the bound: the interval of 597 samples reaches from 96." in told(answer)


def test_a_row_that_misses_by_noise_and_would_be_better_is_named() -> None:
    answer = pick(ROWS, Bounds(min_accuracy=98.0), spiking_only=True)
    assert answer.row == T2
    assert "digits T=2 int8 misses the accuracy by 0.35 points, within noise of the bound, and is 2.2" in told(answer)


def test_the_nearest_misses_come_with_what_they_would_need() -> None:
    answer = pick(ROWS, Bounds(max_latency=0.04, min_accuracy=97))
    assert (answer.row, answer.runner_up, answer.sentences) == (None, None, ())
    assert answer.headline == "Nothing here has latency of at most 0.0400 ms and accuracy of at least 97 %"
    assert answer.misses[0].startswith("digits T=2 int8 needs 0.0400 ms instead of 0.04")
    assert len(answer.misses) == 3


def test_every_bound_that_is_missed_is_named() -> None:
    found = misses(ROWS[T1], Bounds(max_latency=0.04, min_accuracy=98))
    assert len(found) == 2
    assert "1.02 points more accuracy than its 96.98 %, within noise of the bound" in found[1].need


def test_a_percentile_with_too_few_runs_is_no_latency() -> None:
    rows = ranked([row(1, 579, 0.052, samples=200), row(8, 589, 0.4, samples=200)])
    answer = pick(rows, Bounds(max_latency=1, percentile="p99"))
    assert answer.row is None
    assert "is out: its p99 is n/a (needs 662)" in answer.misses[0]
    assert pick(rows, Bounds(max_latency=1, percentile="p90")).row is not None


def test_another_percentile_can_reverse_the_order() -> None:
    calm, hasty = ROWS[T2], ROWS[INT8]
    assert hasty.latency is not None
    hasty = dataclasses.replace(hasty, latency=dataclasses.replace(hasty.latency, p99=9.0))
    assert pick((calm, hasty), Bounds(min_accuracy=97)).row == 1
    assert pick((calm, hasty), Bounds(min_accuracy=97, percentile="p99")).row == 0


def test_early_exit_is_bounded_by_what_is_expected_and_by_its_median_only_where_that_is_asked_for() -> None:
    rule = EarlyExit("margin", 0.1, (590, 0, 0, 0, 0, 0, 0, 7), expected_ms=0.3)
    made = row(8, 588, 0.05, form=STEP, early_exit=rule)
    assert pick((made,), Bounds(max_latency=0.2)).misses[0].endswith("ms instead of 0.300 (expected), 33 % less.")
    answer = pick((made,), Bounds(max_latency=0.4))
    assert "expected 0.300 ms, end to end" in told(answer)
    answer = pick((made,), Bounds(max_latency=0.2, percentile="p50"))
    assert answer.row == 0
    assert answer.asked == "p50 of at most 0.200 ms"
    assert made.latency is not None
    assert f"p50 {milliseconds(made.latency.p50)} ms, end to end" in told(answer)


def test_rows_of_different_turns_are_compared_in_units_of_their_anchors() -> None:
    # The second turn ran on a machine that was half as fast.
    first = [dataclasses.replace(one, anchor_ms=0.049) for one in (ROWS[T2], ROWS[T8])]
    second = dataclasses.replace(row(4, 588, 0.15), turn=1, anchor_ms=0.098)
    rows = ranked([*first, second])
    assert [one.recommended for one in rows] == [False, False, True]
    assert [one.pareto for one in rows] == [False, True, True]
    answer = pick(rows, Bounds(min_accuracy=96))
    assert answer.row == 2
    assert "Runner-up: digits T=2 fp32, 1.3" in told(answer)
    assert "times as slow" in told(answer)


def test_the_default_bound_names_the_t_of_the_network_that_it_comes_from() -> None:
    rows = ranked([row(4, 590, 0.1, train_timesteps=4), row(16, 560, 0.4, name="large", train_timesteps=16)])
    assert pick(rows).asked == "accuracy within 1 point of T=4 (at least 97.83 %)"


def with_energy(made: Row, mj: float) -> Row:
    return dataclasses.replace(made, energy=(EnergyUse("vdd_in", RAIL, "board", mj, 0.1, 6, 9.0, 4.0),))


def test_energy_is_bounded_where_it_was_measured() -> None:
    rows = (with_energy(ROWS[T2], 30.0), with_energy(ROWS[T4], 10.0))
    answer = pick(rows, Bounds(max_energy=20))
    assert answer.row == 1
    assert "20.0 mJ instead of 30.0" in answer.misses[0]
    assert pick(rows, Bounds(prefer="energy")).row == 1
    assert f"10.0 ±0.100 mJ ({RAIL})" in told(answer)
    unmeasured = pick(ROWS, Bounds(max_energy=20))
    assert unmeasured.row is None
    assert "its energy on cpu was not measured: nothing tells it" in unmeasured.misses[0]
    part = dataclasses.replace(ROWS[T2], energy=(EnergyUse("soc", "rail VDD_SOC", "part", 5.0, 0.1, 6, 9.0, 4.0),))
    assert "was not measured: only that of rail VDD_SOC" in pick((part,), Bounds(max_energy=20)).misses[0]


def test_an_energy_below_that_of_idling_is_no_energy_and_says_so() -> None:
    answer = pick((with_energy(ROWS[T2], -0.5),), Bounds(max_energy=20))
    assert answer.row is None
    assert "was no more than idling took" in answer.misses[0]


@pytest.mark.parametrize(
    ("device", "covered", "counted"),
    [
        ("cpu", ("gpu", "processor"), "processor"),
        ("cuda", ("processor", "gpu"), "gpu"),
        ("cuda", ("processor", "part"), None),
        ("cpu", ("gpu", "part"), None),
        ("cuda", ("gpu", "gpu"), None),
        ("cuda", ("processor", "gpu", "board"), "board"),
    ],
)
def test_the_energy_of_a_row_is_of_the_board_or_of_what_it_computed_on(
    device: str, covered: tuple[Covers, ...], counted: str | None
) -> None:
    uses = tuple(EnergyUse(covers, covers, covers, 5.0, 0.1, 6, 9.0, 4.0) for covers in covered)
    found = dataclasses.replace(ROWS[T2], device=device, energy=uses).main_energy
    assert (None if found is None else found.source) == counted


def test_what_failed_is_never_shipped() -> None:
    rows = ranked([failed(1), row(8, 589, 0.4)])
    assert pick(rows, Bounds(max_latency=1)).row == 1
    assert pick((failed(1),), Bounds(max_latency=1)).row is None


def test_a_guess_is_never_shipped() -> None:
    rows = ranked([row(1, 60, 0.052), row(8, 60, 0.4)])
    answer = pick(rows, Bounds(max_latency=1))
    assert answer.row is None
    assert "no better than guessing" in answer.misses[0]


def test_an_unstable_pick_says_so() -> None:
    answer = pick((dataclasses.replace(ROWS[T2], unstable=True),), Bounds(max_latency=1))
    assert "UNSTABLE" in told(answer)


def test_accuracies_on_other_sets_do_not_compare() -> None:
    other = dataclasses.replace(EVALUATION, dataset="cifar10", sha256="f" * 64)
    rows = (*ROWS, row(2, 500, 0.1, name="cifar", evaluation=other))
    with pytest.raises(InputError, match=r"digits on digits test .*; cifar on cifar10 test .*Measure networks of one"):
        pick(rows)
    with pytest.raises(InputError, match="Give --network"):
        selected(rows, network=None)
    chosen = selected(rows, network="cifar")
    assert [one.name for one in chosen] == ["cifar"]
    assert pick(chosen, Bounds(max_latency=1)).row == 0


def test_an_unknown_network_is_named_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown network 'digit'\. Did you mean 'digits'"):
        selected(ROWS, network="digit")


def test_two_trainings_under_one_name_are_refused() -> None:
    rows = (row(1, 579, 0.05, weights_sha256="1" * 64), row(2, 586, 0.1, weights_sha256="2" * 64))
    with pytest.raises(InputError, match="both called digits and come from two trainings"):
        selected(rows, network=None)


@pytest.mark.parametrize("seed", range(20))
def test_the_pick_keeps_every_bound_and_nothing_that_does_is_better(seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 - rows, not secrets
    rows = ranked(
        [row(1 + place % 8, draw.randint(500, 597), draw.uniform(0.05, 0.5), name=f"n{place}", samples=100)
         for place in range(8)]
    )  # fmt: skip
    bounds = Bounds(max_latency=draw.uniform(0.05, 0.5), min_accuracy=draw.uniform(85, 99))
    answer = pick(rows, bounds)
    assert bounds.max_latency is not None
    assert bounds.min_accuracy is not None
    keeping = [
        one.typical
        for one in rows
        if one.typical is not None and one.typical <= bounds.max_latency
        if one.accuracy is not None and one.accuracy.percent >= bounds.min_accuracy
    ]
    assert (answer.row is None) == (not keeping)
    if answer.row is not None:
        assert rows[answer.row].typical == min(keeping)
