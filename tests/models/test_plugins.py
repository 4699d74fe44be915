"""Networks of installed distributions, which the models find by themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tks_edge_models import ModelError, create, plugins

NETWORK = """
from torch import nn
from tks_edge_models.layers import classifier, conv_norm
from tks_edge_models.network import Parts
def small(neuron, request):
    body = nn.Sequential(neuron(), classifier(4, request.num_classes))
    return Parts(conv_norm(request.in_channels, 4), body)
def nothing(neuron, request):
    return None
"""


def install(folder: Path, distribution: str, text: str, **entries: str) -> None:
    info = folder / f"{distribution}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    lines = [f"{name} = {distribution}_module:{function}" for name, function in entries.items()]
    (info / "entry_points.txt").write_text("[tks_edge.networks]\n" + "\n".join(lines) + "\n")
    (folder / f"{distribution}_module.py").write_text(text)


def test_a_network_of_a_plugin_is_built_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, "garden", NETWORK, small="small", empty="nothing")
    network = create("small", num_classes=3, in_channels=1, image_size=8)
    assert network.spec["name"] == "small"
    assert network(torch.zeros(2, 1, 8, 8), timesteps=4).shape == (4, 2, 3)
    assert not create("small", num_classes=3, in_channels=1, image_size=8, neuron="relu").is_spiking
    with pytest.raises(ModelError, match="Did you mean 'small'"):
        create("smal", num_classes=3)
    with pytest.raises(ModelError, match="'empty' gives a NoneType"):
        create("empty", num_classes=3)


def test_a_network_that_cannot_be_used_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, "broken", "raise RuntimeError('no luck')", lame="x")
    with pytest.raises(ModelError, match=r"the network 'lame' of broken 1\.0 .*RuntimeError: no luck"):
        create("lame", num_classes=3)
    install(tmp_path, "greedy", NETWORK, tiny="small", lame="small")
    assert create("tiny", num_classes=3).spec["name"] == "tiny"
    with pytest.raises(ModelError, match=r"greedy 1\.0 calls a network 'tiny'"):
        create("lame", num_classes=3)


def test_the_group_is_the_one_that_the_trainer_records() -> None:
    from tks_edge_runtime.plugins import NETWORKS

    assert plugins.GROUP == NETWORKS
