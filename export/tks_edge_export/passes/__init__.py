"""The rewrites, one a file, and the order in which they are applied.

Every pass keeps the function of the graph; what its module's docstring states as algebra holds for real numbers, and
`verify` checks what rounding makes of it. Constant folding, common subexpressions and dead nodes are onnx-ir's and
onnxscript's. `ROUNDING` and `LAYOUT` name decisions of the quantization and of `unroll` that can be left out like a
pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from tks_edge_runtime.artifact import STEP
from tks_edge_runtime.errors import InputError, MissingError, unknown
from tks_edge_runtime.plugins import PASSES as GROUP
from tks_edge_runtime.plugins import Plugins, provider


@dataclass(frozen=True)
class Pass:
    """A rewrite of a capture in place, under the name that the manifest and `--skip-pass` know it by.

    What an entry point in `tks_edge.passes` gives; see `on_graph`.
    """

    name: str
    rewrite: Callable[[Capture], object]


def on_graph(name: str, rewrite: Callable[[ir.Model], object]) -> Pass:
    """A pass that looks at the graph alone, and not at the constants of its LIF layers."""
    return Pass(name, lambda captured: rewrite(captured.model))


def _fold_constants(model: ir.Model) -> None:
    """Fold, and infer the shapes that follow: those of a slice or a reshape are known once its operands are."""
    optimizer.fold_constants_ir(model)
    common.ShapeInferencePass()(model)


_REMOVE_UNUSED = on_graph("remove_unused", common.RemoveUnusedNodesPass())

ONE_STEP: tuple[Pass, ...] = (
    on_graph("fold_constants", _fold_constants),
    on_graph("lift_constants", common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)),
    on_graph("fold_batch_norm", FoldBatchNorm()),
    on_graph("sink_reshapes", SinkReshapes()),
    on_graph("remove_reshapes", RemoveReshapes()),
    Pass("normalize_neurons", normalize_neurons),
    _REMOVE_UNUSED,
)
"""On one captured timestep, before it is laid out: the work is done once, whatever T."""

ROUNDING = ("channel_units",)
"""With int8 weights: a unit of potential for each channel, so that its codes fill their range."""

LAYOUT = ("share_still", "merge_time")
"""What does not depend on a LIF layer runs once; stateless operators run once with T merged into the batch."""

LAID_OUT: tuple[Pass, ...] = (
    on_graph("first_step", FirstStep()),
    _REMOVE_UNUSED,
    on_graph("fold_readout", FoldReadout()),
)
"""On the graph of all timesteps."""

FOR_ONNXRUNTIME: tuple[Pass, ...] = (on_graph("hard_sigmoid", HardSigmoid()),)
"""In float32, for a target that computes it inside a convolution."""

CLEAN_UP: tuple[Pass, ...] = (
    on_graph("remove_reshapes", RemoveReshapes()),
    on_graph("eliminate_common_subexpressions", EliminateCommonSubexpressions()),
    _REMOVE_UNUSED,
    on_graph("deduplicate_initializers", common.DeduplicateInitializersPass()),
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

PLUGINS = Plugins("pass", GROUP, Pass, PASSES)
"""Those of plugins are applied to one captured timestep, behind `ONE_STEP`, where they are asked for."""


_CONSTANTS = frozenset({"fold_constants", "lift_constants"})
_RESTS = frozenset({"normalize_neurons"})
"""What makes every potential 0 at rest, as membranes in codes and the states of a step graph need it."""


def check_names(skip: frozenset[str]) -> None:
    """Refuse names of passes that do not exist, with the closest one that does, or that are not applied anyway."""
    for name in sorted(skip.difference(PASSES)):
        if name not in PLUGINS.names():
            raise unknown("pass", name, [*PASSES, *PLUGINS.names()])
        raise InputError(f"the pass {name} of a plugin is applied only where --pass asks for it. Leave it out there.")


def of_plugins(options: Options) -> tuple[Pass, ...]:
    """The passes of plugins that are asked for, imported.

    Raises:
        InputError: one of them comes along and is applied anyway, is asked for twice, or does not exist.
        PluginError: one of them cannot be used.
    """
    for name in options.passes:
        if name in PASSES:
            raise InputError(f"--pass {name} changes nothing: it comes along and is applied anyway. Leave it out.")
        if options.passes.count(name) > 1:
            raise InputError(f"--pass {name} is given twice. Give it once.")
    found = tuple(PLUGINS.load(name) for name in options.passes)
    for name, made in zip(options.passes, found, strict=True):
        if made.name != name:
            raise InputError(f"the plugin's pass {name!r} calls itself {made.name!r}; both names must be one.")
    return found


def providers(options: Options) -> dict[str, str]:
    """Which distribution each pass of a plugin is from, as the tools of a manifest have it."""
    found = {name: provider(GROUP, name) for name in options.passes}
    return {_tool(name): whose for name, whose in found.items() if whose is not None}


def recorded(passes: Sequence[str], tools: Mapping[str, str]) -> tuple[str, ...]:
    """Those of a manifest's passes that plugins gave, which are installed here.

    Raises:
        MissingError: one of them is not installed, or of another distribution.
    """
    found = tuple(name for name in passes if _tool(name) in tools)
    for name in found:
        whose, here = tools[_tool(name)], provider(GROUP, name)
        if here is None or here.split()[0] != whose.split()[0]:
            instead = "which is not installed here" if here is None else f"and here that name is of {here}"
            raise MissingError(f"the artifact was made with the pass {name!r} of {whose}, {instead}. Install {whose}.")
    return found


def _tool(name: str) -> str:
    return f"pass {name}"


def needed(options: Options) -> frozenset[str]:
    """The passes that this export cannot do without: weights that are rounded must be constants of the graph."""
    return (_CONSTANTS if options.precision != "fp32" else frozenset()) | (
        _RESTS if options.codes_currents or options.form == STEP else frozenset()
    )


def check_skipped(options: Options) -> None:
    """Refuse to skip or to add a pass that does not exist, and to skip one that this export cannot do without.

    Raises:
        InputError: there is no pass of that name.
        ExportError: the pass is needed.
        PluginError: one that a plugin gives and that is asked for cannot be used.
    """
    check_names(options.skip)
    of_plugins(options)
    for name in sorted(options.skip & needed(options)):
        at_zero = name in _RESTS and not options.codes_currents
        what = "a step graph, whose states start at 0," if at_zero else f"{options.precision} for {options.target}"
        raise ExportError(f"the pass {name} cannot be skipped: {what} builds on it.")


def apply(captured: Capture, passes: Sequence[Pass], skip: frozenset[str]) -> tuple[str, ...]:
    """Apply the passes that are not to be skipped, in their order, in place; returns their names."""
    applied = [made for made in passes if made.name not in skip]
    for made in applied:
        made.rewrite(captured)
    return tuple(made.name for made in applied)
