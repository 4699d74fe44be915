"""Which layer gets the time of an engine's node, in the words of each engine; every nanosecond goes somewhere, once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tks_edge_runtime.artifact import ANALOGUE, NEURON, SPIKES, WEIGHTS, LayerSpec
from tks_edge_runtime.backends import NodeTime
from tks_edge_runtime.layer_attribution import Attribution
from tks_edge_runtime.layer_profile import OTHER, attributed

LAYERS = (
    LayerSpec("stem.0", WEIGHTS, 8, ANALOGUE, 1.0),
    LayerSpec("body.1", NEURON, fire_rate=0.5, outputs=("state.body.1.out",)),
    LayerSpec("body.10.0", WEIGHTS, 8, SPIKES, 0.5),
    LayerSpec("body.10.0.query.0", WEIGHTS, 8, SPIKES, 0.5),
    LayerSpec("body.11", NEURON, fire_rate=0.5),
    LayerSpec("body.12", WEIGHTS, 8, SPIKES, 0.5, outputs=("logits",)),
)


@pytest.mark.parametrize(
    ("node", "made_of", "covered", "owner"),
    [
        # ONNX Runtime
        ("stem.0.conv2d_nchwc", (), ("stem.0",), "stem.0"),
        ("body.1.t0.h", (), ("body.1",), "body.1"),
        ("body.10.0.query.0.weight.rounded.decoded", (), ("body.10.0.query.0",), "body.10.0.query.0"),
        ("body.10.0.query.0", (), ("body.10.0",), "body.10.0"),
        ("ReorderOutput_token_16", (), (), None),
        ("normalize.mul", (), (), None),
        ("body.10.add_2", (), (), None),
        ("stem.01.conv2d", (), (), None),
        ("my.stem.0.conv2d", (), (), None),
        # OpenVINO: what a node was made of says more than its name.
        (
            "body.11.t1.rests",
            ("stem.0.conv2d/WithoutBiases", "Multiply_5396", "body.11.t0.rests"),
            ("stem.0", "body.11"),
            "stem.0",
        ),
        ("Subgraph_7", ("body.11.t0.rests", "body.12.linear"), ("body.11", "body.12"), "body.12"),
        ("logits", ("logits",), ("body.12",), "body.12"),
        ("state.body.1.out_acdb_abcd_state.body.1.out/sink_port_0", (), ("body.1",), "body.1"),
        ("logits2", (), (), None),
        # TensorRT
        ("stem.0.conv2d + PWN(body.1.t0.h, body.1.t0.rests)", (), ("stem.0", "body.1"), "stem.0"),
        ("{ForeignNode[body.1.t0.h...body.11.spikes]}", (), ("body.1", "body.11"), "body.1"),
        (
            "__myl_MulAdd_myl0_3",
            ("[ONNX Layer: body.11.t0.h]\x1f[ONNX Layer: body.11.t0.rests]",),
            ("body.11",),
            "body.11",
        ),
        ("Reformatting CopyNode for Input Tensor 0 to stem.0.conv2d", (), ("stem.0",), "stem.0"),
    ],
)
def test_a_node_goes_to_the_layer_whose_weights_it_holds_or_else_the_first(
    node: str, made_of: tuple[str, ...], covered: tuple[str, ...], owner: str | None
) -> None:
    attribution = Attribution(LAYERS)
    found = attribution.covered(NodeTime(node, 1, made_of))
    assert (found, attribution.owner(found)) == (covered, owner)


def test_a_network_without_outputs_in_its_layers_is_no_special_case() -> None:
    attribution = Attribution(LAYERS[:1])
    assert attribution.covered(NodeTime("logits", 1)) == ()
    assert attribution.covered(NodeTime("", 1)) == ()


names = st.sampled_from(
    ["stem.0.conv2d", "body.1.t0.h", "body.1.t1.h", "body.12.linear", "logits", "pool", "stem.0.conv2d + body.1.t0.h"]
)
run = st.dictionaries(names, st.integers(0, 10**9), min_size=1)


@given(times=run, count=st.integers(1, 4))
def test_what_is_attributed_is_what_the_profiler_said(times: dict[str, int], count: int) -> None:
    """In equal runs, where a sum of medians is the median of the sums."""
    nodes = [NodeTime(name, ns) for name, ns in times.items()]
    layers = attributed(LAYERS, [nodes] * count)
    assert [layer.path for layer in layers] == [*(layer.path for layer in LAYERS), OTHER]
    assert sum(layer.ms for layer in layers) == pytest.approx(sum(times.values()) / 1e6)
    assert sorted(node.name for layer in layers for node in layer.nodes) == sorted(times)
    for layer in layers:
        assert layer.ms == pytest.approx(sum(node.ms for node in layer.nodes))
    if any(times.values()):
        assert sum(layer.share for layer in layers) == pytest.approx(1.0)


def test_a_time_is_the_median_over_the_runs_of_the_sum_of_a_layers_nodes() -> None:
    runs = [
        [NodeTime("body.1.t0.h", 1_000_000), NodeTime("body.1.t1.h", 9_000_000)],
        [NodeTime("body.1.t0.h", 9_000_000), NodeTime("body.1.t1.h", 1_000_000), NodeTime("pool", 3_000_000)],
        [NodeTime("body.1.t0.h", 1_000_000), NodeTime("body.1.t1.h", 1_000_000)],
    ]
    found = {layer.path: layer for layer in attributed(LAYERS, runs)}
    assert found["body.1"].ms == 10.0
    assert [node.ms for node in found["body.1"].nodes] == [1.0, 1.0]
    assert found[OTHER].ms == 0.0
    assert found["stem.0"].nodes == ()
