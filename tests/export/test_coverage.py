"""Which layers int8 covers: none is left in float without being named, and where all would be, it is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.export.lowering import Prepared
from tests.export.plain_networks import Shape, between
from tks_edge_export import Compiler, ExportError, Options, export
from tks_edge_export.recompile import recompile
from tks_edge_models import LIF, LIFParameters

INT8 = Options(2, precision="int8")
EASILY = LIFParameters(v_threshold=0.2)


class Own(nn.Module):
    """Multiplies by a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Parameter(torch.randn(6, 4, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.filters)


class Summed(nn.Module):
    """A tensor product with an operator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.matrices = nn.Parameter(torch.randn(4, 6, 5))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bchw,cwe->bche", x, self.matrices)


class Mixed(nn.Module):
    """A layer that reads spikes, then one that reads what a norm made of them."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.spikes, self.neuron, self.layer = nn.Conv2d(4, 4, 3, padding=1), LIF(EASILY), layer

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.layer(self.neuron(self.spikes(x)))
        return mixed


def normed() -> nn.Module:
    return nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3))


@pytest.mark.parametrize(
    ("layer", "name", "reason"),
    [
        (Own, "middle", "its weights are not those of a linear or convolution module"),
        (normed, "middle.1", "its input is no spikes, nor a sum or a mean of spikes"),
    ],
)
def test_a_file_without_integers_is_not_called_int8(
    layer: Callable[[], nn.Module], name: str, reason: str, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    network = between(layer(), (2, 6, 6))
    with pytest.raises(ExportError) as error:
        network.compiler.compile(INT8)
    message = f"(stem: it is the first layer; {name}: {reason}; head: it is the classifier)"
    assert str(error.value).startswith(f"int8 would leave every layer in float {message}. Use another precision")
    covered = network.lower(Options(2, precision="int8", quantize_ends=True), tmp_path)
    assert covered.compiled.kept_float == ((name,) if layer is Own else ())
    assert covered.compared(network.inputs).problem() is None


@pytest.mark.parametrize(
    ("layer", "kept"), [(Own, "middle.layer"), (Summed, "middle.layer"), (normed, "middle.layer.1")]
)
def test_what_int8_cannot_cover_is_named(layer: Callable[[], nn.Module], kept: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = between(Mixed(layer()), (2, 6, 6))
    lowered = network.lower(INT8, tmp_path)
    assert lowered.compiled.kept_float == (kept,)
    assert lowered.compared(network.inputs).problem() is None


class Charged(nn.Module):
    """A neuron that reads the input itself."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.second, self.last = LIF(EASILY), nn.Linear(6, 8), LIF(EASILY), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.second(self.middle(self.first(x))))
        return logits


def test_a_layer_behind_a_neuron_of_the_input_reads_spikes(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network, inputs = Charged().eval(), torch.rand(4, 6)
    lowered = Prepared(network, Compiler(network, inputs[:2]), inputs.numpy()).lower(INT8, tmp_path)
    assert lowered.compiled.reference.exact == {"second"}
    assert lowered.compared(inputs.numpy()).problem() is None


class Again(nn.Module):
    """One convolution, run twice."""

    def __init__(self, *, alike: bool) -> None:
        super().__init__()
        self.inner, self.neuron, self.alike = nn.Conv2d(4, 4, 3, padding=1), LIF(EASILY), alike
        self.other = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.again(self.neuron(self.inner(self.other(x) + x if not self.alike else x)))

    def again(self, x: Tensor) -> Tensor:
        result: Tensor = self.inner(x)
        return result


class UnderTwoNames(Again):
    """By another of its names the second time."""

    def __init__(self, *, alike: bool) -> None:
        super().__init__(alike=alike)
        self.outer = self.inner

    def again(self, x: Tensor) -> Tensor:
        result: Tensor = self.outer(x)
        return result


@pytest.mark.parametrize("target", ["generic", "onnxruntime-cpu"])
@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("kind", [Again, UnderTwoNames])
def test_a_module_that_runs_twice_is_rounded_where_both_round_it_alike(
    kind: type[Again], alike: bool, target: str, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    network = between(kind(alike=alike), (2, 6, 6))
    lowered = network.lower(Options(2, precision="int8", target=target), tmp_path)
    assert lowered.compiled.kept_float == (() if alike else ("middle.inner",))
    assert lowered.compared(network.inputs).problem() is None


class Attention(nn.Module):
    """Attention over tokens, whose weights are not those of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.neuron = nn.Linear(8, 8), LIF(EASILY)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.neuron(self.linear(x))
        attended: Tensor = self.attention(spikes, spikes, spikes, need_weights=False)[0]
        return attended


def test_attention_stays_in_float_by_itself(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network, inputs = nn.Sequential(), torch.rand(4, 5, 6)
    for name, layer in (
        ("stem", nn.Linear(6, 8)),
        ("first", LIF(EASILY)),
        ("middle", Attention()),
        ("last", LIF(EASILY)),
    ):
        network.add_module(name, layer)
    network.extend([nn.Flatten(), nn.Linear(40, 3)])
    prepared = Prepared(network.eval(), Compiler(network, inputs[:2]), inputs.numpy())
    lowered = prepared.lower(INT8, tmp_path)
    assert lowered.compiled.kept_float == ("middle.attention",)
    assert lowered.compared(prepared.inputs).problem() is None


def test_the_manifest_names_what_stayed_and_the_artifact_can_be_lowered_anew(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = between(Mixed(normed()), (2, 6, 6))
    inputs = torch.from_numpy(network.inputs)
    manifest = export(
        network.network, inputs[:2], 2, samples=inputs, precision="int8", output=tmp_path
    ).artifact.manifest
    assert manifest.precision.kept_float == ("middle.layer.1",)
    assert recompile(manifest, network.network).reference.exact == {"middle.neuron"}


@pytest.mark.parametrize("name", ["stem", "head"])
def test_a_layer_that_is_float_anyway_need_not_be_kept(name: str) -> None:
    torch.manual_seed(1)
    network = between(nn.Linear(4, 7), (5,))
    with pytest.raises(ExportError, match=rf"^--keep-float {name} changes nothing: it is the "):
        network.compiler.compile(Options(2, precision="int8", keep_float=(name,)))
    samples = [network.inputs]
    options = Options(2, precision="int8", keep_float=(name,), quantize_ends=True)
    assert network.compiler.compile(options, samples).kept_float == (name,)


class Tokens(nn.Module):
    """A linear layer on tokens, and what stands between it and its neuron."""

    def __init__(self, norm: nn.Module, *, bias: bool) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(9, 8, bias=bias), norm

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(self.linear(x).transpose(1, 2)).transpose(1, 2)
        return normed


def norm_of(channels: int) -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(channels)
    nn.init.uniform_(norm.running_var, 0.1, 0.3)  # type: ignore[arg-type]
    nn.init.normal_(norm.running_mean, 0.0, 0.1)  # type: ignore[arg-type]
    return norm


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "norm", [lambda: norm_of(8), nn.Identity, lambda: nn.LayerNorm(4)], ids=["batch", "no", "layer"]
)
def test_tokens_with_a_norm_are_compared_as_their_neuron_computes(
    norm: Callable[[], nn.Module], bias: bool, tmp_path: Path
) -> None:
    shape: Shape = (2, 9)
    torch.manual_seed(0)
    network = between(Tokens(norm(), bias=bias), shape)
    for target in ("generic", "onnxruntime-cpu"):
        lowered = network.lower(Options(2, precision="int8", target=target), tmp_path)
        assert lowered.compared(network.inputs).problem() is None
        is_float = isinstance(network.network.get_submodule("middle.norm"), nn.LayerNorm)
        assert ("second" in lowered.compiled.calibration.zeros) == (target == "onnxruntime-cpu" and not is_float)
        assert not lowered.compiled.calibration.currents  # one rounding, where the neuron reads them


class Read(nn.Module):
    """A layer whose weight a function reads too, a norm behind it or not."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.layer, self.norm = nn.Conv2d(4, 4, 3, padding=1), norm
        self.neuron, self.last = LIF(EASILY), nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        again = functional.conv2d(x, self.layer.weight, padding=1)
        last: Tensor = self.last(self.neuron(self.norm(self.layer(x)) + again))
        return last


@pytest.mark.parametrize("norm", [nn.Identity(), nn.BatchNorm2d(4, eps=3.0)])
def test_a_layer_whose_weight_something_else_reads_stays_in_float(norm: nn.Module, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = between(Read(norm), (2, 6, 6))
    lowered = network.lower(INT8, tmp_path)
    assert lowered.compiled.kept_float == ("middle", "middle.layer")
    assert lowered.compared(network.inputs).problem() is None
    assert network.lower(Options(2, precision="fp16"), tmp_path).compared(network.inputs).problem() is None
