"""What the sentences say, for each way in which the numbers can fall out."""

from __future__ import annotations

import dataclasses

import pytest

from tests.runtime.reporting.example import document, failed, on_a_gpu, row, side_by_side, sweep, twin
from tks_edge_runtime.artifact import Accuracy
from tks_edge_runtime.reporting.document import Conclusion
from tks_edge_runtime.reporting.row import Row


def conclusion(rows: list[Row]) -> Conclusion:
    (found,) = document(rows).conclusions
    return found


def text(rows: list[Row]) -> str:
    found = conclusion(rows)
    return " ".join((found.headline, *found.sentences))


def test_it_names_the_pick_its_accuracy_and_its_latency_against_t_train() -> None:
    found = text(sweep())
    assert "T=2 is the fastest in the folder within 1 percentage point of T=8" in found
    assert "98.16 %, 95 % interval 96.73" in found
    assert "against 98.66 %, 95 % interval 97.38" in found
    assert "0.50 points less, within noise" in found
    assert "0.101 ms (median, end to end, batch 1), against 0.403 ms at T=8: 3.99 times faster" in found


@pytest.mark.parametrize(
    ("correct", "median", "verdict", "words"),
    [
        (590, 0.5, "twin", "the ReLU twin is the better choice here"),
        (586, 0.5, "twin", "2.00 times slower, with equal accuracy: the ReLU twin is the better choice here"),
        (590, 1.0, "tie", "as fast, with 0.67 points less accuracy (within noise): neither is the better choice here"),
        (585, 1 / 3, "twin", "3.00 times slower, with 0.17 points more accuracy (within noise): the ReLU twin is the"),
        (580, 2.0, "ship", "2.00 times faster, with 1.01 points more accuracy (within noise): the spiking network is"),
        (586, 2.0, "ship", "the spiking network is the better choice here"),
        (500, 0.5, "trade", "2.00 times slower, with 14.41 points more accuracy: a trade of latency for accuracy"),
        (590, 2.0, "ship", "2.00 times faster, with 0.67 points less accuracy (within noise): the spiking network is"),
        (597, 2.0, "trade", "2.00 times faster, with 1.84 points less accuracy: a trade of latency for accuracy, in"),
        (597, 1.0, "twin", "as fast, with 1.84 points less accuracy: the ReLU twin is the better choice here"),
        (500, 1.0, "ship", "as fast, with 14.41 points more accuracy: the spiking network is the better choice here"),
        (586, 1.01, "tie", "as fast, with equal accuracy: neither is the better choice here"),
    ],
)
def test_the_verdict_against_the_twin(correct: int, median: float, verdict: str, words: str) -> None:
    rows = [row(2, 586, 1.0), row(8, 586, 4.0), twin(correct, median)]
    found = conclusion(rows)
    assert found.verdict == verdict
    assert words in text(rows)
    assert ("but the ReLU twin is the better choice" in found.headline) == (verdict == "twin")


def test_a_gain_within_noise_never_ships_what_is_slower() -> None:
    found = conclusion([row(2, 588, 3.0), row(8, 588, 9.0), twin(587, 1.0)])
    assert found.verdict == "twin"
    assert "Ship" not in found.headline


def test_a_better_twin_is_in_the_headline() -> None:
    assert "the ReLU twin is the better choice here" in conclusion(sweep()).headline


def test_a_faster_twin_that_does_not_hold_the_accuracy_is_no_better_choice() -> None:
    """Though the difference of 1.2 points may be noise: what is to be shipped is chosen by the same bound."""
    spiking = [row(2, 588, 3.0), row(8, 588, 9.0)]
    found = conclusion([*spiking, twin(581, 1.0)])
    assert found.verdict == "trade"
    assert found.headline.endswith("T=2 holds its accuracy")
    assert "That twin is more than 1 percentage point below T=8." in " ".join(found.sentences)
    assert conclusion([*spiking, twin(581, 3.01)]).verdict == "tie"


def test_what_runs_on_another_engine_than_it_was_lowered_for_is_not_recommended() -> None:
    foreign = row(2, 588, 0.2, target="tensorrt")
    found = document([foreign, row(2, 588, 0.3), row(8, 588, 1.0)])
    assert found.conclusions[0].file == "digits-t2-fp32.onnx"
    assert not next(r for r in found.rows if r.target == "tensorrt").pareto
    assert found.answer is not None
    assert any(
        "tensorrt is out: it was lowered for tensorrt and run by onnxruntime" in one for one in found.answer.misses
    )
    said = " ".join(found.conclusions[0].sentences)
    assert "T=2 is the fastest in the folder on the engine it was lowered for within 1 percentage point" in said
    assert "Also at T=2: fp32 tensorrt 0.200 ms, lowered for tensorrt and run by onnxruntime" in said
    alone = document([foreign, row(8, 588, 1.0, target="tensorrt")]).conclusions[0]
    assert alone.verdict == "none"
    assert "holds the accuracy at T=8, but was lowered for tensorrt and run by onnxruntime" in alone.sentences[0]
    mixed = document([row(8, 588, 0.2, target="tensorrt"), row(1, 560, 0.3), failed(4)]).conclusions[0]
    assert "digits-t8-fp32-tensorrt.onnx holds the accuracy at T=8, but was" in " ".join(mixed.sentences)


def test_a_twin_on_another_engine_than_it_was_lowered_for_decides_nothing() -> None:
    spiking = [row(2, 588, 0.3), row(8, 588, 1.0)]
    foreign = twin(590, 0.1, target="tensorrt")
    alone = document([*spiking, foreign])
    assert alone.conclusions[0].verdict == "ship"
    assert "so whether spiking pays here is open" in " ".join(alone.conclusions[0].sentences)
    beside = document([*spiking, foreign, twin(586, 0.5)])
    assert beside.conclusions[0].verdict == "ship"
    assert beside.rows[0].twin == "digits-relu-t1-fp32.onnx"


def test_without_a_twin_it_names_the_commands_that_make_one() -> None:
    found = text([row(2, 586, 1.0), row(8, 586, 4.0)])
    assert "`tks-edge train --neuron relu --model tiny`" in found
    assert "`tks-edge export --timesteps 1`" in found


def test_each_precision_has_one_conclusion_with_its_forms_and_targets() -> None:
    found = document(side_by_side()).conclusions
    assert [(c.precision, c.file) for c in found] == [
        ("fp32", "digits-t2-fp32.onnx"),
        ("fp16", "digits-t2-fp16.onnx"),
        ("int8", "digits-t2-int8-onnxruntime-cpu.onnx"),
    ]
    assert "(int8 onnxruntime-cpu)" in found[2].headline
    texts = [" ".join(c.sentences) for c in found]
    step = "Step by step (digits-step-fp32.onnx), T=8 takes 0.423 ms: 1.05 times slower than one static graph."
    assert step in texts[0]
    assert "Also at T=2: int8 0.0405 ms (97.65 %)." in texts[2]
    assert "against 0.161 ms at T=8 (int8): 4.4" in texts[2]
    assert "Also at" not in texts[0]


def test_a_verdict_is_against_the_twin_of_the_same_precision_and_the_fp32_one_is_named_too() -> None:
    rows = [row(8, 590, 0.4, precision="int8"), twin(590, 1.0), twin(590, 0.2, precision="int8")]
    found = conclusion(rows)
    assert found.verdict == "twin"
    assert "The int8 ReLU twin takes 0.200 ms at 98.83 %. Against it, T=8 is 2.00 times slower" in text(rows)
    assert "Against the fp32 ReLU twin, at 1.00 ms, it is 2.5" in text(rows)
    found = conclusion(rows[:2])
    assert found.verdict == "ship"
    assert "The fp32 ReLU twin takes 1.00 ms" in text(rows[:2])


def test_a_reference_of_another_precision_is_named() -> None:
    rows = [row(2, 588, 0.4, precision="int8"), row(8, 590, 4.0)]
    found = " ".join(document(rows).conclusions[0].sentences)
    assert "of T=8 (fp32)." in found
    assert "ms at T=8 (fp32): " in found


@pytest.mark.parametrize(
    ("median", "words"), [(4.0, "as fast as one static graph"), (2.0, "2.00 times faster than one static graph")]
)
def test_step_by_step_may_cost_nothing(median: float, words: str) -> None:
    assert words in text([row(2, 588, 1.0), row(8, 588, 4.0), row(8, 588, median, form="step")])


def test_a_loss_that_is_more_than_noise_is_called_so() -> None:
    rows = [row(1, 49_600, 1.0, total=50_000), row(8, 50_000, 4.0, total=50_000)]
    assert "0.80 points less, more than noise" in text(rows)


def test_where_no_smaller_t_holds_it_says_so() -> None:
    assert "Nothing faster in the folder is within 1 percentage point of T=8" in text(
        [row(1, 500, 1.0), row(8, 590, 4.0)]
    )


def test_a_recorded_reference_is_named_as_one() -> None:
    assert "recorded at export" in text([row(2, 588, 2.0, recorded_train_accuracy=Accuracy(8, 590, 597))])


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row(1, 590, 1.0)], "`tks-edge export --timesteps 8`"),
        ([row(1, 500, 1.0, recorded_train_accuracy=Accuracy(8, 590, 597))], "No T in the folder is within 1"),
        ([row(1, 500, 1.0, recorded_train_accuracy=Accuracy(8, 590, 597))], "recorded at export and not measured here"),
        ([row(1, None, 1.0)], "no evaluation set"),
        ([failed(2)], "Failed: digits-t2-fp32.onnx"),
    ],
)
def test_where_no_t_can_be_recommended_it_says_why(rows: list[Row], words: str) -> None:
    found = conclusion(rows)
    assert (found.verdict, found.file) == ("none", None)
    assert words in text(rows)


def test_an_unstable_or_untrue_row_is_named() -> None:
    rows = [row(2, 586, 1.0, unstable=True, accuracy_as_trained=False), row(8, 586, 4.0)]
    assert "Measured while UNSTABLE: digits-t2-fp32.onnx" in text(rows)
    assert "differs from the trained network's" in text(rows)


def test_a_twin_alone_concludes_nothing() -> None:
    assert document([twin(590, 1.0)]).conclusions == ()


@pytest.mark.parametrize("twins", [[], [twin(590, 1.0)]])
def test_a_network_that_guesses_is_not_shipped(twins: list[Row]) -> None:
    rows = [row(2, 61, 1.0), row(8, 63, 4.0), *twins]
    found = conclusion(rows)
    assert (found.verdict, found.file) == ("none", None)
    assert "Ship" not in found.headline
    assert "At T=8 (fp32) the accuracy is no better than guessing: 10.55 %, 95 % interval 8.3" in text(rows)
    assert "naming one of the 10 classes at random gives 10.00 %" in text(rows)


def test_energy_is_stated_with_its_source_and_against_t_train_and_the_twin() -> None:
    found = text(on_a_gpu())
    assert "digits (fp32 CUDA graph): T=2 holds its accuracy" in found
    assert "Also at T=2: fp32 0.400 ms." in found
    assert (
        "Energy 0.800 ±0.100 mJ (module rail VDD_IN, not wall; idle subtracted), against 3.00 ±0.100 mJ at T=8 and "
        "1.00 ±0.100 mJ for the ReLU twin." in found
    )
    assert "Energy" not in text(sweep())
    lost = [dataclasses.replace(r, energy=(dataclasses.replace(r.energy[0], mj=-0.1),)) for r in on_a_gpu()]
    assert "Energy" not in text(lost)
