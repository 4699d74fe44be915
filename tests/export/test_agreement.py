"""Networks so small that their spikes, flips, margins and predictions are worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

from tests.export.plain_networks import Direct
from tks_edge_export import Compiler, Options, Reference, compare
from tks_edge_export.agreement import Agreement, top1_agreement
from tks_edge_export.reference import FLOAT32
from tks_edge_models import LIFParameters

T = 2


def direct(threshold: float, bias: tuple[float, ...] = (0.75, 0.0)) -> Direct:
    """Two neurons; h = x at the first step and v / 2 + x at the second, and v = 0 after a spike."""
    return Direct(LIFParameters(tau=2.0, v_threshold=threshold, decay_input=False), bias).eval()


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """The network with a threshold of 1, at two samples a batch."""
    compiled = Compiler(direct(1.0), torch.rand(2, 2)).compile(Options(T))
    ir.save(compiled.model, tmp_path / "graph.onnx")
    return tmp_path / "graph.onnx"


def test_predictions_that_agree_are_counted(graph: Path) -> None:
    """A neuron that fires at both steps outweighs the bias for class 0, one that fires once does not."""
    inputs = np.array(
        [
            [2.0, 0.0],  # both networks fire neuron 0
            [0.0, 2.0],  # both fire neuron 1
            [0.0, 1.0],  # only the graph fires, neuron 1: a threshold of 2 is not reached
            [0.0, 1.5],  # the graph fires at both steps, the other at the second: 0.75 + 1.5
            [1.0, 0.0],  # only the graph, neuron 0, which is what the bias says
        ]
        * 14,
        np.float32,
    )
    done: list[int] = []
    found = top1_agreement(graph, direct(2.0), inputs, T, on_progress=done.append)
    assert found == Agreement(samples=70, agreeing=3 * 14)
    assert found.share == 0.6
    assert done[-1] == 70
    assert top1_agreement(graph, direct(1.0), inputs, T).share == 1.0


def test_flips_and_margins_are_those_of_the_samples_alone(graph: Path) -> None:
    """Three samples in batches of two: what fills the last batch up is not counted."""
    inputs = np.array([[0.75, 0.25], [0.0, 0.0], [0.5625, 3.0]], np.float32)
    # Membranes at the first step: 0.75, 0.25, 0, 0, 0.5625 and 3; at the second 1.125, 0.375, 0, 0, 0.84375 and 3.
    found = compare(graph, Reference(direct(1.0)), inputs, T, trained=direct(0.5))
    assert found.problem() is None
    (layer,) = found.layers
    assert [(step.decisions, step.fired, step.differing) for step in layer.steps] == [(6, 1, 0), (6, 2, 0)]
    assert [step.smallest_margin for step in layer.steps] == [0.25, 0.125]
    assert layer.total.smallest_margin == 0.125
    # A threshold of 0.5 lets 0.75 and 0.5625 fire at both steps, where 1 lets the first of them fire at the second.
    assert found.flips == {"neuron": (2, 1)}
    assert compare(graph, Reference(direct(1.0)), inputs, T).flips == {"neuron": (0, 0)}


def test_agreement_with_the_trained_network_is_counted(graph: Path) -> None:
    inputs = np.array([[0.0, 1.0], [2.0, 0.0], [0.0, 1.5], [0.0, 2.0]], np.float32)
    found = compare(graph, Reference(direct(1.0)), inputs, T, trained=direct(2.0))
    assert (found.samples, found.trained_differing, found.predictions_differing) == (4, 2, 0)
    assert found.agreement == 0.5


def test_a_prediction_that_a_borderline_spike_changes_is_explained(graph: Path) -> None:
    """The network's threshold is 16 units in the last place higher, which sums in another order could be too."""
    above = 1.0 + 16 * float(np.finfo(np.float32).eps)
    inputs = np.array([[0.0, 1.0], [0.0, 0.25]], np.float32)
    found = compare(graph, Reference(direct(above)), inputs, T)
    assert (found.total.differing, found.total.faults) == (2, 0)
    assert (found.predictions_differing, found.predictions_unexplained) == (1, 0)
    assert found.problem() is None
    exact = compare(graph, Reference(direct(above), FLOAT32, frozenset({"neuron"})), inputs, T)
    assert "the spikes differ first in layer 'neuron' at timestep 1; in all its timesteps 2 of 8 decisions" in str(
        exact.problem()
    )
