"""LIF layers that are used in unusual ways, as networks of other people do: the graph is still the network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.export.lowering import Prepared
from tks_edge_export import Compiler, ExportError, Options
from tks_edge_models import LIF, LIFParameters

KINDS = [
    Options(2),
    Options(2, form="step"),
    Options(2, precision="fp16"),
    Options(2, precision="int8"),
    Options(2, precision="int8", target="onnxruntime-cpu"),
]


class Unused(nn.Module):
    """Registers a LIF layer that it never runs, as networks with switches do."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 16), nn.Linear(16, 16), nn.Linear(16, 4)
        self.aside, self.spikes, self.more = LIF(), LIF(), LIF(LIFParameters(v_threshold=0.1))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.more(self.second(self.spikes(self.first(x)))))
        return logits


class TwoNames(Unused):
    """Holds its LIF layers, and the layer between them, under two names each."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(self.spikes, self.second, self.more)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(self.first(x)))
        return logits


class Sliced(TwoNames):
    """Runs them in two parts, besides."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body[1:](self.body[:1](self.first(x))))
        return logits


class ReadsConstants(Unused):
    """Computes with the constants of its neuron."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * 2 * self.spikes.params.v_threshold)


@pytest.mark.parametrize(
    ("kind", "options"),
    [*((kind, options) for kind in (Unused, TwoNames, Sliced) for options in KINDS), (ReadsConstants, KINDS[0])],
    ids=lambda case: case.__name__ if isinstance(case, type) else f"{case.form}-{case.precision}-{case.target}",
)
def test_the_graph_is_the_network(kind: type[Unused], options: Options, tmp_path: Path) -> None:
    torch.manual_seed(2)
    module, batch = kind().eval(), 4 * torch.rand(8, 6)
    lowered = Prepared(module, Compiler(module, batch[:2]), batch.numpy()).lower(options, tmp_path)
    comparison = lowered.compared(batch.numpy())
    assert comparison.problem() is None
    assert [layer.path for layer in comparison.layers] == ["spikes", "more"]
    assert all(layer.total.fired > 0 for layer in comparison.layers)


class NormedOnce(Unused):
    """Runs a layer twice, under a name each, and with a batch norm behind it the second time alone."""

    def __init__(self) -> None:
        super().__init__()
        self.again, self.norm, self.between = self.second, nn.BatchNorm1d(16), LIF(LIFParameters(v_threshold=0.1))
        nn.init.uniform_(self.norm.weight, 2.0, 3.0)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.between(self.second(self.spikes(self.first(x))))
        logits: Tensor = self.head(self.more(self.norm(self.again(spikes))))
        return logits


def test_one_module_whose_weights_become_several_is_found_under_any_name(tmp_path: Path) -> None:
    torch.manual_seed(2)
    module, batch = NormedOnce().eval(), 4 * torch.rand(8, 6)
    prepared = Prepared(module, Compiler(module, batch[:2]), batch.numpy())
    with pytest.raises(ExportError, match=r"^second runs several times a timestep, not each time with the same"):
        prepared.compiler.compile(Options(2, precision="fp16"))
    lowered = prepared.lower(Options(2, precision="int8", quantize_ends=True), tmp_path)
    assert lowered.compiled.kept_float == ("second",)
    assert lowered.compared(batch.numpy()).problem() is None


def test_a_network_that_gives_its_input_is_refused() -> None:
    with pytest.raises(ExportError, match="gives its input as it is"):
        Compiler(nn.Identity().eval(), torch.rand(2, 6)).compile(Options(1))
