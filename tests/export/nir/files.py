"""Files of NIR, small, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np

from tks_edge_export.nir_graphs import Discretization

HARD = Discretization(dt=1e-4, leak="euler", decay_input=True, fires="at", reset="hard")
"""What answers every question about `lif`."""


def values(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def lif(*shape: int, **constants: float) -> Any:
    """A neuron of tau 2 timesteps of 1e-4 s."""
    told = {"tau": 2e-4, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.5, "v_reset": 0.0} | constants
    return nir.LIF(**{name: np.full(shape, value) for name, value in told.items()})


def linear(inputs: int, outputs: int, seed: int = 0) -> Any:
    return nir.Affine(values(outputs, inputs, seed=seed), values(outputs, seed=seed + 1))


def written(
    path: Path,
    nodes: Mapping[str, Any],
    edges: Sequence[tuple[str, str]],
    shape: Sequence[int] = (6,),
    outputs: Sequence[int] = (3,),
) -> Path:
    """A file of these nodes between "input" and "output"."""
    ends = {"input": nir.Input({"input": np.array(shape)}), "output": nir.Output({"output": np.array(outputs)})}
    nir.write(path, nir.NIRGraph({**ends, **nodes}, list(edges), type_check=False))
    return path


def chain(path: Path, *nodes: Any, shape: Sequence[int] = (6,), outputs: Sequence[int] = (3,)) -> Path:
    """A file of nodes in a row, named n0, n1, ..."""
    named = {f"n{index}": node for index, node in enumerate(nodes)}
    names = ["input", *named, "output"]
    return written(path, named, list(pairwise(names)), shape, outputs)
