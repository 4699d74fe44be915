"""What is damaged: real artifacts, exported from a small network with random weights, with both their archives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tks_edge_export import Exporter, Options, Samples, Source, record_evaluation_set
from tks_edge_models import create
from tks_edge_runtime.artifact import STEP, Accuracy, Preprocessing

SIZE, CLASSES = 8, ("one", "two", "three")
_SAMPLES = 16
_WANTED = {
    "static-fp32": Options(2),
    "static-int8": Options(2, precision="int8"),
    "step-int8": Options(3, precision="int8", form=STEP, target="onnxruntime-cpu"),
}


def write_originals(folder: Path) -> list[Path]:
    """Write each original into a folder of its own below `folder`; the paths of the `.onnx` files."""
    torch.manual_seed(5)
    network = create("tiny", num_classes=len(CLASSES), in_channels=1, image_size=SIZE).eval()
    inputs = np.random.default_rng(5).integers(0, 256, (_SAMPLES, 1, SIZE, SIZE), dtype=np.uint8)
    labels = np.arange(_SAMPLES, dtype=np.int64) % len(CLASSES)
    source = Source(
        name="original",
        network=network,
        train_timesteps=4,
        classes=CLASSES,
        preprocessing=Preprocessing("L", None, (SIZE, SIZE)),
        weights_sha256="0" * 64,
        samples=Samples("random", "test", inputs, labels),
        accuracies=(Accuracy(4, 5, _SAMPLES),),
        calibration=inputs,
    )
    exporter = Exporter(source)
    written = []
    for name, options in _WANTED.items():
        (folder / name).mkdir(parents=True)
        evaluation = record_evaluation_set(source.samples, folder / name)
        exported = exporter.write(options, folder / name, verify_samples=_SAMPLES, evaluation=evaluation)
        written.append(exported.artifact.path)
    return written
