"""The rewrites, one a file, and the order in which they are applied.

Every pass keeps the function of the graph; what its module's docstring states as algebra holds for real numbers, and
`verify` checks what rounding makes of it. Constant folding, common subexpressions and dead nodes are onnx-ir's and
onnxscript's. `LAYOUT` names decisions of `unroll` that can be left out like a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript import optimizer

from tks_edge_export.capture import Capture
from tks_edge_export.options import Options
from tks_edge_export.passes.first_step import FirstStep
from tks_edge_export.passes.fold_batch_norm import FoldBatchNorm
from tks_edge_export.passes.fold_readout import FoldReadout
from tks_edge_export.passes.normalize_neurons import normalize_neurons
from tks_edge_export.passes.remove_reshapes import RemoveReshapes
from tks_edge_export.passes.sink_reshapes import SinkReshapes
from tks_edge_runtime.errors import unknown


@dataclass(frozen=True)
class Pass:
    """A rewrite of a capture in place, under the name that the manifest and `--skip-pass` know it by.

    `applies` says for which exports it is made.
    """

    name: str
    rewrite: Callable[[Capture], object]
    applies: Callable[[Options], bool] = lambda options: True


def _on_graph(name: str, rewrite: Callable[[ir.Model], object]) -> Pass:
    return Pass(name, lambda captured: rewrite(captured.model))


_REMOVE_UNUSED = _on_graph("remove_unused", common.RemoveUnusedNodesPass())

ONE_STEP: tuple[Pass, ...] = (
    _on_graph("fold_constants", lambda model: optimizer.fold_constants_ir(model)),
    _on_graph("lift_constants", common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)),
    _on_graph("fold_batch_norm", FoldBatchNorm()),
    _on_graph("sink_reshapes", SinkReshapes()),
    _on_graph("remove_reshapes", RemoveReshapes()),
    Pass("normalize_neurons", normalize_neurons),
    _REMOVE_UNUSED,
)
"""On one captured timestep, before it is laid out: the work is done once, whatever T."""

LAYOUT = ("share_still", "merge_time")
"""What does not depend on a LIF layer runs once; stateless operators run once with T merged into the batch."""

LAID_OUT: tuple[Pass, ...] = (
    _on_graph("first_step", FirstStep()),
    _on_graph("fold_readout", FoldReadout()),
    _on_graph("remove_reshapes", RemoveReshapes()),
    _on_graph("eliminate_common_subexpressions", common.CommonSubexpressionEliminationPass()),
    _REMOVE_UNUSED,
    _on_graph("deduplicate_initializers", common.DeduplicateInitializersPass()),
)
"""On the graph of all timesteps."""

PASSES = tuple(dict.fromkeys([*(made.name for made in ONE_STEP), *LAYOUT, *(made.name for made in LAID_OUT)]))
"""Every name that can be skipped, in the order of the first use."""


def check_names(skip: frozenset[str]) -> None:
    """Refuse names of passes that do not exist, with the closest one that does."""
    for name in sorted(skip):
        if name not in PASSES:
            raise unknown("pass", name, PASSES)


def apply(captured: Capture, passes: Sequence[Pass], options: Options) -> tuple[str, ...]:
    """Apply the passes that these options ask for, in their order, in place; returns their names."""
    applied = [made for made in passes if made.name not in options.skip and made.applies(options)]
    for made in applied:
        made.rewrite(captured)
    return tuple(made.name for made in applied)
