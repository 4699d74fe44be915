"""Networks that really fire: their batch norms have seen data, so every layer's rate is between a tenth and a half."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tests.operator_table  # noqa: F401 - makes it once
from tests.export.lowering import Prepared
from tks_edge_export import Compiler, Exported, Exporter, Options, Samples, Source
from tks_edge_models import LIFParameters, Network, create
from tks_edge_runtime.artifact import Accuracy, Preprocessing

MakeSource = Callable[..., Source]
Prepare = Callable[[str], Prepared]
_SIZES = {"sew_resnet18": 8, "sew_resnet50": 8, "ms_resnet18": 8, "resnet19": 8}
"""Of the images of these networks, in pixels; of the others 16."""
_NEURONS = {
    "ms_resnet18": LIFParameters(tau=4 / 3, decay_input=False),
    "resnet19": LIFParameters(tau=3.0, v_reset=None),
    "vggsnn": LIFParameters(tau=3.0, v_reset=-0.1, decay_input=False),
}


def write(source: Source, timesteps: int, folder: Path, **options: Any) -> Exported:
    """Write one artifact: `batch_size`, `input_dtype`, `verify_samples` and `evaluation`, and fields of `Options`."""
    exporter = Exporter(source, **{key: options.pop(key) for key in ("batch_size", "input_dtype") if key in options})
    how = {key: options.pop(key) for key in ("verify_samples", "evaluation") if key in options}
    return exporter.write(Options(timesteps, **options), folder, **how)


def calibrated(name: str, *, lif: LIFParameters | None = None, neuron: str = "lif", size: int = 16) -> Network:
    """A network with random weights, and batch norms whose statistics are those of random images."""
    torch.manual_seed(7)
    network = create(name, num_classes=4, in_channels=2, image_size=size, lif=lif, neuron=neuron)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            nn.init.uniform_(module.weight, 0.7, 1.3)
            nn.init.normal_(module.bias, 0.2, 0.3)
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 4.0 / module.in_features**0.5)
    pixels = torch.randint(0, 256, (16, 2, size, size), dtype=torch.uint8)
    with torch.no_grad():
        for _ in range(3):
            network(pixels, timesteps=1 if neuron == "relu" else 2)
    return network.eval()


@pytest.fixture(scope="session")
def make_source() -> MakeSource:
    """Makes a source to export: a calibrated network and random pixels."""

    def make(name: str = "tiny", *, lif: LIFParameters | None = None, neuron: str = "lif", size: int = 16) -> Source:
        generator = np.random.default_rng(3)
        samples = Samples(
            "noise",
            "test",
            generator.integers(0, 256, (12, 2, size, size), dtype=np.uint8),
            generator.integers(0, 4, 12, dtype=np.int64),
        )
        return Source(
            name="net",
            network=calibrated(name, lif=lif, neuron=neuron, size=size),
            train_timesteps=4,
            classes=("a", "b", "c", "d"),
            preprocessing=Preprocessing("L", None, (size, size)),
            weights_sha256="0" * 64,
            samples=samples,
            accuracies=(Accuracy(2, 5, 12),),
        )

    return make


@pytest.fixture(scope="session")
def prepare() -> Prepare:
    """Captures a network by its name; each only once in a process, since that takes seconds."""

    @cache
    def captured(name: str) -> Prepared:
        size = _SIZES.get(name, 16)
        network = calibrated(name, lif=_NEURONS.get(name), size=size)
        inputs = np.random.default_rng(5).integers(0, 256, (4, 2, size, size), dtype=np.uint8)
        return Prepared(network, Compiler(network, torch.from_numpy(inputs[:2])), inputs)

    return captured


@pytest.fixture(scope="session")
def tiny(prepare: Prepare) -> Prepared:
    """The smallest network: five layers of the default neuron."""
    return prepare("tiny")
