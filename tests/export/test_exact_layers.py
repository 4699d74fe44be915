"""For which layers every spike is claimed to be equal: only where no order of summation can make a difference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.export.ordinary_layers import Function, trained_norm
from tests.export.plain_networks import between
from tks_edge_export import Compiler, ExportError, Options
from tks_edge_models import LIF

INT8 = Options(2, precision="int8")


class Wide(nn.Module):
    """A layer of `inputs` equal weights, 127 codes each, on values of up to 64 spikes: each product counts 8128."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.stem, self.first = nn.Conv1d(1, 1, 1), LIF()
        self.middle, self.second, self.head = nn.Linear(inputs, 2, bias=False), LIF(), nn.Linear(2, 2)
        nn.init.constant_(self.middle.weight, 127 / 128)

    def forward(self, x: Tensor) -> Tensor:
        values = self.first(self.stem(x))
        for _ in range(6):
            values = values + values
        logits: Tensor = self.head(self.second(self.middle(values)).flatten(1))
        return logits


@pytest.mark.parametrize(("inputs", "exact"), [(2**24 // 8128, {"second"}), (2**24 // 8128 + 1, set())])
def test_a_sum_that_float32_does_not_hold_is_not_exact(inputs: int, exact: set[str]) -> None:
    """Whole numbers up to 2^24 are exact in float32, and one more product is not."""
    options = Options(2, precision="int8", target="openvino")
    compiled = Compiler(Wide(inputs).eval(), torch.rand(2, 1, inputs)).compile(options)
    assert compiled.reference.exact == exact


class Added(nn.Module):
    """The outputs of a layer, and of one without weights beside it."""

    def __init__(self, layer: nn.Module, beside: nn.Module) -> None:
        super().__init__()
        self.layer, self.beside = layer, beside

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.layer(x) + self.beside(x)
        return total


def norm() -> nn.Module:
    return trained_norm(nn.BatchNorm2d(4))


def convolution(kernel: int = 3) -> nn.Module:
    return nn.Conv2d(4, 4, kernel, padding=(kernel - 1) // 2)


def millions(x: Tensor) -> Tensor:
    """A sum of four channels, each 0 or 2^23."""
    for _ in range(23):
        x = x + x
    return x.sum(1, keepdim=True)


CURRENTS: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    "sum of a layer's output and spikes": (lambda: Added(convolution(), nn.Identity()), True),
    "and spikes / 4": (lambda: Added(convolution(2), nn.AvgPool2d(2, 1)), True),
    "and spikes / 9": (lambda: Added(convolution(), nn.AvgPool2d(3, 1, 1)), False),
    "and a sum of spikes": (
        lambda: Added(convolution(), Function("total", lambda x: x.sum(1, keepdim=True))),
        True,
    ),
    "and a sum that float32 does not count": (lambda: Added(convolution(), Function("total", millions)), False),
    "and a product of spikes": (
        lambda: Added(convolution(), Function("product", lambda x: x @ x.transpose(-2, -1) @ x * 0.125)),
        True,
    ),
    "largest of a layer's output": (lambda: nn.Sequential(convolution(), nn.MaxPool2d(2)), True),
    "mean of a layer's output": (lambda: nn.Sequential(convolution(), nn.AvgPool2d(2)), False),
    "softmax": (lambda: nn.Sequential(convolution(), nn.Softmax(1)), False),
    "quotient": (lambda: nn.Sequential(convolution(), Function("third", lambda x: x / 3)), False),
    "exponential": (lambda: nn.Sequential(convolution(), Function("exponential", torch.exp)), False),
    "batch norm behind a convolution": (lambda: nn.Sequential(convolution(), norm()), True),
    "batch norm behind a transposed convolution": (
        lambda: nn.Sequential(nn.ConvTranspose2d(4, 4, 3, padding=1), norm()),
        True,
    ),
    "batch norm that is no part of the layer": (
        lambda: nn.Sequential(convolution(), Added(norm(), nn.Identity())),
        False,
    ),
    "layer norm": (lambda: nn.Sequential(convolution(), nn.LayerNorm(6)), False),
}


@pytest.mark.parametrize("kind", CURRENTS)
def test_a_current_is_exact_where_its_parts_are_and_nothing_is_divided(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    make, exact = CURRENTS[kind]
    network = between(make(), (2, 6, 6))
    lowered = network.lower(INT8, tmp_path)
    assert lowered.compiled.reference.exact == ({"second"} if exact else set())
    comparison = lowered.compared(network.inputs)
    assert comparison.problem() is None
    assert all(layer.total.fired for layer in comparison.layers)


class Difference(nn.Module):
    """A layer on the spikes of one neuron less those of another: -1, 0 or 1."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(5, 8), nn.Linear(5, 8)
        self.left, self.right = LIF(), LIF()
        self.middle, self.second = nn.Linear(8, 6), LIF()
        self.behind, self.third, self.head = nn.Linear(6, 6), LIF(), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        difference = self.left(self.one(x)) - self.right(self.other(x))
        logits: Tensor = self.head(self.third(self.behind(self.second(self.middle(difference)))))
        return logits


def test_a_difference_of_spikes_needs_a_signed_type() -> None:
    torch.manual_seed(1)
    x = torch.randn(2, 5) * 2
    compiler = Compiler(Difference().eval(), x)
    for target in ("openvino", "onnxruntime-cpu"):
        with pytest.raises(ExportError) as error:
            compiler.compile(Options(2, precision="int8", target=target), [x.numpy()])
        assert str(error.value) == (
            "the input of middle can be -1 to 1 times 1; uint8 holds 0 to 255. Leave the layer in float: "
            "--keep-float middle"
        )
    for target in ("generic", "tensorrt"):
        assert compiler.compile(Options(2, precision="int8", target=target)).reference.exact == {"second", "third"}
    kept = compiler.compile(Options(2, precision="int8", target="openvino", keep_float=("middle",)))
    assert kept.reference.exact == {"third"}
