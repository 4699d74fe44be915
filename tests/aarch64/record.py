"""What graphs compute on the processor that runs this; without the onnx package, as on a board.

Of each artifact: whether its self-test passes and how many samples it classifies correctly. Of the copy of it that
`run.py` made, whose outputs are also all its tensors of integers and booleans: these, and the logits.

    python record.py ARTIFACTS COPIES OUTPUT.npz
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tks_edge_runtime.artifact import STEP, Artifact
from tks_edge_runtime.backends import open_engine
from tks_edge_runtime.session import load

Array = npt.NDArray[Any]
SAMPLES = 16


def computed(artifact: Artifact, copy: Path) -> dict[str, Array]:
    """The outputs of a copy for `SAMPLES` inputs, `[samples x steps, ...]`; a step graph runs for its T, from rest."""
    manifest = artifact.manifest
    inputs, _ = artifact.evaluation_set()
    engine = open_engine(copy, "onnxruntime", threads=1)
    steps = manifest.timesteps if manifest.form == STEP else 1
    found: dict[str, list[Array]] = {port.name: [] for port in engine.outputs}
    for sample in inputs[:SAMPLES]:
        states = {state.input: np.full(state.shape, state.zero, state.dtype) for state in manifest.states}
        for _ in range(steps):
            results = engine.run({manifest.input.name: sample[np.newaxis], **states})
            states = {state.input: results[state.output] for state in manifest.states}
            for name, value in results.items():
                found[name].append(value)
    return {name: np.stack(values) for name, values in found.items()}


def main() -> None:
    """Record every artifact of a folder."""
    artifacts, copies, output = map(Path, sys.argv[1:])
    recorded: dict[str, Array] = {}
    for path in sorted(artifacts.glob("*.onnx")):
        with load(path, threads=1) as session:
            recorded[f"{path.stem}/self-test"] = np.array(session.self_test().passed)
            recorded[f"{path.stem}/correct"] = np.array(session.evaluate().correct)
            for name, value in computed(session.artifact, copies / path.name).items():
                recorded[f"{path.stem}/outputs/{name}"] = value
    np.savez(output, **recorded)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
