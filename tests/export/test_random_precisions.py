"""Any network in other precisions and as a step: the exporter's own comparison finds the graph to be the network."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.export.lowering import Prepared
from tests.export.random_networks import Sample, samples
from tests.export.step_by_step import StepByStep
from tks_edge_export import Compiler, ExportError, Options
from tks_edge_export.reference import Rounding
from tks_edge_models import LIF

HALF = float(np.finfo(np.float16).eps)
ROUNDING = {"fp32": Rounding(2e-5, 1e-4), "fp16": Rounding(16 * HALF, 64 * HALF), "int8": Rounding(2e-5, 1e-4)}
"""Wider than an export allows: the scales and shifts of random networks let most of a value cancel in front of a
neuron, and norms blow values up that hardly differ, so what is left is off by more units of its own."""
MOST = 4.0
"""How often larger a layer may make the rounding of its input, for halves to say anything about its output."""


def amplification(network: nn.Module, batch: Tensor) -> float:
    """By how much one of the layers enlarges a relative error of its input, at most."""
    found = [1.0]

    def look(layer: nn.Module, taken: tuple[Tensor, ...], result: Tensor) -> None:
        if isinstance(layer, LIF):
            return
        signs = torch.Generator().manual_seed(0)
        moved = [x * (1 + HALF * (2 * torch.randint(2, x.shape, generator=signs) - 1)) for x in taken]
        off = float((layer.forward(*moved) - result).abs().max())
        found.append(off / (HALF * max(float(result.abs().max()), HALF)))

    reference = StepByStep(network)
    layers = reference.network.get_submodule("layers")
    for layer in layers.children():
        layer.register_forward_hook(look)
    reference.run(batch, 1)
    return max(found)


def check(sample: Sample, options: Options) -> None:
    inputs = sample.batch.numpy()
    prepared = Prepared(sample.network, Compiler(sample.network, sample.batch), inputs)
    if options.precision == "fp16" and amplification(sample.network, sample.batch) > MOST:
        event("a layer blows rounding up")
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            lowered = prepared.lower(options, Path(folder))
        except ExportError as error:
            # No layer between spikes, a sum of them beyond 8 bits, a value beyond a half.
            event(str(error).partition("(")[0])
            assert options.precision != "fp32"
            return
        reference = dataclasses.replace(lowered.compiled.reference, rounding=ROUNDING[options.precision])
        comparison = lowered.compared(inputs, reference=reference)
    assert comparison.problem() is None
    assert all(layer.total.differing == 0 for layer in comparison.layers if layer.exact)


FLOATS: dict[str, dict[str, Any]] = {
    "step": {"form": "step"},
    "fp16": {"precision": "fp16"},
    "fp16 membranes, step": {"precision": "fp16", "membrane": "fp16", "form": "step"},
}


@pytest.mark.parametrize("kind", FLOATS)
@settings(deadline=None, max_examples=3)
@given(sample=samples(), timesteps=st.integers(1, 3))
def test_a_random_network_is_its_graph(kind: str, sample: Sample, timesteps: int) -> None:
    check(sample, Options(timesteps, **FLOATS[kind]))


@pytest.mark.parametrize("form", ["static", "step"])
@settings(deadline=None, max_examples=5)
@given(sample=samples(), timesteps=st.integers(1, 3))
def test_a_random_network_in_int8_is_its_graph(form: str, sample: Sample, timesteps: int) -> None:
    """More of them, since most have no layer that reads spikes, and are refused."""
    check(sample, Options(timesteps, form=form, precision="int8"))
