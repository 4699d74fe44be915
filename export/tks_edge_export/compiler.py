"""From a module to its graph: captured once, rewritten, laid out at T, rewritten again."""

from __future__ import annotations

from dataclasses import dataclass, replace

import onnx_ir as ir
from torch import Tensor, nn

from tks_edge_export.capture import Capture, capture
from tks_edge_export.errors import ExportError
from tks_edge_export.options import Options
from tks_edge_export.passes import LAID_OUT, LAYOUT, ONE_STEP, apply, check_names
from tks_edge_export.unroll import unroll


@dataclass(frozen=True)
class Compiled:
    """A graph, and the names of the passes that made it."""

    model: ir.Model
    passes: tuple[str, ...]


class Compiler:
    """Lowers one network, captured once, as often as it is asked to.

    Args:
        module: a network built of LIF layers and stateless ones, from `[N, ...]` to logits `[N, K]` or `[1, N, K]`.
        example: one batch of one timestep's input, in the dtype that the device will feed.

    Raises:
        ExportError: the module cannot be captured.
    """

    def __init__(self, module: nn.Module, example: Tensor) -> None:
        self._captured = capture(module, example)

    def compile(self, options: Options) -> Compiled:
        """Lower the network; the graph goes from `input` to `logits`, `[N, K]`.

        Raises:
            ExportError: the network cannot be lowered so.
            InputError: a pass that is to be skipped does not exist.
        """
        check_names(options.skip)
        if not self._captured.neurons and (options.timesteps != 1 or options.form == "step"):
            raise ExportError(
                f"timesteps is {options.timesteps} and the form {options.form}, but the network has no LIF layer: it "
                "runs one pass. Use one timestep and the form static."
            )
        one_step = Capture(self._captured.model.clone(), dict(self._captured.neurons))
        passes = apply(one_step, ONE_STEP, options)
        laid_out = replace(one_step, model=unroll(one_step, options))
        layout = tuple(name for name in LAYOUT if name not in options.skip)
        return Compiled(laid_out.model, (*passes, "unroll", *layout, *apply(laid_out, LAID_OUT, options)))


def export_graph(
    module: nn.Module, example: Tensor, timesteps: int, *, per_step: bool = False
) -> tuple[ir.Model, tuple[str, ...]]:
    """Capture `module` and lower it once.

    Args:
        module: as for `Compiler`.
        example: as for `Compiler`.
        timesteps: T, 1 to `MAX_TIMESTEPS`.
        per_step: whether the graph also gives `logits_per_step`, `[T, N, K]`.

    Returns:
        The graph (`input` to `logits` `[N, K]`), and the names of the passes that were applied.

    Raises:
        ExportError: the module cannot be captured, or T is out of range.
    """
    options = Options(timesteps, per_step=per_step)
    compiled = Compiler(module, example).compile(options)
    return compiled.model, compiled.passes
