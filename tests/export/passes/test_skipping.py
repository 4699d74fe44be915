"""Every pass can be left out alone or with others, and the network stays what it is; or the export says why not."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.export.lowering import Prepared
from tks_edge_export import Compiler, ExportError, Options, lint
from tks_edge_export.passes import PASSES, needed
from tks_edge_export.passes.eliminate_common_subexpressions import EliminateCommonSubexpressions
from tks_edge_models import LIF, LIFParameters
from tks_edge_runtime.errors import InputError


@st.composite
def skipping(draw: st.DrawFn) -> Options:
    """Any T, form, precision and target, with any subset of the passes that these can do without."""
    precision = draw(st.sampled_from(("fp32", "fp32", "fp16", "int8")))
    options: dict[str, Any] = {
        "timesteps": draw(st.integers(1, 3)),
        "form": draw(st.sampled_from(("static", "step"))),
        "precision": precision,
        "target": draw(st.sampled_from(("generic", "onnxruntime-cpu", "openvino", "tensorrt"))),
    }
    left_out = draw(st.frozensets(st.sampled_from(PASSES)))
    return Options(**options, skip=left_out - needed(Options(**options)))


@settings(deadline=None, max_examples=12)
@given(options=skipping())
def test_any_passes_can_be_left_out(tiny: Prepared, options: Options) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lowered = tiny.lower(options, Path(folder))
        comparison = lowered.compared(tiny.inputs[:2])
    assert comparison.problem() is None
    assert not options.skip & {*lowered.compiled.passes}
    if options.precision != "fp16" and not options.codes_currents:
        assert comparison.total.differing <= 2  # borderline, in more than 25 000


def test_every_name_is_in_the_list_of_a_full_export(tiny: Prepared) -> None:
    applied = {
        name
        for options in (Options(1, target="onnxruntime-cpu"), Options(1, precision="int8"))
        for name in tiny.compiler.compile(options).passes
    }
    assert applied == {*PASSES, "unroll", "quantize_weights", "encode_int8"}
    assert len(PASSES) == len({*PASSES}) == 15


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_that_is_left_out_is_not_among_those_applied(tiny: Prepared, name: str) -> None:
    options = Options(1, target="onnxruntime-cpu")
    skipped = tiny.compiler.compile(Options(1, target="onnxruntime-cpu", skip=frozenset({name})))
    everything = tiny.compiler.compile(options)
    assert [made for made in everything.passes if made != name] == [*skipped.passes]


def test_where_the_target_needs_a_skipped_pass_it_says_so(tiny: Prepared) -> None:
    skip = frozenset({"fold_constants"})
    model = tiny.compiler.compile(Options(2, skip=skip)).model
    with pytest.raises(ExportError, match=r"^target generic: the operator Expand .* Do not skip fold_constants"):
        lint.check(model, "generic", skip)


def test_a_name_that_does_not_exist_is_refused_with_the_closest_one(tiny: Prepared) -> None:
    with pytest.raises(InputError) as error:
        tiny.compiler.compile(Options(1, skip=frozenset({"fold_batchnorm"})))
    assert str(error.value).startswith("unknown pass 'fold_batchnorm'. Did you mean 'fold_batch_norm'?")


def test_the_states_of_a_step_graph_start_at_zero(tiny: Prepared) -> None:
    with pytest.raises(ExportError, match="a step graph, whose states start at 0, builds on it"):
        tiny.compiler.compile(Options(1, form="step", skip=frozenset({"normalize_neurons"})))


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"precision": "fp16"}, "fold_constants"),
        ({"precision": "int8"}, "lift_constants"),
        ({"precision": "int8", "target": "onnxruntime-cpu"}, "normalize_neurons"),
    ],
)
def test_a_pass_that_the_precision_builds_on_cannot_be_left_out(
    tiny: Prepared, options: dict[str, str], name: str
) -> None:
    asked = Options(1, skip=frozenset({name}), **options)  # type: ignore[arg-type]
    with pytest.raises(ExportError) as error:
        tiny.compiler.compile(asked, [tiny.inputs])
    message = f"the pass {name} cannot be skipped: {asked.precision} for {asked.target} builds on it."
    assert str(error.value) == message
    free = Options(1, skip=frozenset({name}))
    assert name not in tiny.compiler.compile(free).passes


class Twice(nn.Module):
    """Two neurons on one current: they fire the same spikes, and are two layers all the same."""

    def __init__(self, params: LIFParameters | None = None) -> None:
        super().__init__()
        self.first, self.left, self.right = nn.Linear(6, 8), LIF(params), LIF(params)
        self.one, self.other = nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        current = self.first(x)
        logits: Tensor = self.one(self.left(current)) + self.other(self.right(current))
        return logits


@pytest.mark.parametrize("form", ["static", "step"])
@pytest.mark.parametrize("params", [LIFParameters(), LIFParameters(v_reset=None)], ids=["hard reset", "soft reset"])
def test_no_layer_loses_its_spikes_to_another_one(form: str, params: LIFParameters, tmp_path: Path) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(4, 6) * 2
    module = Twice(params).eval()
    prepared = Prepared(module, Compiler(module, inputs[:2]), inputs.numpy())
    lowered = prepared.lower(Options(2, form=form), tmp_path)
    comparison = lowered.compared(prepared.inputs)
    assert comparison.problem() is None
    left, right = comparison.layers
    assert left.total.fired == right.total.fired > 0
    assert not [node.name for node in lowered.compiled.model.graph if "tks_edge_spikes" in node.attributes]


def test_what_is_computed_twice_is_computed_once(tiny: Prepared) -> None:
    without = frozenset({"first_step"})  # each layer has a resting membrane that decays
    whole = tiny.compiler.compile(Options(2, skip=without)).model
    repeated = tiny.compiler.compile(Options(2, skip=without | {"eliminate_common_subexpressions"})).model
    assert len(list(whole.graph)) < len(list(repeated.graph))
    assert EliminateCommonSubexpressions()(repeated).modified
    names = {str(value.name) for node in repeated.graph for value in node.outputs}
    assert {f"body.{index}.spikes" for index in (0, 2, 4, 6, 8)} <= names
