"""What one captured timestep cannot show is refused, with the module's path and what to do; the rest is captured."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.export.modules_over_time import (
    AtMostFour,
    BatchStatistics,
    FromTheSixth,
    OtherDefault,
    OtherName,
    OverTime,
    OwnTime,
    Switched,
    neurons_by_hand,
)
from tests.export.unusual_modules import (
    BATCH,
    WIDTH,
    Around,
    Between,
    Blocks,
    Branching,
    Buffered,
    Cached,
    Charging,
    Counting,
    Difference,
    Doubled,
    Dropping,
    Elsewhere,
    Explicit,
    FirstOf,
    History,
    Leaky,
    Learning,
    Masked,
    Noisy,
    OnlyOutput,
    Outer,
    Positioned,
    Sequence,
    Skipped,
    ThreeAxes,
    Threshold,
    Twice,
    TwoStates,
    Words,
)
from tks_edge_export import ExportError
from tks_edge_export.capture import Capture, capture, is_lif
from tks_edge_export.one_timestep import check_timesteps
from tks_edge_models import LIF, create


def refused(make: Callable[[], nn.Module], example: Tensor) -> str:
    """The message with which the network that `make` makes is refused in evaluation mode: one or two lines."""
    torch.manual_seed(0)
    with pytest.raises(ExportError) as error:
        capture(make().eval(), example)
    assert str(error.value).count("\n") < 2
    return str(error.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Leaky, "the module 'layer.0' (Leaky) keeps a state between calls: its 'memories.v' changes"),
        (Buffered, "the module 'layer.0' (Buffered) keeps a state between calls: its 'trace' changes"),
        (Counting, "the module 'layer.0' (Counting) keeps a state between calls: its 'calls' changes"),
        (History, "the module 'layer.0' (History) keeps a state between calls: its 'seen.1' changes"),
        (Difference, "the module 'layer.0' (Difference) gives another output when it gets the same input again"),
        (Elsewhere, "the module 'layer.0' (Elsewhere) gives another output when it gets the same input again"),
        (Learning, "the network changes its weight 'layer.0.weight' when it runs"),
        (Dropping, "the module 'layer.0' (Dropping) draws random numbers"),
        (Noisy, "the module 'layer.0' (Noisy) draws random numbers"),
        (lambda: nn.GRUCell(WIDTH, WIDTH), "the module 'layer.0' (GRUCell) is recurrent and runs without its state"),
        (Doubled, "the module 'layer.0' (Doubled) is a layer of neurons with a forward of its own"),
        (
            Charging,
            "the module 'layer.0' (Charging) calls `charge` of tks_edge_models.lif itself: the graph would start",
        ),
        (
            OnlyOutput,
            "the module 'layer.0' (OnlyOutput) gives what its 'h' could go on from, but always starts from rest",
        ),
        (lambda: FirstOf(Explicit()), "the module 'layer.0.layer' (Explicit) gives what its 'u' could go on from"),
        (lambda: FirstOf(TwoStates()), "the module 'layer.0.layer' (TwoStates) gives what its 'a' could go on from"),
        (
            lambda: FirstOf(Explicit(), torch.zeros_like),
            "Use tks_edge_models.LIF; if 'u' is no state, leave that parameter or output out.",
        ),
    ],
)
def test_what_a_graph_would_lose_is_refused(make: Callable[[], nn.Module], message: str) -> None:
    assert message in refused(lambda: Around(nn.Sequential(make())), BATCH)


def test_an_example_that_lets_no_neuron_fire_shows_a_state_too() -> None:
    assert "its 'memories.v' changes" in refused(lambda: Around(Leaky()), torch.zeros(2, WIDTH))


def test_a_state_left_from_training_is_refused() -> None:
    network = Around(Leaky())
    network(BATCH)
    with pytest.raises(ExportError, match=r"the module 'layer' \(Leaky\) keeps 'memories' from an earlier call"):
        capture(network.eval(), BATCH)


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(WIDTH), nn.Dropout(), nn.MultiheadAttention(WIDTH, 1)])
def test_training_mode_is_refused_where_it_matters(layer: nn.Module) -> None:
    with pytest.raises(ExportError) as error:
        capture(Around(nn.Sequential(layer)), BATCH)
    assert str(error.value).startswith(f"the module 'layer.0' ({type(layer).__name__}) is in training mode")
    assert "call eval() on the network first" in str(error.value)


@pytest.mark.parametrize(
    ("make", "example", "message"),
    [
        (Twice, BATCH, "the LIF layer 'first' runs more than once a timestep"),
        (Branching, BATCH, "(Branching) cannot be captured as a static graph: it branches on the values"),
        (lambda: OwnTime(8), BATCH, "the module 'lif' (LIF) gets currents of shape [8, 2, 16] for a batch of 2"),
        (lambda: OwnTime(2), BATCH, "the module 'lif' (LIF) gets currents of shape [2, 2, 16] for a batch of 2"),
        (Sequence, BATCH.unsqueeze(0), "the module 'recurrent' (GRU) is recurrent and runs without"),
        (lambda: OverTime(lambda x: x.sum(0)), BATCH, "the network itself (OverTime) gives something else for"),
        (lambda: OverTime(lambda x: x.cumsum(0)), BATCH, "gives something else for 4 timesteps"),
        (lambda: OverTime(lambda x: 2 * x if len(x) > 1 else x), BATCH, "gives something else for 4 timesteps"),
        (lambda: OverTime(neurons_by_hand), BATCH, "(OverTime) calls `step` of tks_edge_models.lif itself"),
        (lambda: OverTime(BatchStatistics()), BATCH, "the module 'readout.norm' (BatchNorm1d) gives something else"),
        (lambda: Around(nn.ReLU()), BATCH[:, :5], "the module 'before' (Linear) fails on the example of shape [2, 5]"),
        (lambda: Around(nn.Identity()).double(), BATCH.double(), "the module 'lif' (LIF) gets torch.float64"),
        (lambda: Around(nn.Identity()).to("meta"), BATCH, "the network cannot be copied"),
        (lambda: nn.GRU(WIDTH, WIDTH), BATCH, "the network gives a tuple; one tensor is needed"),
        (nn.Flatten, BATCH.long(), "the network gives torch.int64; logits in float32 are needed"),
        (lambda: nn.Bilinear(WIDTH, WIDTH, 3), BATCH, "missing 1 required positional argument: 'input2'"),
        (lambda: torch.compile(nn.Linear(WIDTH, 3)), BATCH, "(OptimizedModule) is compiled; give the module"),
    ],
)
def test_a_network_that_is_no_single_timestep_is_refused(
    make: Callable[[], nn.Module], example: Tensor, message: str
) -> None:
    assert message in refused(make, example)


@pytest.mark.filterwarnings("ignore:.*jit.script.*")
def test_a_script_is_refused() -> None:
    with pytest.raises(ExportError, match=r"the module 'layer' .* is compiled; give"):
        capture(Around(torch.jit.script(nn.Linear(WIDTH, WIDTH))).eval(), BATCH)


def test_time_that_is_the_first_axis_of_the_input_is_watched_too() -> None:
    class Frames(nn.Module):
        def __init__(self, *, mixes: bool) -> None:
            super().__init__()
            self.lif = LIF()
            self.mixes = mixes

        def forward(self, x: Tensor) -> Tensor:
            spikes: Tensor = self.lif(x)
            return spikes.cumsum(0) if self.mixes else spikes

    with pytest.raises(ExportError, match="gives something else for 4 timesteps"):
        capture(Frames(mixes=True), torch.rand(1, 2, WIDTH))
    assert list(capture(Frames(mixes=False), torch.rand(1, 2, WIDTH)).neurons) == ["lif"]


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ("digits", "the example input is a str; one tensor is needed"),
        (torch.tensor(1.0), "has shape []; a batch"),
        (torch.rand(0, 4), "has shape [0, 4]; a batch"),
        (torch.rand(2, 4).to(torch.complex64), "a dense tensor of real numbers is needed"),
        (torch.eye(4).to_sparse(), "a dense tensor of real numbers is needed"),
        (torch.rand(2, 4, device="meta"), "a dense tensor of real numbers is needed"),
    ],
)
def test_an_example_that_is_no_batch_is_refused(example: Tensor, message: str) -> None:
    with pytest.raises(ExportError) as error:
        capture(Around(nn.Identity()), example)
    assert message in str(error.value)


def lif_nodes(captured: Capture) -> list[str]:
    return [node.attributes["path"].as_string() for node in captured.model.graph if is_lif(node)]


def test_the_network_stays_as_it_was() -> None:
    network = Around(nn.Sequential(nn.Dropout(), nn.BatchNorm1d(WIDTH))).eval()
    network.lif.register_forward_hook(lambda *_: None)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    captured = capture(network, BATCH.clone().requires_grad_())
    assert lif_nodes(captured) == ["lif"] == list(captured.neurons)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert "forward" not in vars(network.lif)
    assert network(BATCH[:1]).shape == (1, 3)


def test_training_mode_is_captured_where_it_does_not_matter() -> None:
    network = Around(nn.ReLU())
    captured = capture(network, BATCH)
    assert network.training
    assert "Relu" in {node.op_type for node in captured.model.graph}


@pytest.mark.parametrize(
    ("network", "example"),
    [
        (Around(FirstOf(Masked())), BATCH),
        (Around(FirstOf(Masked(), torch.ones_like)), BATCH),
        (Around(Blocks()), BATCH),
        (Around(Skipped()), BATCH),
        (Around(Positioned()), BATCH),
        (Around(nn.TransformerEncoderLayer(WIDTH, 1, WIDTH)), BATCH),
        (Around(Cached()), BATCH),
        (OverTime(lambda x: x.mean(0)), BATCH),
        (Words(), torch.rand(2, 3, WIDTH)),
    ],
    ids=[
        "mask",
        "all of one mask",
        "residual",
        "no residual",
        "offset",
        "attention",
        "cache",
        "mean over time",
        "recurrent over words",
    ],
)
def test_what_only_looks_like_a_state_is_captured(network: nn.Module, example: Tensor) -> None:
    assert lif_nodes(capture(network.eval(), example)) == ["lif"]


@pytest.mark.parametrize(("make", "name"), [(OtherName, "T"), (OtherDefault, "duration")])
def test_another_number_of_timesteps_is_refused(make: Callable[[], nn.Module], name: str) -> None:
    message = refused(make, BATCH)
    assert f"the network itself ({make.__name__}) takes {name!r} beside its input" in message
    assert "call it `timesteps`; if not, wrap the network" in message
    assert lif_nodes(capture(Switched().eval(), BATCH)) == ["lif"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (FromTheSixth, "the network itself (FromTheSixth) gives something else for 8 timesteps at once"),
        (AtMostFour, "the module 'lif' (LIF) gets currents of shape [4, 2, 16] at 8 timesteps"),
    ],
)
def test_what_depends_on_the_number_of_timesteps_is_refused_for_that_number(
    make: Callable[[], nn.Module], message: str
) -> None:
    network = make().eval()
    capture(network, BATCH)
    for timesteps in (1, 2, 3, 4):
        check_timesteps(network, BATCH, timesteps)
    with pytest.raises(ExportError) as error:
        check_timesteps(network, BATCH, 8)
    assert message in str(error.value)


@pytest.mark.parametrize("timesteps", [2, 3, 5, 7])
def test_any_number_of_timesteps_is_tried(timesteps: int) -> None:
    with pytest.raises(ExportError, match=f"something else for {timesteps} timesteps at once"):
        check_timesteps(OverTime(lambda x: x.flip(0)), BATCH, timesteps)
    check_timesteps(OverTime(lambda x: x.mean(0)), BATCH, timesteps)
    check_timesteps(Around(nn.Identity()), BATCH, timesteps)


@pytest.mark.parametrize(
    ("before", "behind"),
    [
        (lambda x: x * len(x), nn.Identity()),
        (nn.Identity(), lambda x: x.roll(1, 0)),
        (nn.Identity(), lambda x: x.cumsum(0)),
        (nn.Identity(), lambda x: x + x.sum(0)),
    ],
)
def test_the_module_that_mixes_is_named_and_not_the_next_one(
    before: Callable[[Tensor], Tensor], behind: Callable[[Tensor], Tensor]
) -> None:
    network = Between(before, behind)
    assert "the network itself (Between) gives something else" in refused(lambda: network, BATCH)
    assert "the module 'layer' (Between) gives something else" in refused(lambda: Outer(network), BATCH)


def test_a_state_that_the_network_itself_keeps_is_not_blamed_on_the_next_module() -> None:
    seen: list[Tensor] = []

    def add(x: Tensor) -> Tensor:
        seen.append(x)
        return x * len(seen)

    network = Between(add, nn.Identity())
    assert "the network itself (Between) gives another output when it gets the same" in refused(lambda: network, BATCH)


def test_what_reads_the_constants_of_a_lif_layer_is_captured() -> None:
    assert list(capture(Threshold(), BATCH).neurons) == ["lif"]


def test_what_the_tracer_cannot_do_is_said_in_its_own_words() -> None:
    message = refused(lambda: Around(ThreeAxes()), BATCH)
    assert message.endswith("cannot be captured as a static graph: only 4D query, key, and value are supported")


def test_our_networks_are_captured_from_frames_of_empty_images() -> None:
    network = create("tiny", num_classes=4, in_channels=2, image_size=16).eval()
    layers = [path for path, layer in network.named_modules() if isinstance(layer, LIF)]
    assert lif_nodes(capture(network, torch.zeros(1, 3, 2, 16, 16, dtype=torch.uint8))) == layers
