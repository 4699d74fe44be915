"""Half precision from the first layer on: what is a half, what stays a float, and what is too large for either."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from tests.export.lowering import Lowered, Prepared
from tests.export.passes.graphs import named
from tests.export.plain_networks import Plain
from tks_edge_export import Compiler, ExportError, Options, lint
from tks_edge_export.passes.to_fp16 import refusal
from tks_edge_export.values import constant
from tks_edge_models import LIF, LIFParameters

HALF, FLOAT = ir.DataType.FLOAT16, ir.DataType.FLOAT


@pytest.mark.parametrize("membrane", ["fp32", "fp16"])
@pytest.mark.parametrize(("form", "timesteps"), [("static", 1), ("static", 3), ("step", 3)])
def test_the_graph_is_the_network_with_weights_rounded_to_halves(
    tiny: Prepared, membrane: str, form: str, timesteps: int, tmp_path: Path
) -> None:
    options = Options(timesteps, form=form, precision="fp16", membrane=membrane)
    lowered = tiny.lower(options, tmp_path)
    comparison = lowered.compared(tiny.inputs)
    assert comparison.problem() is None
    assert comparison.total.fired > 10_000
    reference = lowered.compiled.reference.network.get_submodule("body.3.0")
    assert isinstance(reference, nn.Conv2d)
    assert torch.equal(reference.weight, reference.weight.half().float())
    check_types(lowered, membrane)


def check_types(lowered: Lowered, membrane: str) -> None:
    graph = lowered.compiled.model.graph
    kinds = Counter(node.outputs[0].dtype for node in graph if node.op_type == "Conv")
    assert kinds == {HALF: 5}
    weights = [value for value in graph.initializers.values() if value.shape is not None and len(value.shape) == 4]
    assert weights
    assert {value.dtype for value in weights} <= {HALF, FLOAT}
    assert not [value.name for value in weights if value.dtype == FLOAT and value.const_value.size > 64]  # type: ignore[union-attr]
    assert {node.outputs[0].dtype for node in graph if str(node.outputs[0].name).endswith(".spikes")} == {HALF}
    wanted = HALF if membrane == "fp16" else FLOAT
    assert {node.inputs[0].dtype for node in graph if node.op_type == "Less" and node.inputs[0] is not None} == {wanted}
    assert {value.name: value.dtype for value in graph.outputs}["logits"] == FLOAT
    assert graph.inputs[0].dtype == ir.DataType.UINT8
    assert {value.dtype for value in graph.inputs[1:]} <= {wanted}


def test_pixels_are_normalised_in_float32_and_cast_once(tiny: Prepared) -> None:
    graph = tiny.compiler.compile(Options(2, precision="fp16")).model.graph
    first = next(node for node in graph if node.op_type == "Conv")
    cast = first.inputs[0].producer() if first.inputs[0] is not None else None
    assert cast is not None
    assert cast.op_type == "Cast"
    assert cast.inputs[0] is not None
    assert cast.inputs[0].dtype == FLOAT
    assert sum(node.op_type == "Cast" and node.outputs[0] is first.inputs[0] for node in graph) == 1


def test_the_logits_of_every_step_are_cast_back_too(tiny: Prepared, tmp_path: Path) -> None:
    lowered = tiny.lower(Options(2, precision="fp16", per_step=True), tmp_path)
    outputs = lowered.run("onnxruntime", tiny.inputs[:2])
    assert {name: value.dtype for name, value in outputs.items()} == dict.fromkeys(outputs, np.dtype(np.float32))
    mean = outputs["logits_per_step"].mean(0)
    np.testing.assert_allclose(mean, outputs["logits"], rtol=0, atol=1e-6)  # of two float32 of a few units
    assert lowered.compared(tiny.inputs).problem() is None


def test_a_constant_that_no_half_holds_is_refused() -> None:
    torch.manual_seed(0)
    module = Plain().eval()
    module.first.weight.data[0, 0] = 1e5
    with pytest.raises(ExportError) as error:
        Compiler(module, torch.rand(2, 6)).compile(Options(2, precision="fp16"))
    message = "first.weight holds 1e+05; half precision ends at 65504. Use another precision."
    assert str(error.value) == message
    assert refusal(constant("fits", np.array([-65504.0], np.float32))) is None
    assert refusal(constant("none", np.zeros((0, 3), np.float32))) is None
    assert refusal(constant("nan", np.array([np.nan], np.float32))) is not None


@pytest.mark.parametrize("tau", [2.0, 16.0])
def test_a_long_memory_in_halves_stays_within_what_rounding_explains(tau: float, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Plain(LIFParameters(tau=tau, v_threshold=1.0, v_reset=None, decay_input=False)).eval()
    inputs = torch.randn(16, 6) * 2
    prepared = Prepared(module, Compiler(module, inputs[:2]), inputs.numpy())
    lowered = prepared.lower(Options(16, precision="fp16", membrane="fp16"), tmp_path)
    comparison = lowered.compared(prepared.inputs)
    assert comparison.problem() is None
    assert comparison.total.fired > 50


def test_the_first_layer_of_float_pixels_casts_the_input(tmp_path: Path) -> None:
    module = Plain().eval()
    graph = Compiler(module, torch.rand(2, 6)).compile(Options(2, precision="fp16")).model
    assert graph.graph.inputs[0].dtype == FLOAT
    assert named(graph, "input.float16").op_type == "Cast"


class Larger(nn.Module):
    """Enlarges spikes, whose scales a Resize takes in float32 alone."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.first, self.neuron = nn.Conv2d(1, 4, 3, padding=1), LIF()
        self.larger, self.last = nn.Upsample(scale_factor=2, mode=mode), nn.Linear(4 * 8 * 8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.last(self.larger(self.neuron(self.first(x))).flatten(1))
        return logits


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_an_operand_that_has_to_be_float32_stays_so(mode: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, inputs = Larger(mode).eval(), torch.rand(4, 1, 4, 4) * 8
    prepared = Prepared(module, Compiler(module, inputs[:2]), inputs.numpy())
    lowered = prepared.lower(Options(2, precision="fp16"), tmp_path)
    lint.check(lowered.compiled.model, "generic")
    (resize,) = (node for node in lowered.compiled.model.graph if node.op_type == "Resize")
    kinds = [value.dtype for value in resize.inputs if value is not None and value.name]
    assert (kinds[0], kinds[-1], resize.outputs[0].dtype) == (HALF, FLOAT, HALF)
    comparison = lowered.compared(prepared.inputs)
    assert comparison.problem() is None
    assert comparison.total.fired > 50
