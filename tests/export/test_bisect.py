"""A pass that changes what the network computes is found by its name, and a fault of the layout has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_ir as ir
import pytest
import torch

from tests.export.lowering import Prepared
from tests.export.plain_networks import Deeper
from tks_edge_export import Calibration, Compiler, Options, compiler
from tks_edge_export.bisect import Culprit, bisect
from tks_edge_export.capture import Capture
from tks_edge_export.passes import PASSES, Pass
from tks_edge_export.unroll import unroll
from tks_edge_models import LIFParameters

GROUPS = ("ONE_STEP", "LAID_OUT", "FOR_ONNXRUNTIME", "CLEAN_UP")


@pytest.fixture(scope="module")
def small() -> Prepared:
    torch.manual_seed(2)
    module, inputs = Deeper().eval(), torch.randn(4, 6) * 2
    return Prepared(module, Compiler(module, inputs[:2]), inputs.numpy())


def spoil(model: ir.Model) -> None:
    """Change the bias of the classifier, and with it every logit."""
    bias = next(value for name, value in model.graph.initializers.items() if name.startswith("last.bias"))
    assert bias.const_value is not None
    bias.const_value = ir.tensor(bias.const_value.numpy() + 1.0, name=bias.name)


def spoiling(made: Pass) -> Pass:
    def rewrite(captured: Capture) -> None:
        made.rewrite(captured)
        spoil(captured.model)

    return Pass(made.name, rewrite)


def found(small: Prepared, options: Options, on_pass: Callable[[str | None], None] | None = None) -> Culprit | None:
    return bisect(small.compiler, options, Calibration(), small.inputs, small.network, on_pass)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("name", ["fold_batch_norm", "normalize_neurons", "first_step", "fold_readout"])
def test_a_pass_that_changes_the_logits_is_named(
    small: Prepared, name: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for group in GROUPS:
        spoilt = tuple(spoiling(made) if made.name == name else made for made in getattr(compiler, group))
        monkeypatch.setattr(compiler, group, spoilt)
    tried: list[str | None] = []
    culprit = found(small, Options(2, precision=precision), tried.append)
    assert culprit is not None
    assert culprit.name == name
    assert "the fault lies behind the last LIF layer" in culprit.problem
    assert tried == [None, *PASSES[: PASSES.index(name) + 1]]
    assert found(small, Options(2, precision=precision, skip=frozenset({name}))) is None


@pytest.mark.parametrize(
    ("skip", "name"), [(frozenset(), None), (frozenset({"merge_time"}), "merge_time")], ids=["layout", "merge_time"]
)
def test_a_fault_of_the_layout_has_no_name_unless_it_can_be_left_out(
    small: Prepared, skip: frozenset[str], name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(captured: Capture, options: Options, codes: Any) -> ir.Model:
        model = unroll(captured, options, codes)
        if not skip & options.skip:
            spoil(model)
        return model

    monkeypatch.setattr(compiler, "unroll", spoilt)
    culprit = found(small, Options(2))
    assert culprit is not None
    assert culprit.name == name


def test_where_every_pass_keeps_the_network_there_is_no_culprit(small: Prepared) -> None:
    tried: list[str | None] = []
    assert found(small, Options(2), tried.append) is None
    assert tried == [None, *PASSES]


def test_a_step_graph_of_neurons_that_rest_elsewhere_has_no_culprit() -> None:
    torch.manual_seed(2)
    module, inputs = Deeper(LIFParameters(v_threshold=0.5, v_reset=-0.25)).eval(), torch.randn(4, 6) * 2
    resting = Prepared(module, Compiler(module, inputs[:2]), inputs.numpy())
    assert found(resting, Options(2, form="step")) is None
