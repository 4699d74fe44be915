"""The rows of a device with CUDA graphs, stages of its own and a rail: a named fake, since none is here."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import jsonschema
import pytest

from tests.few_plots import DRAW, few_plots
from tests.runtime.conftest import Build
from tests.runtime.reporting.test_build import measured
from tks_edge_runtime import presets
from tks_edge_runtime.backends import BACKENDS, Backend, EngineOptions, RunTimes
from tks_edge_runtime.backends.onnxruntime import OnnxRuntimeEngine
from tks_edge_runtime.energy import Covers
from tks_edge_runtime.reporting import collect
from tks_edge_runtime.reporting.document import schema
from tks_edge_runtime.reporting.reading import read_report


class FakeGpuEngine(OnnxRuntimeEngine):
    """ONNX Runtime on the CPU, with the times of a device, an engine that is built, and CUDA graphs to be asked for."""

    def __init__(self, path: Path, options: EngineOptions) -> None:
        for fraction in (0.0, 1.0):
            if options.on_build is not None:
                options.on_build("building", fraction)
        super().__init__(path, dataclasses.replace(options, device="cpu", cuda_graph=False))
        self._graph = options.cuda_graph

    def run(self, feeds: Any) -> Any:
        results = super().run(feeds)
        self.times = RunTimes(self.times.compute, self.times.compute // 10, self.times.compute // 20)
        return results

    def describe(self) -> dict[str, str]:
        return {**super().describe(), "cuda_graph": "on" if self._graph else "off"}


class FakeSource(NamedTuple):
    name: str
    label: str
    covers: Covers


class FakeMeter:
    """A rail that shows 3 W whatever runs."""

    sources = (FakeSource("vdd_in", "module rail VDD_IN, not wall", "board"),)

    def read(self) -> dict[str, float]:
        return {"vdd_in": 3.0 * perf_counter()}

    def mean_watts(self, seconds: float) -> dict[str, float]:
        return {"vdd_in": 3.0}


def test_with_cuda_graphs_each_artifact_is_measured_without_and_with_one(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(presets.PRESETS, "quick", 0.05)
    monkeypatch.setattr(DRAW, few_plots)
    fake = Backend(lambda: "1", lambda _: None, FakeGpuEngine, devices=("cuda",), cuda_graph_devices=("cuda",))
    monkeypatch.setitem(BACKENDS, "fake", fake)
    monkeypatch.setattr(collect, "EnergyMeter", lambda: contextlib.nullcontext(FakeMeter()))
    for timesteps in (1, 2):
        build(timesteps=timesteps)
    stages: list[str] = []
    document = measured(
        tmp_path / "artifacts", backend="fake", cuda_graph=True, on_build=lambda stage, _: stages.append(stage)
    )
    assert [(row.timesteps, row.cuda_graph) for row in document.rows] == [(1, False), (1, True), (2, False), (2, True)]
    assert [stage for stage in stages if stage != "writing the report"] == ["building"] * 8
    for row in document.rows:
        assert (row.device, row.status) == ("cuda", "ok")
        assert row.compute is not None
        assert row.enqueue is not None
        assert row.copies is not None
        assert row.copies.p50 < row.enqueue.p50 < row.compute.p50
        assert row.cold_start is not None
        assert row.cold_start.build_ms is not None
        assert row.cold_start.build_ms < row.cold_start.load_ms
        (use,) = row.energy
        assert use.idle_watts == 3.0
    report = tmp_path / "report" / "report.json"
    written = json.loads(report.read_text(encoding="utf-8"))
    jsonschema.validate(written, schema())
    assert ([one["device"] for one in written["backends"]], written["rows"][1]["cuda_graph"]) == (["cuda"], True)
    assert "Energy (module rail VDD_IN, not wall)" in " ".join(written["method"])
    assert read_report(report) == document
