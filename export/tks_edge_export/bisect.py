"""Which pass breaks a graph: the network is lowered again and again, with one more pass each time."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir
from torch import nn

from tks_edge_export.codes import Calibration
from tks_edge_export.compiler import Compiler
from tks_edge_export.manifests import rest_of
from tks_edge_export.options import Options
from tks_edge_export.passes import PASSES, needed
from tks_edge_export.values import Array
from tks_edge_export.verify import compare


@dataclass(frozen=True)
class Culprit:
    """The first pass after which the graph is no longer the network, and what does not hold then.

    `name` is None where that is so before any pass: the fault is in the layout itself.
    """

    name: str | None
    problem: str


def bisect(
    compiler: Compiler,
    options: Options,
    calibration: Calibration,
    inputs: Array,
    trained: nn.Module,
    on_pass: Callable[[str | None], None] | None = None,
) -> Culprit | None:
    """Find the first pass after which the graph differs from the network that it must equal.

    Args:
        compiler: of the network.
        options: what was asked for.
        calibration: what that export found on samples.
        inputs: `[M, ...]`, to compare on.
        trained: the network before its weights were rounded.
        on_pass: called with the name of the pass that is about to be tried, None for the first try without any.

    Returns:
        The pass, or None where the graph with all of them is the network.
    """
    names = (*PASSES, *options.passes)
    for count in range(len(names) + 1):
        name = names[count - 1] if count else None
        if on_pass is not None:
            on_pass(name)
        left_out = frozenset(PASSES[count:]) - needed(options)
        added = options.passes[: max(0, count - len(PASSES))]
        tried = dataclasses.replace(options, skip=options.skip | left_out, passes=added)
        problem = _problem(compiler, tried, calibration, inputs, trained)
        if problem is not None:
            return Culprit(name, problem)
    return None


def _problem(
    compiler: Compiler, options: Options, calibration: Calibration, inputs: Array, trained: nn.Module
) -> str | None:
    compiled = compiler.compile(options, calibration)
    with tempfile.TemporaryDirectory(prefix="tks-edge-") as scratch:
        path = Path(scratch) / "graph.onnx"
        ir.save(compiled.model, path)
        return compare(
            path,
            compiled.reference,
            inputs,
            options.timesteps,
            trained=trained,
            frames=options.frames,
            rest=rest_of(compiled),
        ).problem()
