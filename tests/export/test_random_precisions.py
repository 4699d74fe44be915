"""Any network in other precisions and as a step: the exporter's own comparison finds the graph to be the network."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.export.lowering import Prepared
from tests.export.random_networks import Sample, samples
from tks_edge_export import Compiler, ExportError, Options
from tks_edge_export.reference import Rounding

KINDS: dict[str, dict[str, Any]] = {
    "step": {"form": "step"},
    "fp16": {"precision": "fp16"},
    "fp16 membranes, step": {"precision": "fp16", "membrane": "fp16", "form": "step"},
    "int8": {"precision": "int8"},
    "int8, step": {"precision": "int8", "form": "step"},
}


EPSILON16 = float(np.finfo(np.float16).eps)
ROUNDING = {
    "fp32": Rounding(2e-5, 1e-4),
    "fp16": Rounding(16 * EPSILON16, 64 * EPSILON16),
    "int8": Rounding(2e-5, 1e-4),
}
"""Wider than an export allows: the scales and shifts of random networks let most of a value cancel in front of a
neuron, and norms blow values up that hardly differ, so what is left is off by more units of its own."""


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=4)
@given(sample=samples(), timesteps=st.integers(1, 3))
def test_a_random_network_is_its_graph(kind: str, sample: Sample, timesteps: int) -> None:
    inputs = sample.batch.numpy()
    prepared = Prepared(sample.network, Compiler(sample.network, sample.batch), inputs)
    options = Options(timesteps, **KINDS[kind])
    with tempfile.TemporaryDirectory() as folder:
        try:
            lowered = prepared.lower(options, Path(folder))
        except ExportError as error:
            # The range of a sum of spikes, a weight that is no module's, a half that overflows.
            event(str(error))
            assert options.precision != "fp32"
            return
        reference = dataclasses.replace(lowered.compiled.reference, rounding=ROUNDING[options.precision])
        comparison = lowered.compared(inputs, reference=reference)
    assert comparison.problem() is None
    assert all(layer.total.differing == 0 for layer in comparison.layers if layer.exact)
