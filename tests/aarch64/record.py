"""What graphs compute on the processor that runs this: for each, every tensor of integers or booleans, and the logits.

It runs where the runtime runs, without the onnx package, on graphs that `run.py` wrote with these tensors as outputs.

    python record.py FOLDER OUTPUT.npz
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tks_edge_runtime.artifact import STEP, Artifact
from tks_edge_runtime.backends import open_engine

Array = npt.NDArray[Any]
SAMPLES = 16


def computed(path: Path, samples: Array) -> dict[str, Array]:
    """The outputs of a graph for each sample, stacked; a step graph is run for its T from rest, and its steps stacked."""
    manifest = Artifact.open(path).manifest
    engine = open_engine(path, "onnxruntime", threads=1)
    steps = manifest.timesteps if manifest.form == STEP else 1
    found: dict[str, list[Array]] = {port.name: [] for port in engine.outputs}
    for sample in samples:
        states = {s.input: np.full(s.shape, s.zero, s.dtype) for s in manifest.states}
        for _ in range(steps):
            results = engine.run({manifest.input.name: sample[np.newaxis], **states})
            states = {state.input: results[state.output] for state in manifest.states}
            for name, value in results.items():
                found[name].append(value)
    return {name: np.stack(values) for name, values in found.items()}


def main() -> None:
    """Record every graph of a folder."""
    folder, output = Path(sys.argv[1]), Path(sys.argv[2])
    recorded: dict[str, Array] = {}
    for path in sorted(folder.glob("*.onnx")):
        inputs, _ = Artifact.open(path).evaluation_set()
        for name, value in computed(path, inputs[:SAMPLES]).items():
            recorded[f"{path.stem}/{name}"] = value
    np.savez(output, **recorded)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
