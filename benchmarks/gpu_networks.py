"""What the GPU check runs: artifacts of a network and its ReLU twin, exported here, with weights for PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.networks import Array, Measured, build, calibrate, on_grid, photographs, save
from tks_edge_export import Exporter, Options, Samples, Source, record_evaluation_set
from tks_edge_export.source import weights_sha256
from tks_edge_models import Network
from tks_edge_runtime.artifact import Artifact

PRECISIONS = ("fp32", "fp16", "int8")
_IMAGES = 16
_COMPARED = 2
"""Images on which an export is compared with its network, spike by spike; the exporter's own tests take more."""


@dataclass(frozen=True)
class Material:
    """Artifacts, and where there are some the weights that they were made of.

    Attributes:
        artifacts: in the order in which they are shown.
        network: its name in `networks.MEASURED`; empty where only the artifacts are known.
        weights: for PyTorch, by neuron ("lif", "relu"), safetensors.
    """

    artifacts: tuple[Artifact, ...]
    network: str = ""
    weights: tuple[tuple[str, str], ...] = ()


def export_all(
    measured: Measured,
    folder: Path,
    timesteps: Sequence[int],
    targets: Sequence[str],
    on_progress: Callable[[str], None],
) -> Material:
    """Export a network and its twin in every precision, at every T and for every target, into `folder`."""
    images = photographs(measured.size, _IMAGES)
    spiking = on_grid(calibrate(build(measured), images))
    networks = {"lif": spiking, "relu": calibrate(build(measured, "relu"), images)}
    artifacts, weights = [], []
    for neuron, network in networks.items():
        path = folder / f"{neuron}.safetensors"
        save(network, path)
        weights.append((neuron, str(path)))
        name = f"{measured.model}-{measured.size}" + ("" if neuron == "lif" else "-relu")
        source = _source(name, network, images, max(timesteps))
        evaluation = record_evaluation_set(source.samples, folder)
        exporter = Exporter(source)
        for t in timesteps if network.is_spiking else (1,):
            for precision in PRECISIONS:
                for target in targets:
                    on_progress(f"exporting {name} T={t} {precision} {target}")
                    options = Options(t, precision=precision, target=target)
                    exported = exporter.write(options, folder, verify_samples=_COMPARED, evaluation=evaluation)
                    artifacts.append(exported.artifact)
    return Material(tuple(artifacts), measured.name, tuple(weights))


def _source(name: str, network: Network, images: Array, timesteps: int) -> Source:
    """The network with the photographs as its samples, labelled by itself: none has a true class."""
    train_timesteps = timesteps if network.is_spiking else 1
    with torch.inference_mode():
        labels = network(torch.from_numpy(images), train_timesteps).mean(0).argmax(1).numpy().astype(np.int64)
    return Source(
        name=name,
        network=network,
        train_timesteps=train_timesteps,
        classes=(),
        preprocessing=None,
        weights_sha256=weights_sha256(network),
        samples=Samples("photographs", "test", images, labels),
        accuracies=(),
        calibration=images,
    )
