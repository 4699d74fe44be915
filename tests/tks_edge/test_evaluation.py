from __future__ import annotations

import copy

import pytest
import torch

from tks_edge.data.dataset import Dataset
from tks_edge.evaluation import evaluate
from tks_edge.losses import mean
from tks_edge.settings import resolve
from tks_edge.trainer import build_network
from tks_edge_models import Network
from tks_edge_runtime.errors import InputError


@pytest.fixture(scope="module")
def trained(digits: Dataset) -> Network:
    """A network after a few steps of training, whose predictions differ between samples and between steps."""
    torch.manual_seed(0)
    built = build_network(resolve({}), digits)
    optimizer = torch.optim.AdamW(built.parameters(), lr=1e-2)
    images = torch.stack([digits.train[i][0] for i in range(48)])
    labels = torch.tensor(digits.train.labels[:48])
    for _ in range(12):
        optimizer.zero_grad()
        torch.autograd.backward(mean(built(images, timesteps=4), labels, 0.0))
        optimizer.step()
    return built.eval()


@pytest.fixture
def network(trained: Network) -> Network:
    return copy.deepcopy(trained)


def test_one_pass_gives_what_separate_runs_give(network: Network, few_digits: Dataset) -> None:
    asked = (6, 1, 2, 4)
    result = evaluate(network, few_digits.test, asked)
    images = torch.stack([few_digits.test[i][0] for i in range(30)])
    with torch.inference_mode():
        longest = network(images, timesteps=6)
        for row, timesteps in enumerate(asked):
            logits = network(images, timesteps=timesteps)
            assert torch.equal(longest[:timesteps], logits)
            assert torch.equal(result.predictions[row], logits.mean(0).argmax(-1))
    assert not torch.equal(result.predictions[0], result.predictions[1])


def test_accuracies_are_counts(network: Network, few_digits: Dataset) -> None:
    result = evaluate(network, few_digits.test, (1, 4))
    counts = [(a.timesteps, a.correct, a.total) for a in result.accuracies()]
    expected = [
        sum(int(p) == label for p, label in zip(row, few_digits.test.labels, strict=True)) for row in result.predictions
    ]
    assert counts == [(1, expected[0], 30), (4, expected[1], 30)]


def test_the_batch_size_changes_no_prediction(network: Network, few_digits: Dataset) -> None:
    results = [evaluate(network, few_digits.test, (1, 3), batch_size=size) for size in (1, 7, 30)]
    assert all(torch.equal(result.predictions, results[0].predictions) for result in results)
    assert all(result.loss == pytest.approx(results[0].loss, rel=1e-5) for result in results)


@pytest.mark.parametrize("training", [False, True])
def test_the_network_is_left_as_it_was(network: Network, few_digits: Dataset, training: bool) -> None:
    network.train(training)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    evaluate(network, few_digits.test, (1,))
    assert network.training is training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_the_twin_runs_one_pass(digits: Dataset, few_digits: Dataset) -> None:
    twin = build_network(resolve({"neuron": "relu"}), digits)
    assert [a.timesteps for a in evaluate(twin, few_digits.test, (1,)).accuracies()] == [1]
    with pytest.raises(InputError, match="one pass"):
        evaluate(twin, few_digits.test, (1, 2))


def test_timesteps_out_of_range(network: Network, few_digits: Dataset) -> None:
    with pytest.raises(InputError, match="allowed is 1 to 64"):
        evaluate(network, few_digits.test, (1, 65))
