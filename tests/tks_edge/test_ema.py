"""Averaged weights: the recurrence by hand, batch norm, a state that continues to the bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tks_edge.ema import WeightAverage
from tks_edge.tensors import read_tensors, write_tensors
from tks_edge_models import Network, create
from tks_edge_runtime.errors import InputError


def network(seed: int = 0, classes: int = 4) -> Network:
    torch.manual_seed(seed)
    return create("tiny", num_classes=classes, in_channels=1, image_size=16)


def step(network: Network, seed: int) -> None:
    """A step of training on noise: the weights and the statistics of the batch norms change."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (4, 1, 16, 16), dtype=torch.uint8, generator=generator)
    network.train()
    loss = network(images, timesteps=2).square().mean()
    network.zero_grad()
    loss.backward()
    with torch.no_grad():
        for parameter in network.parameters():
            assert parameter.grad is not None
            parameter.sub_(parameter.grad, alpha=0.1)


def test_the_average_is_the_recurrence_with_a_rising_decay() -> None:
    model = network()
    average = WeightAverage(model, 0.4)
    expected: dict[str, torch.Tensor] = {}
    # The first is taken as it is; then 2/11, 3/12, 4/13, and 0.4 from 5/14 < 0.4 < 6/15 on.
    for n, decay in enumerate([0.0, 2 / 11, 3 / 12, 4 / 13, 5 / 14, 0.4, 0.4]):
        step(model, n)
        average.update(model)
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point():
                expected[name] = tensor.clone()
            else:
                before = expected.get(name, torch.zeros((), dtype=torch.float64))
                expected[name] = decay * before + (1 - decay) * tensor.double()
    assert average.updates == 7
    found = average.network.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        if tensor.is_floating_point():
            assert torch.allclose(tensor.double(), expected[name], rtol=1e-4, atol=1e-6), name
        else:
            assert torch.equal(tensor, expected[name]), name


def test_batch_norm_s_statistics_are_averaged_and_its_counter_is_copied() -> None:
    model = network()
    average = WeightAverage(model, 0.9)
    for n in range(3):
        step(model, n)
        average.update(model)
    mine, theirs = average.network.state_dict(), model.state_dict()
    means = [name for name in mine if name.endswith("running_mean")]
    counters = [name for name in mine if name.endswith("num_batches_tracked")]
    assert means
    assert counters
    assert all(not torch.equal(mine[name], theirs[name]) for name in means)
    assert all(int(mine[name]) == 3 for name in counters)


def test_following_changes_nothing_in_the_network_and_shares_nothing_with_it() -> None:
    model, alone = network(), network()
    average = WeightAverage(model, 0.9)
    for n in range(3):
        step(model, n)
        average.update(model)
        step(alone, n)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, alone.state_dict()[name]), name
    assert all(parameter.requires_grad for parameter in model.parameters())
    before = {name: tensor.clone() for name, tensor in average.network.state_dict().items()}
    step(model, 9)
    for name, tensor in average.network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_the_averaged_network_is_one_to_evaluate() -> None:
    model = network()
    average = WeightAverage(model, 0.9)
    step(model, 0)
    average.update(model)
    images = torch.randint(0, 256, (3, 1, 16, 16), dtype=torch.uint8)
    assert isinstance(average.network, Network)
    assert not average.network.training
    assert average.network.spec == model.spec
    logits = average.network(images, timesteps=2)
    assert not logits.requires_grad
    assert torch.equal(logits, model.eval()(images, timesteps=2))


def test_it_continues_from_a_file_to_the_bit(tmp_path: Path) -> None:
    model = network()
    whole = WeightAverage(model, 0.9)
    for n in range(3):
        step(model, n)
        whole.update(model)
    write_tensors(tmp_path / "last", whole.state(), {})
    resumed = WeightAverage(network(seed=5), 0.9)
    resumed.load(read_tensors(tmp_path / "last")[0], tmp_path / "last")
    assert resumed.updates == 3
    for n in range(3, 6):
        step(model, n)
        whole.update(model)
        resumed.update(model)
    assert resumed.updates == whole.updates == 6
    for name, tensor in whole.state().items():
        assert torch.equal(tensor, resumed.state()[name]), name


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    model = network()
    average = WeightAverage(model, 0.9)
    average.update(model)
    before = {name: tensor.clone() for name, tensor in average.state().items()}
    other = WeightAverage(network(classes=5), 0.9).state()
    with pytest.raises(InputError, match="does not fit"):
        average.load(other, tmp_path / "last")
    for bad in (None, torch.tensor(1.5), torch.tensor([1]), torch.tensor(-1)):
        state = {name: tensor for name, tensor in before.items() if name != "updates"}
        with pytest.raises(InputError, match="lacks the state of the averaged weights"):
            average.load(state if bad is None else state | {"updates": bad}, tmp_path / "last")
    for name, tensor in average.state().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("decay", [0.0, 1.0, -1.0, float("nan")])
def test_a_decay_out_of_range_is_refused(decay: float) -> None:
    with pytest.raises(InputError, match="allowed is above 0 and below 1"):
        WeightAverage(network(), decay)
