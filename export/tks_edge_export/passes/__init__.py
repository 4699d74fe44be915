"""The rewrites of a graph, one a file, and the order in which they are applied.

Every pass keeps the function of the graph; what its module's docstring states as algebra holds for real numbers, and
`verify` checks what rounding makes of it. Constant folding, common subexpressions and dead nodes are onnx-ir's and
onnxscript's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript import optimizer

from tks_edge_export.passes.fold_batch_norm import FoldBatchNorm
from tks_edge_export.passes.remove_reshapes import RemoveReshapes
from tks_edge_export.passes.sink_reshapes import SinkReshapes

Rewrite = Callable[[ir.Model], object]

ONE_STEP: tuple[tuple[str, Rewrite], ...] = (
    ("fold_constants", lambda model: optimizer.fold_constants_ir(model)),
    ("lift_constants", common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)),
    ("fold_batch_norm", FoldBatchNorm()),
    ("sink_reshapes", SinkReshapes()),
    ("remove_reshapes", RemoveReshapes()),
    ("remove_unused", common.RemoveUnusedNodesPass()),
)
"""On one captured timestep, before it is unrolled: the work is done once, whatever T."""

CLEAN_UP: tuple[tuple[str, Rewrite], ...] = (
    ("remove_reshapes", RemoveReshapes()),
    ("remove_unused", common.RemoveUnusedNodesPass()),
    ("deduplicate_initializers", common.DeduplicateInitializersPass()),
)
"""On the unrolled graph."""


def apply(model: ir.Model, rewrites: Sequence[tuple[str, Rewrite]]) -> tuple[str, ...]:
    """Apply `rewrites` in their order, in place; returns their names."""
    for _, rewrite in rewrites:
        rewrite(model)
    return tuple(name for name, _ in rewrites)
