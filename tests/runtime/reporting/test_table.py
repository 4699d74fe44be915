"""The table of a report on a terminal: what fits is shown, no number is cut, and warnings do not bury the answer."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from tests.runtime.reporting.example import document, everything, printed, row, side_by_side, sweep, twin
from tks_edge_runtime.reporting.row import Row
from tks_edge_runtime.reporting.table import shortened
from tks_edge_runtime.reporting.wording import percentile, times


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_table_fits_and_shows_each_row_on_a_line(width: int) -> None:
    text = printed(document(sweep()[:4]), width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    for timesteps, accuracy in ((1, "96.98 (95.28"), (2, "98.16 (96.73"), (8, "98.66 (97.38")):
        (line,) = [line for line in text.splitlines() if re.match(rf"\s*digits +{timesteps} +fp32", line)]
        assert accuracy in line
        assert ("best T" in line) == (timesteps == 2)


def test_the_terminal_shows_every_kind_of_warning_and_every_failure() -> None:
    text = " ".join(printed(document(everything()), 100).split())
    for words in (
        "latency varies",
        "self-test failed: the logits differ by 3",
        "no evaluation set",
        "FAILED",
        "UNSTABLE",
    ):
        assert words in text


def test_one_warning_stands_for_all_of_its_kind() -> None:
    def warned(of: int) -> list[Row]:
        words = [f"latency varies: standard deviation {place + 3}.0% of the mean" for place in range(of)]
        return [row(place + 1, 586, 0.1, warnings=(text,)) for place, text in enumerate(words)]

    assert printed(document(warned(2)), 200).count("latency varies") == 2
    text = printed(document(warned(5)), 200)
    assert text.count("latency varies") == 1
    assert "5 of 5 rows: latency varies: standard deviation 3.0% of the mean (digits-t1-fp32.onnx; report.md" in text
    clocks = tuple(f"the clock of GPU {gpu} fell from {gpu + 1}.5 GHz" for gpu in range(4))
    assert printed(document([row(1, 586, 0.1, warnings=clocks)]), 200).count("fell from") == 4
    assert "3 of 3 rows: the clock of GPU 0 fell" in printed(
        document([row(place, 586, 0.1, warnings=clocks) for place in (1, 2, 4)]), 200
    )


def test_the_terminal_says_what_ratios_are_taken_to() -> None:
    unit = "\N{MULTIPLICATION SIGN} twin: latency over that of digits-relu-t1-fp32.onnx\n"
    assert unit in printed(document([row(1, 586, 0.1), twin(590, 0.05)]), 100)
    assert "\N{MULTIPLICATION SIGN} twin:" not in printed(document([row(1, 586, 0.1)]), 100)
    other: dict[str, Any] = {"name": "mine", "model": "vggsnn"}
    both = [
        row(1, 586, 0.1),
        twin(590, 0.05),
        row(1, 580, 0.2, **other),
        twin(590, 0.05, **other, file="mine-relu.onnx"),
    ]
    assert "over that of the network's own ReLU twin\n" in printed(document(both), 100)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
def test_no_cell_of_the_terminal_table_is_cut(width: int) -> None:
    """Of two engines, where the least columns take more than 80 characters, and a name in wide ones."""
    rows = [
        dataclasses.replace(made, backend=backend, name="数字" * 6 if made.form == "step" else made.name)
        for made in side_by_side()
        for backend in ("onnxruntime", "openvino")
        if made.target == "generic"
    ]
    made = document(rows)
    table = printed(made, width).partition("\n\n")[0]
    lines = [line for line in table.splitlines() if re.match(" (digi|数字)", line)]
    assert len(lines) == len(rows)
    for line, shown in zip(lines, made.rows, strict=True):
        assert shown.accuracy is not None
        words = line.replace(",", " ").split()
        assert {f"{shown.accuracy.percent:.2f}", shown.backend, shown.precision} <= set(words)
        assert percentile(shown.latency, "p50") in words
        assert times(shown.ratio_to_twin) in words
        assert ("best" in words) == shown.recommended


def test_a_long_name_is_cut_in_its_middle_and_given_in_full_below() -> None:
    names = [f"sew_resnet18_cifar10_tks_seed{seed}_cosine_lr0.1" for seed in (1, 2)]
    rows = [row(t, 586, 1.0 * t, name=name) for name in names for t in (2, 8)]
    text = printed(document([*rows, twin(590, 0.5)]), 80)
    lines = text.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    table = [line for line in lines if re.search(r" (2|8|ReLU) +fp32 ", line)]
    assert len(table) == 5
    cut = [line.split()[0] for line in table[:4]]
    assert cut[0] == cut[1] != cut[2] == cut[3]
    for short, name in zip(cut[::2], names, strict=True):
        assert f"{short}: {name}" in text


def test_no_two_names_are_cut_to_the_same_text() -> None:
    names = [f"network-{index:03}-of-many" for index in range(150)]
    found = shortened(names, 10)
    assert len(set(found.values())) == len(names)
    assert all(len(cut) <= 10 for cut in found.values())
    assert shortened(["short"], 10) == {"short": "short"}
