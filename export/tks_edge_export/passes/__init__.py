"""The rewrites, one a file, and the order in which they are applied.

Every pass keeps the function of the graph; what its module's docstring states as algebra holds for real numbers, and
`verify` checks what rounding makes of it. Constant folding, common subexpressions and dead nodes are onnx-ir's and
onnxscript's. `ROUNDING` and `LAYOUT` name decisions of the quantization and of `unroll` that can be left out like a
pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript import optimizer

from tks_edge_export.capture import Capture
from tks_edge_export.errors import ExportError
from tks_edge_export.options import Options
from tks_edge_export.passes.eliminate_common_subexpressions import EliminateCommonSubexpressions
from tks_edge_export.passes.first_step import FirstStep
from tks_edge_export.passes.fold_batch_norm import FoldBatchNorm
from tks_edge_export.passes.fold_readout import FoldReadout
from tks_edge_export.passes.hard_sigmoid import HardSigmoid
from tks_edge_export.passes.normalize_neurons import normalize_neurons
from tks_edge_export.passes.remove_reshapes import RemoveReshapes
from tks_edge_export.passes.sink_reshapes import SinkReshapes
from tks_edge_runtime.errors import unknown


@dataclass(frozen=True)
class Pass:
    """A rewrite of a capture in place, under the name that the manifest and `--skip-pass` know it by."""

    name: str
    rewrite: Callable[[Capture], object]


def _on_graph(name: str, rewrite: Callable[[ir.Model], object]) -> Pass:
    return Pass(name, lambda captured: rewrite(captured.model))


def _fold_constants(model: ir.Model) -> None:
    """Fold, and infer the shapes that follow: those of a slice or a reshape are known once its operands are."""
    optimizer.fold_constants_ir(model)
    common.ShapeInferencePass()(model)


_REMOVE_UNUSED = _on_graph("remove_unused", common.RemoveUnusedNodesPass())

ONE_STEP: tuple[Pass, ...] = (
    _on_graph("fold_constants", _fold_constants),
    _on_graph("lift_constants", common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)),
    _on_graph("fold_batch_norm", FoldBatchNorm()),
    _on_graph("sink_reshapes", SinkReshapes()),
    _on_graph("remove_reshapes", RemoveReshapes()),
    Pass("normalize_neurons", normalize_neurons),
    _REMOVE_UNUSED,
)
"""On one captured timestep, before it is laid out: the work is done once, whatever T."""

ROUNDING = ("channel_units",)
"""With int8 weights: a unit of potential for each channel, so that its codes fill their range."""

LAYOUT = ("share_still", "merge_time")
"""What does not depend on a LIF layer runs once; stateless operators run once with T merged into the batch."""

LAID_OUT: tuple[Pass, ...] = (
    _on_graph("first_step", FirstStep()),
    _REMOVE_UNUSED,
    _on_graph("fold_readout", FoldReadout()),
)
"""On the graph of all timesteps."""

FOR_ONNXRUNTIME: tuple[Pass, ...] = (_on_graph("hard_sigmoid", HardSigmoid()),)
"""In float32, for a target that computes it inside a convolution."""

CLEAN_UP: tuple[Pass, ...] = (
    _on_graph("remove_reshapes", RemoveReshapes()),
    _on_graph("eliminate_common_subexpressions", EliminateCommonSubexpressions()),
    _REMOVE_UNUSED,
    _on_graph("deduplicate_initializers", common.DeduplicateInitializersPass()),
)
"""At the end, whatever was done before."""

PASSES = tuple(
    dict.fromkeys(
        [
            *(p.name for p in ONE_STEP),
            *ROUNDING,
            *LAYOUT,
            *(p.name for p in (*LAID_OUT, *FOR_ONNXRUNTIME, *CLEAN_UP)),
        ]
    )
)
"""Every name that can be skipped, in the order of the first use."""


_CONSTANTS = frozenset({"fold_constants", "lift_constants"})
_CODES = frozenset({"normalize_neurons"})


def check_names(skip: frozenset[str]) -> None:
    """Refuse names of passes that do not exist, with the closest one that does."""
    for name in sorted(skip):
        if name not in PASSES:
            raise unknown("pass", name, PASSES)


def needed(options: Options) -> frozenset[str]:
    """The passes that this export cannot do without: weights that are rounded must be constants of the graph."""
    return (_CONSTANTS if options.precision != "fp32" else frozenset()) | (
        _CODES if options.codes_currents else frozenset()
    )


def check_skipped(options: Options) -> None:
    """Refuse to skip a pass that does not exist, or that this export cannot do without.

    Raises:
        InputError: there is no pass of that name.
        ExportError: the pass is needed.
    """
    check_names(options.skip)
    for name in sorted(options.skip & needed(options)):
        raise ExportError(f"the pass {name} cannot be skipped: {options.precision} for {options.target} builds on it.")


def apply(captured: Capture, passes: Sequence[Pass], skip: frozenset[str]) -> tuple[str, ...]:
    """Apply the passes that are not to be skipped, in their order, in place; returns their names."""
    applied = [made for made in passes if made.name not in skip]
    for made in applied:
        made.rewrite(captured)
    return tuple(made.name for made in applied)
