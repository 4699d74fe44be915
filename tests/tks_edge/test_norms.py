"""Batch norm's statistics of recordings in fewer frames: taken anew, kept with the run, never those of others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.tks_edge.short_training import short
from tests.tks_edge.test_event_sets import write_folder
from tks_edge import norms
from tks_edge.accuracy import evaluate_views, passes
from tks_edge.checkpoint import NORMS, Run, load_run
from tks_edge.norms import network_for
from tks_edge.trainer import train
from tks_edge.views import views
from tks_edge_models import Network

RECORDINGS = {
    "dataset": "event-folder",
    "model": "tiny",
    "image_size": 16,
    "timesteps": 4,
    "batch_size": 7,
    "epochs": 1,
}


def statistics(network: Network) -> list[torch.Tensor]:
    return [
        norm.running_var
        for norm in network.modules()
        if isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None
    ]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    write_folder(tmp_path / "data", each=20)
    return train(short(**RECORDINGS), tmp_path / "run", data=tmp_path / "data")


def test_the_first_frames_and_all_of_them_keep_the_statistics_of_the_training(run: Run) -> None:
    dataset = run.dataset()
    for view in (*views(run, [1, 4], "first"), *views(run, [4], "rebin")):
        assert network_for(run, view, dataset) is run.network
    assert not (run.path / NORMS).exists()


def test_fewer_frames_have_statistics_of_their_own(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = run.dataset()
    (view,) = views(run, [2], "rebin")
    before = [tensor.clone() for tensor in statistics(run.network)]
    network = network_for(run, view, dataset)
    assert not any(torch.equal(a, b) for a, b in zip(statistics(network), before, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(statistics(run.network), before, strict=True))
    assert not network.training
    # By hand, for the first norm: the mean over batches of the variance of what the first convolution gives.
    frames = torch.from_numpy(dataset.train.rebinned(2).stacked()[0])
    convolution = next(iter(network.stem.children()))
    assert isinstance(convolution, nn.Conv2d)
    with torch.no_grad():
        currents = convolution(network.normalize(frames.flatten(0, 1)))
    assert len(frames) <= norms._BATCH
    torch.testing.assert_close(statistics(network)[0], currents.var((0, 2, 3)), rtol=1e-4, atol=1e-7)
    # The weights are those of the run, and the statistics are kept.
    for (name, mine), theirs in zip(network.named_parameters(), run.network.parameters(), strict=True):
        assert torch.equal(mine, theirs), name
    monkeypatch.setattr(norms, "_taken", lambda *_: pytest.fail("they are kept"))
    again = network_for(load_run(run.path), view, dataset)
    assert all(torch.equal(a, b) for a, b in zip(statistics(again), statistics(network), strict=True))


def test_statistics_of_other_weights_and_damaged_ones_are_taken_again(run: Run, tmp_path: Path) -> None:
    dataset = run.dataset()
    (view,) = views(run, [2], "rebin")
    wanted = statistics(network_for(run, view, dataset))
    file = run.path / NORMS / "t2.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    assert all(torch.equal(a, b) for a, b in zip(statistics(network_for(run, view, dataset)), wanted, strict=True))
    other = train(short(**RECORDINGS, seed=1), tmp_path / "run", data=tmp_path / "data", overwrite=True)
    assert not file.exists()
    network_for(run, view, dataset)  # writes those of weights that are no longer there
    assert not torch.equal(statistics(network_for(other, view, dataset))[1], wanted[1])


def test_a_training_that_drew_t_has_statistics_of_its_own_at_every_t(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", each=20)
    drawn = short(**RECORDINGS, objective={"sample_timesteps": True}, frames={"fewer": "rebin"})
    run = train(drawn, tmp_path / "run", data=tmp_path / "data")
    assert [view.is_restated for view in views(run, [1, 4])] == [True, True]
    assert [view.is_restated for view in views(run, [1, 4], "first")] == [False, False]
    shown = [*views(run, [1, 2], "first"), *views(run, [4], "rebin")]
    assert passes(shown) == 2
    dataset = run.dataset()
    found = evaluate_views(run, dataset, dataset.test, shown)
    alone = [evaluate_views(run, dataset, dataset.test, [view]) for view in shown]
    assert [one.predictions[0].tolist() for one in alone] == found.predictions.tolist()


def test_a_run_directory_that_cannot_be_written_to_is_no_obstacle(run: Run) -> None:
    dataset = run.dataset()
    (view,) = views(run, [2], "rebin")
    (run.path / NORMS).write_text("a file, where no folder can be made")
    assert not torch.equal(statistics(network_for(run, view, dataset))[0], statistics(run.network)[0])
