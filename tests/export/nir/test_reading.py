"""Files of NIR: what becomes of their nodes, what is asked for, and what is refused."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch

from tests.export.nir.files import HARD, chain, lif, linear, values, written
from tks_edge_export.nir_graphs import Discretization, NirError, read_nir
from tks_edge_models import Network
from tks_edge_models.graph_samples import for_samples


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.nir"


def operators(network: Network) -> dict[str, str]:
    return {node["name"]: node["operator"] for node in network.spec["graph"]["nodes"]}


def options(network: Network, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(n["options"] for n in network.spec["graph"]["nodes"] if n["name"] == name)
    return found


def test_nodes_of_every_kind_compute_what_they_say(file: Path) -> None:
    kernel, bias = values(4, 2, 3, 3), values(4)
    nodes = (
        nir.Conv2d((8, 8), kernel, 2, 1, 1, 1, bias),
        nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        nir.Scale(np.full((4, 2, 2), 0.25)),
        nir.AvgPool2d(np.array([2, 2]), np.array([1, 1]), np.array([1, 1])),
        nir.Flatten({"input": np.array([4, 3, 3])}, 0, -1),
        nir.Linear(values(3, 36)),
        lif(3),
    )
    network = read_nir(chain(file, *nodes, shape=(2, 8, 8)), HARD)
    x = torch.from_numpy(values(5, 2, 8, 8, seed=7))
    with torch.no_grad():
        y = torch.nn.functional.conv2d(x, torch.from_numpy(kernel), torch.from_numpy(bias), stride=2, padding=1)
        y = torch.nn.functional.avg_pool2d(y, 2) * 4 * 0.25
        y = torch.nn.functional.avg_pool2d(y, 2, 1, 1).flatten(1) @ torch.from_numpy(values(3, 36)).T
        spikes = network(x, timesteps=1)[0]
    assert torch.equal(spikes, (y / 2 >= 0.5).float())
    assert 0.0 < float(spikes.mean()) < 1.0


def test_a_convolution_along_one_axis_and_padding_by_name(file: Path) -> None:
    weight, bias = values(3, 2, 5), values(3)
    nodes = (nir.Conv1d(8, weight, 1, "same", 1, 1, bias), nir.Flatten({"input": np.array([3, 8])}, 0, -1), lif(24))
    network = read_nir(chain(file, *nodes, shape=(2, 8), outputs=(24,)), HARD)
    x = torch.from_numpy(values(2, 2, 8, seed=3))
    y = torch.nn.functional.conv1d(x, torch.from_numpy(weight), torch.from_numpy(bias), padding="same").flatten(1)
    with torch.no_grad():
        assert torch.equal(network(x, timesteps=1)[0], (y / 2 >= 0.5).float())


def test_several_edges_into_a_node_are_summed(file: Path) -> None:
    nodes = {"a": linear(6, 6), "b": lif(6), "c": linear(6, 6, seed=4), "d": lif(6)}
    edges = [("input", "a"), ("a", "b"), ("b", "c"), ("c", "d"), ("b", "d"), ("d", "output"), ("b", "output")]
    network = read_nir(written(file, nodes, edges, outputs=(6,)), HARD)
    assert sorted(operators(network).values()) == ["add", "add", "linear", "linear", "relaxing_lif", "relaxing_lif"]
    x = torch.from_numpy(values(3, 6))
    with torch.no_grad():
        first = (
            torch.nn.functional.linear(x, *map(torch.from_numpy, (values(6, 6), values(6, seed=1)))) / 2 >= 0.5
        ).float()
        current = torch.nn.functional.linear(first, *map(torch.from_numpy, (values(6, 6, seed=4), values(6, seed=5))))
        assert torch.equal(network(x, timesteps=1)[0], first + ((current + first) / 2 >= 0.5).float())


def test_graphs_in_graphs_are_laid_out(file: Path) -> None:
    ends = {"in": nir.Input({"input": np.array([4])}), "out": nir.Output({"output": np.array([4])})}
    inner = nir.NIRGraph({**ends, "x": lif(4)}, [("in", "x"), ("x", "out")], type_check=False)
    outer = nir.NIRGraph(
        {**ends, "block": inner, "w": linear(4, 4)}, [("in", "w"), ("w", "block"), ("block", "out")], type_check=False
    )
    nodes = {"first": linear(6, 4), "outer": outer, "last": linear(4, 3)}
    edges = [("input", "first"), ("first", "outer"), ("outer", "last"), ("last", "output")]
    network = read_nir(written(file, nodes, edges), HARD)
    assert operators(network)["outer.block.x"] == "relaxing_lif"
    assert "body.outer.w.weight" in network.state_dict() or "stem.outer.w.weight" in network.state_dict()


def test_names_that_a_module_cannot_have_are_changed(file: Path) -> None:
    names = ["forward", "a", "a.b", "training", "x..y"]
    nodes: dict[str, Any] = {name: linear(6, 6, seed=place) for place, name in enumerate(names)} | {"type": lif(6)}
    row = ["input", *nodes, "output"]
    network = read_nir(written(file, nodes, list(pairwise(row)), outputs=(6,)), HARD)
    kept = [value for name, value in network.state_dict().items() if name.endswith("weight")]
    for place in range(len(names)):
        assert any(np.array_equal(value.numpy(), values(6, 6, seed=place)) for value in kept)


def test_a_batch_of_one_that_the_file_declares_is_no_part_of_a_sample(file: Path) -> None:
    assert read_nir(chain(file, linear(6, 3), lif(3), shape=(1, 6)), HARD).input_shape == (6,)


def test_a_vector_is_made_of_the_samples_of_images(file: Path) -> None:
    network = read_nir(chain(file, linear(6, 3), lif(3)), HARD)
    made = for_samples(network, (1, 2, 3), mean=[0.5], std=[0.25])
    pixels = torch.randint(0, 256, (4, 1, 2, 3), dtype=torch.uint8)
    with torch.no_grad():
        expected = network(((pixels.float() / 255 - 0.5) / 0.25).flatten(1), timesteps=3)
        assert torch.equal(made(pixels, timesteps=3), expected)


@pytest.mark.parametrize(
    ("constants", "told", "operator", "expected"),
    [
        ({}, {}, "relaxing_lif", {"tau": 2.0, "v_reset": 0.0, "strict": False}),
        ({}, {"fires": "above"}, "relaxing_lif", {"rate": 0.5, "strict": True}),
        ({}, {"reset": "soft", "reset_delay": False}, "relaxing_lif", {"tau": 2.0, "v_reset": None}),
        ({"r": 2.0}, {"decay_input": None}, "relaxing_lif", {"tau": 2.0, "decay_input": False}),
        ({}, {"decay_input": False}, "relaxing_lif", {"tau": 2.0, "decay_input": False}),
        ({"v_reset": -1.0, "v_leak": -1.0}, {"reset": None}, "relaxing_lif", {"v_reset": -1.0}),
        (
            {"r": 2.0},
            {"decay_input": None, "fires": "above", "reset": "soft", "reset_delay": True},
            "delayed_reset_lif",
            {"beta": 0.5, "v_threshold": 0.5, "delay": True},
        ),
        ({}, {"leak": "exponential"}, "lif", {"v_reset": 0.0, "decay_input": True}),
    ],
)
def test_the_neuron_follows_from_the_equation_and_what_is_told(
    file: Path, constants: dict[str, float], told: dict[str, Any], operator: str, expected: dict[str, Any]
) -> None:
    network = read_nir(chain(file, linear(6, 3), lif(3, **constants)), dataclasses.replace(HARD, **told))
    assert operators(network)["n1"] == operator
    found = options(network, "n1")
    assert {name: found[name] for name in expected} == expected


def test_an_input_of_another_scale_is_scaled_before_the_neuron(file: Path) -> None:
    network = read_nir(chain(file, linear(6, 3), lif(3, r=6.0)), dataclasses.replace(HARD, decay_input=None))
    assert options(network, "n1_scale") == {"factor": 3.0}


def test_a_threshold_is_a_neuron_without_memory(file: Path) -> None:
    network = read_nir(chain(file, linear(6, 3), nir.Threshold(np.full(3, 0.5))), Discretization(fires="above"))
    x = torch.from_numpy(values(4, 6))
    y = torch.nn.functional.linear(x, torch.from_numpy(values(3, 6)), torch.from_numpy(values(3, seed=1)))
    with torch.no_grad():
        assert torch.equal(network(x, timesteps=2), (y > 0.5).float().expand(2, 4, 3))


def test_everything_that_is_missing_is_named_at_once(file: Path) -> None:
    chain(file, linear(6, 3), lif(3))
    with pytest.raises(NirError) as caught:
        read_nir(file)
    for flag in ("--dt", "--leak", "--decay-input", "--fires", "--reset"):
        assert flag in str(caught.value)
    assert "n1" in str(caught.value)
    assert "--reset-delay" not in str(caught.value)
    with pytest.raises(NirError, match="--reset-delay"):
        read_nir(file, dataclasses.replace(HARD, reset="soft"))


@pytest.mark.parametrize(
    ("constants", "told", "flag"),
    [
        ({"r": 2.0}, {}, "--decay-input"),
        ({"v_reset": -1.0, "v_leak": -1.0}, {}, "--reset"),
        ({}, {"reset_delay": True}, "--reset-delay"),
    ],
)
def test_what_is_told_for_nothing_is_refused(
    file: Path, constants: dict[str, float], told: dict[str, Any], flag: str
) -> None:
    chain(file, linear(6, 3), lif(3, **constants))
    with pytest.raises(NirError, match=f"{flag}.* changes nothing"):
        read_nir(file, dataclasses.replace(HARD, **told))


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"dt": 0.0}, "above 0"),
        ({"dt": float("nan")}, "above 0"),
        ({"fires": "below"}, "at or above"),
        ({"leak": "no"}, "euler"),
    ],
)
def test_values_that_are_not_allowed(told: dict[str, Any], message: str) -> None:
    with pytest.raises(NirError, match=message):
        Discretization(**told)


def per_neuron(**changed: Any) -> Any:
    node = lif(3)
    for name, value in changed.items():
        setattr(node, name, np.array(value))
    return node


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (per_neuron(tau=[1e-4, 2e-4, 3e-4]), "tau differs from neuron to neuron"),
        (per_neuron(v_threshold=[np.nan] * 3), "n1"),
        (lif(3, v_leak=0.25), "v_leak is 0.25 and v_reset 0"),
        (lif(3, v_threshold=0.0), "not above the potential at rest"),
        (lif(3, tau=5e-5), "shorter than the timestep"),
        (lif(3, tau=-1.0), "a time constant is above 0"),
        (nir.LI(tau=np.ones(3), r=np.ones(3), v_leak=np.zeros(3)), "gives its membrane"),
        (nir.I(r=np.ones(3)), "gives its membrane"),
        (nir.Delay(delay=np.ones(3)), "values of earlier timesteps"),
        (nir.Scale(np.array([1.0, 2.0, 3.0])), "scale differs"),
        (nir.Affine(np.full((3, 3), np.inf), np.zeros(3)), "no finite numbers"),
        (nir.Affine(values(2, 3, 3), np.zeros(3)), "along 2 axes"),
        (nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([1, 1])), "padding"),
    ],
)
def test_a_node_that_cannot_be_kept_is_named(file: Path, node: Any, message: str) -> None:
    chain(file, linear(6, 3), node, lif(3), shape=(6,))
    with pytest.raises(NirError, match=message) as caught:
        read_nir(file, HARD)
    assert "n1" in str(caught.value)


def test_shapes_that_do_not_fit_name_the_node(file: Path) -> None:
    chain(file, linear(6, 4), lif(4), linear(5, 3), lif(3))
    with pytest.raises(NirError, match=r"'n2' \(linear\) does not take \[4\]"):
        read_nir(file, HARD)


def test_an_output_that_is_no_vector_of_classes(file: Path) -> None:
    kernel = nir.Conv2d((6, 6), values(3, 1, 3, 3), 1, 1, 1, 1, values(3))
    with pytest.raises(NirError, match="one for each class"):
        read_nir(chain(file, kernel, lif(3, 6, 6), shape=(1, 6, 6)), HARD)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([("a", "b"), ("b", "a"), ("input", "a"), ("b", "output")], "feed back"),
        ([("input", "a"), ("b", "output")], "'b' reads nothing|depends on the node"),
        ([("input", "a"), ("a", "output"), ("input", "b")], "depends on the node 'b'"),
    ],
)
def test_graphs_that_do_not_go_from_input_to_output(file: Path, edges: list[tuple[str, str]], message: str) -> None:
    written(file, {"a": linear(6, 6), "b": lif(6)}, edges, outputs=(6,))
    with pytest.raises(NirError, match=message):
        read_nir(file, HARD)
