"""Networks of ours as files of NIR: what is read again fires the same spikes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import nir
import pytest
import torch
from torch import Tensor, nn

from tks_edge_export.errors import ExportError
from tks_edge_export.nir_graphs import Discretization, NirError, read_nir, write_nir
from tks_edge_models import LIFParameters, Network, create
from tks_edge_models.graph import Graph, Node, graph_network
from tks_edge_models.stepping import spikes_of

_T = 4
NEURONS: dict[str, tuple[str, dict[str, Any]]] = {
    "hard": ("lif", {"tau": 2.0, "v_threshold": 0.5, "v_reset": 0.0}),
    "below zero": ("lif", {"tau": 2.0, "v_threshold": -0.1, "v_reset": -0.5}),
    "soft": ("lif", {"tau": 3.0, "v_threshold": 0.5, "v_reset": None, "decay_input": False}),
    "no leak": ("lif", {"tau": None, "v_threshold": 0.5, "v_reset": 0.0, "decay_input": False}),
    "spikingjelly": ("relaxing_lif", {"tau": 2.7, "v_threshold": 0.5, "decay_input": False}),
    "norse box": ("relaxing_lif", {"rate": 0.3, "v_threshold": 0.4, "strict": True}),
    "snntorch": ("delayed_reset_lif", {"beta": 0.9, "v_threshold": 0.5}),
    "snntorch at once": ("delayed_reset_lif", {"beta": 0.5, "v_threshold": 0.5, "delay": False}),
    "snntorch without leak": ("delayed_reset_lif", {"beta": 1.0, "v_threshold": 0.5}),
    "norse": ("current_lif", {"mem_rate": 0.2, "syn_rate": 0.5, "v_threshold": 0.4, "v_leak": 0.1}),
}


def network(*nodes: Node, output: str | None = None, shape: tuple[int, ...] = (1, 6, 6), classes: int = 5) -> Network:
    torch.manual_seed(0)
    made = graph_network(Graph(nodes, output or nodes[-1].name), shape, classes, mean=[0.4], std=[0.2])
    with torch.no_grad():
        for module in made.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                module.weight *= 2.5
    return made.eval()


def with_neuron(operator: str, options: Mapping[str, Any]) -> Network:
    linear = {"in_features": 36, "out_features": 12}
    return network(
        Node("flat", "flatten", ("input",)),
        Node("first", "linear", ("flat",), linear),
        Node("fires", operator, ("first",), options),
        Node("last", "linear", ("fires",), {"in_features": 12, "out_features": 5, "bias": False}),
        Node("again", operator, ("last",), options),
    )


def frames(channels: int = 1, size: int = 6) -> Tensor:
    return torch.randint(0, 256, (_T, 6, channels, size, size), generator=torch.Generator().manual_seed(3)).float()


def fired(read: Network, ours: Network, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    return list(spikes_of(read, ours.normalize(x)).values()), list(spikes_of(ours, x).values())


@pytest.mark.parametrize("kind", NEURONS)
@pytest.mark.parametrize("dt", [1e-4, 1.0])
def test_a_neuron_comes_back(tmp_path: Path, kind: str, dt: float) -> None:
    made, x = with_neuron(*NEURONS[kind]), frames()
    path = tmp_path / "model.nir"
    written = write_nir(made, path, x, dt=dt)
    assert written.agreement.differing == 0
    assert written.agreement.spikes == _T * 6 * 17
    got, expected = fired(read_nir(path), made, x)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
    assert all(0.02 < float(spikes.mean()) < 0.98 for spikes in got)
    # Told on the command line, where the notes are lost: the same equation, and sums in the order of a library.
    assert written.told is not None
    told, expected = fired(read_nir(path, written.told), made, x)
    assert all(torch.equal(a, b) for a, b in zip(told, expected, strict=True))


def test_the_file_is_plain_nir(tmp_path: Path) -> None:
    write_nir(with_neuron(*NEURONS["hard"]), tmp_path / "model.nir", frames(), dt=1e-3)
    graph = nir.read(tmp_path / "model.nir")
    neuron = graph.nodes["fires"]
    assert type(neuron).__name__ == "LIF"
    assert neuron.tau.tolist() == pytest.approx([2e-3] * 12)
    assert neuron.r.tolist() == [1.0] * 12
    assert neuron.v_threshold.tolist() == [0.5] * 12
    assert json.loads(graph.metadata["tks_edge"]) == {"mean": [0.4], "std": [0.2], "dt": 1e-3}


def residual(norm: bool) -> Network:
    conv = {"in_channels": 4, "out_channels": 4, "kernel_size": 3, "padding": 1, "bias": False}
    nodes = [
        Node("conv", "conv2d", ("input",), conv | {"in_channels": 1}),
        *([Node("norm", "batch_norm2d", ("conv",), {"num_features": 4})] if norm else []),
        Node("a", "lif", ("norm" if norm else "conv",), {"v_threshold": 0.3}),
        Node("branch", "conv2d", ("a",), conv),
        Node("b", "lif", ("branch",), {"v_threshold": 0.3}),
        Node("sum", "add", ("b", "a")),
        Node("scaled", "scale", ("sum",), {"factor": 0.5}),
        Node("pool", "avg_pool2d", ("scaled",), {"kernel_size": 2}),
        Node("all", "adaptive_avg_pool2d", ("pool",), {"output_size": 1}),
        Node("flat", "flatten", ("all",)),
        Node("last", "linear", ("flat",), {"in_features": 4, "out_features": 5}),
    ]
    made = network(*nodes)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low in ((module.running_mean, -0.2), (module.running_var, 0.3), (module.weight, 0.5)):
                assert tensor is not None
                nn.init.uniform_(tensor, low, low + 1.0)
    return made


@pytest.mark.parametrize("norm", [False, True])
def test_residual_edges_pools_and_norms(tmp_path: Path, norm: bool) -> None:
    made, x = residual(norm), frames()
    written = write_nir(made, tmp_path / "model.nir", x)
    assert written.norms == int(norm)
    graph = nir.read(tmp_path / "model.nir")
    assert ("a", "scaled") in graph.edges
    assert ("b", "scaled") in graph.edges
    got, expected = fired(read_nir(tmp_path / "model.nir"), made, x)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
    assert all(0.02 < float(spikes.mean()) < 0.98 for spikes in got)


@pytest.mark.parametrize("name", ["tiny", "sew_resnet18"])
def test_a_network_of_the_registry(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    made = create(name, num_classes=10, in_channels=1, image_size=8, lif=LIFParameters(v_threshold=0.2)).eval()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.bias, 0.3)
    x = frames(size=8)
    written = write_nir(made, tmp_path / "model.nir", x)
    assert written.norms == sum(isinstance(module, nn.BatchNorm2d) for module in made.modules())
    read = read_nir(tmp_path / "model.nir")
    with torch.no_grad():
        logits = read(made.normalize(x))
        assert torch.allclose(logits, made(x), atol=1e-4)
    assert float(next(iter(spikes_of(made, x).values())).mean()) > 0.02


def test_neurons_of_several_kinds_are_told_by_their_nodes_alone(tmp_path: Path) -> None:
    linear = {"in_features": 6, "out_features": 6}
    made = network(
        Node("flat", "flatten", ("input",)),
        Node("first", "linear", ("flat",), {"in_features": 36, "out_features": 6}),
        Node("hard", "lif", ("first",), {"v_threshold": 0.5}),
        Node("last", "linear", ("hard",), linear),
        Node("soft", "lif", ("last",), {"v_threshold": 0.5, "v_reset": None}),
        classes=6,
    )
    written = write_nir(made, tmp_path / "model.nir", frames())
    assert written.told is None
    assert written.agreement.differing == 0


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (Node("odd", "max_pool2d", ("conv",), {"kernel_size": 2}), "'odd' .*max_pool2d.* no node"),
        (Node("odd", "relu", ("conv",)), "'odd' .*relu.* no node"),
        (Node("odd", "multiply", ("conv", "conv")), "'odd' .*multiply.* no node"),
        (Node("odd", "add", ("conv", "conv")), "one value twice"),
        (Node("odd", "scale", ("conv",), {"offset": 1.0}), "'odd'.*adds 1"),
        (Node("odd", "avg_pool2d", ("conv",), {"kernel_size": 4, "ceil_mode": True}), "'odd'.*rounds"),
        (Node("odd", "adaptive_avg_pool2d", ("conv",), {"output_size": 4}), "'odd'.*not all of one size"),
    ],
)
def test_what_nir_cannot_say_is_named(tmp_path: Path, node: Node, message: str) -> None:
    made = network(
        Node("conv", "conv2d", ("input",), {"in_channels": 1, "out_channels": 5, "kernel_size": 1}),
        node,
        Node("all", "adaptive_avg_pool2d", ("odd",), {"output_size": 1}),
        Node("flat", "flatten", ("all",)),
        Node("fires", "lif", ("flat",)),
    )
    with pytest.raises(NirError, match=message):
        write_nir(made, tmp_path / "model.nir", frames())
    assert not list(tmp_path.iterdir())


def test_a_norm_that_goes_into_no_layer(tmp_path: Path) -> None:
    made = network(
        Node("norm", "batch_norm2d", ("input",), {"num_features": 1}),
        Node("flat", "flatten", ("norm",)),
        Node("fires", "lif", ("flat",)),
        classes=36,
    )
    with pytest.raises(NirError, match=r"'norm'.*folded"):
        write_nir(made, tmp_path / "model.nir", frames())


def test_a_reset_that_takes_something_else_than_the_threshold(tmp_path: Path) -> None:
    made = with_neuron("lif", {"v_threshold": 0.5, "v_reset": None, "v_jump": 0.2})
    with pytest.raises(NirError, match=r"'fires'.*subtracts 0.2"):
        write_nir(made, tmp_path / "model.nir", frames())


def test_networks_that_do_not_spike_or_attend(tmp_path: Path) -> None:
    twin = create("tiny", num_classes=10, in_channels=1, image_size=8, neuron="relu").eval()
    with pytest.raises(NirError, match="no neurons"):
        write_nir(twin, tmp_path / "model.nir", frames(size=8)[:1])
    with pytest.raises(ExportError, match="no operator"):
        write_nir(create("spikformer", num_classes=10).eval(), tmp_path / "model.nir", frames(3, 32))


@pytest.mark.parametrize("dt", [0.0, -1.0, math.inf])
def test_a_timestep_has_a_length(tmp_path: Path, dt: float) -> None:
    with pytest.raises(NirError, match="--dt"):
        write_nir(with_neuron(*NEURONS["hard"]), tmp_path / "model.nir", frames(), dt=dt)


def test_constants_that_were_changed_are_not_overruled_by_what_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "model.nir"
    write_nir(with_neuron(*NEURONS["hard"]), path, frames())
    with h5py.File(path, "r+") as file:
        file["node/nodes/fires/tau"][...] = 5e-4
    with pytest.raises(NirError, match=r"'fires'.*changed"):
        read_nir(path)
    told = Discretization(dt=1e-4, leak="euler", decay_input=True, fires="at", reset="hard")
    assert read_nir(path, told).spec["graph"]["nodes"][2]["options"]["tau"] == 5.0


@pytest.mark.parametrize(
    "noted",
    [
        "{",
        "[]",
        '{"operator": "relu", "options": {}, "dt": 1}',
        '{"operator": "lif"}',
        f'{{"operator": "lif", "options": {{}}, "dt": 1{"0" * 400}}}',
    ],
    ids=["cut off", "a list", "no neuron", "no options", "a huge number"],
)
def test_notes_that_are_damaged(tmp_path: Path, noted: str) -> None:
    path = tmp_path / "model.nir"
    write_nir(with_neuron(*NEURONS["hard"]), path, frames())
    with h5py.File(path, "r+") as file:
        del file["node/nodes/fires/metadata/tks_edge"]
        file["node/nodes/fires/metadata/tks_edge"] = noted
    with pytest.raises(NirError, match=r"'fires'.*damaged"):
        read_nir(path)


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.filterwarnings("ignore")
def test_another_library_reads_the_same_network_from_the_file(tmp_path: Path) -> None:
    from spikingjelly.activation_based import nir_exchange

    tiny = create("tiny", num_classes=10, in_channels=1, image_size=8).eval()
    for module in tiny.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.bias, 0.4)
    x = frames(size=8)
    write_nir(tiny, tmp_path / "tiny.nir", x)
    theirs = nir_exchange.import_from_nir(tmp_path / "tiny.nir", dt=1e-4)
    state, logits = None, []
    with torch.no_grad():
        for frame in tiny.normalize(x):
            given, state = theirs(frame, state)
            logits.append(given)
        assert torch.allclose(torch.stack(logits), tiny(x), atol=1e-5)
        assert float(tiny(x).std()) > 1e-2
