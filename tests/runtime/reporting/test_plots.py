"""What the plots show of few rows, of many, and of the machine; and how the page finds a row's point in them."""

from __future__ import annotations

import re

from tests.runtime.reporting.example import document, row, sweep, twin
from tks_edge_runtime.reporting.document import DeviceStates, ReportDocument
from tks_edge_runtime.reporting.plot_forms import Plot
from tks_edge_runtime.reporting.plot_machine import panels_of
from tks_edge_runtime.reporting.plots import draw


def many() -> ReportDocument:
    """A document with more rows than a plot names: ten T in each precision, and a twin."""
    rows = [
        row(t, 560 + 3 * t, 0.05 * t * (1 + 0.1 * index), precision=precision, samples=100)
        for index, precision in enumerate(("fp32", "fp16", "int8"))
        for t in range(1, 11)
    ]
    return document([*rows, twin(590, 0.2, samples=100)])


def drawn(made: ReportDocument) -> dict[str, Plot]:
    return {plot.name: plot for plot in draw(made)}


def marked(svg: str, kind: str) -> list[list[int]]:
    """The places of the rows that each element of a kind belongs to."""
    return [list(map(int, places.split())) for places in re.findall(rf'<g class="{kind}" data-rows="([0-9 ]+)"', svg)]


def test_every_row_has_one_point_in_every_plot() -> None:
    made = document(sweep())
    every = [[place] for place in range(len(made.rows))]
    for plot in draw(made):
        for svg in filter(None, (plot.inline, plot.narrow)):
            assert sorted(marked(svg, "point")) == every, plot.name
            assert all(0 <= place < len(made.rows) for places in marked(svg, "part") for place in places)
    for name in ("accuracy-timesteps", "latency-timesteps"):
        assert [sorted(places) for places in marked(drawn(made)[name].inline, "line")] == [[0, 1, 2, 3]]


def test_of_few_rows_all_are_named_and_of_many_those_that_stand_out() -> None:
    few = drawn(document(sweep()))["accuracy-latency"]
    assert set(re.findall(r">(T=\d+|twin)<", few.inline)) == {"T=1", "T=2", "T=4", "T=8", "twin"}
    made = many()
    outstanding = [one for one in made.rows if one.recommended or one.pareto or one.is_twin]
    assert len(outstanding) < len(made.rows) / 2
    plots = drawn(made)
    plot = plots["accuracy-latency"]
    assert len(marked(plot.inline, "point")) == len(made.rows)
    names = re.findall(r">(T=\d+|twin)<", plot.inline)
    assert 1 < len(names) <= len(outstanding)
    assert set(names) <= {"twin" if one.is_twin else f"T={one.timesteps}" for one in outstanding}
    assert f"The other {len(made.rows) - len(outstanding)} rows are in the table." in plot.description


def test_of_many_rows_the_distributions_are_of_those_that_stand_out_and_it_says_so() -> None:
    made = many()
    plot = drawn(made)["latency-distribution"]
    assert sorted(marked(plot.inline, "point")) == [
        [place] for place, one in enumerate(made.rows) if one.recommended or one.pareto or one.is_twin
    ]
    assert "Only each best T" in plot.note
    assert drawn(document(sweep()))["latency-distribution"].note == ""


def test_of_many_series_the_legend_says_what_colours_and_markers_mean() -> None:
    kinds = [(p, t) for p in ("fp32", "fp16", "int8") for t in ("generic", "onnxruntime-cpu", "openvino")]
    rows = [row(t, 580, 0.1 * t, precision=p, target=g, samples=100) for p, g in kinds for t in (1, 2)]
    texts = re.findall(r"<text[^>]*>([^<]*)<", drawn(document(rows))["accuracy-latency"].inline)
    assert {"digits fp32", "digits fp16", "digits int8", "static", "onnxruntime-cpu", "openvino"} <= set(texts)
    assert "digits fp32 openvino" not in texts


def states(count: int) -> tuple[dict[str, object], ...]:
    return tuple(
        {
            "time": 1000.0 + second,
            "load": [0.5 + second, 0.2, 0.1],
            "clock_mhz": {"min": 1000.0, "mean": 1500.0, "max": 2000.0 if second != 1 else 700.0},
            "temperatures_c": {f"zone{index}": 40.0 + index for index in range(8)} if second else None,
            "gpus": {"0": {"clock_mhz": 900, "load_percent": None, "temperature_c": 61}},
        }
        for second in range(count)
    )


def test_the_machine_is_drawn_over_time_from_three_samples_on() -> None:
    def with_samples(count: int) -> ReportDocument:
        given = states(count)
        return document(sweep(), device_state=DeviceStates(given[0], given, given[-1]))

    assert "machine-state" not in drawn(with_samples(2))
    plot = drawn(with_samples(4))["machine-state"]
    assert "CPU, fastest 700 to 2000" in plot.description
    assert "GPU 0 61 to 61" in plot.description
    assert "the 5 highest of 9" in plot.description
    assert "CPU load, mean of a minute 0.5 to 3.5" in plot.description
    assert "GPU load" not in plot.description
    assert "Temperature, °C" in plot.inline


def test_a_sensor_is_drawn_at_the_times_of_its_own_samples() -> None:
    panels = {panel.title: panel for panel in panels_of(states(4))}
    seconds = {curve.name: curve.seconds for curve in panels["Temperature"].curves}
    assert seconds.pop("GPU 0") == (0.0, 1.0, 2.0, 3.0)
    assert set(seconds.values()) == {(1.0, 2.0, 3.0)}
    assert panels_of(({"load": [1.0]},) * 5) == []
