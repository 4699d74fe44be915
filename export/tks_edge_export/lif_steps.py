"""The LIF equations of `tks_edge_models.lif` as ONNX nodes, step after step.

    every t    h = (1 - 1/tau) v + k x (+ v_rest / tau)
               rests = h < v_threshold                       the neuron does not fire
               v = h * rests                                 hard reset to 0
               v = where(rests, h, v_reset)                  hard reset to another potential
               v = h - v_jump * (not rests)                  soft reset

Before the first step v = v_rest, unless a state is handed in.
v_threshold and v_jump are numbers, or one for each channel (`passes.channel_units`).

What the first and the last step make needless is left to the passes `first_step` and `remove_unused`. The scale k is
applied to all steps at once, and the booleans of all steps become spikes at once. A product stands where a selection
would, because on a CPU ONNX Runtime's `Where` takes several times as long. The order of the floating-point operations
is that of `charge` and `reset`, so the spikes come out the same to the bit wherever the currents do. Only operators
that TensorRT 10.3 parses are used.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tks_edge_export.channel_lif import jumps
from tks_edge_export.graph_builder import GraphBuilder
from tks_edge_export.over_time import OverTime
from tks_edge_models import LIFParameters

_SPIKES = ".spikes"
NEXT_STATE = ".out"
"""What is added to the name of a state for the output that becomes it in the next step."""


def spikes_name(path: str) -> str:
    """Name the value that holds the spikes `[T * N, ...]` of the LIF layer at module path `path`."""
    return f"{path}{_SPIKES}"


def state_name(path: str) -> str:
    """Name the input of a step graph that holds the membrane of the LIF layer at module path `path`."""
    return f"state.{path}"


def is_spikes(name: str | None) -> bool:
    """Whether a value of this name holds the spikes of a LIF layer."""
    return name is not None and name.endswith(_SPIKES)


def emit_lif(
    builder: GraphBuilder,
    path: str,
    current: OverTime,
    params: LIFParameters,
    *,
    membrane: ir.DataType = ir.DataType.FLOAT,
    state: ir.Value | None = None,
    thresholds: npt.NDArray[np.float32] | None = None,
) -> tuple[OverTime, ir.Value]:
    """Append one LIF layer over all its timesteps.

    Args:
        builder: the graph that is being built.
        path: module path of the layer; it names the values.
        current: the input, `[N, ...]` a step; still for the first layer of a still image.
        params: the constants.
        membrane: the type that the membrane is computed and kept in.
        state: the membrane before the first step, of that type; at rest where there is none.
        thresholds: of the channels, where these have units of their own: of that type, broadcasting against a step.

    Returns:
        The spikes, 0 or 1, in the type of `current`, named by `spikes_name`; and the membrane after the last step.
    """
    spikes_type = current.steps()[0].dtype or ir.DataType.FLOAT
    if spikes_type != membrane:
        current = _each(builder, current, lambda value: builder.cast(value, membrane, f"{path}.current"))
    if params.gain != 1.0:
        gain = builder.scalar(params.gain, membrane)
        current = _each(builder, current, lambda value: builder.add("Mul", [value, gain], f"{path}.scaled"))
    threshold, jump = builder.scalar(params.v_threshold, membrane), builder.scalar(params.jump, membrane)
    if thresholds is not None:
        threshold = jump = builder.constant(f"{path}.thresholds", thresholds)
        if params.v_jump is not None:
            jump = builder.constant(f"{path}.jumps", jumps(params, thresholds))
    equations = _Equations(builder, params, membrane, jump)
    charged: list[ir.Value] = []
    rests: list[ir.Value] = []
    for t, x in enumerate(current.steps()):
        if t > 0:
            state = equations.reset(f"{path}.t{t - 1}", charged[-1], rests[-1])
        charged.append(equations.charged(f"{path}.t{t}", x, state))
        rests.append(builder.add("Less", [charged[-1], threshold], f"{path}.t{t}.rests"))
    merged = OverTime.of_steps(builder, rests, f"{path}.rests").merged()
    spikes = builder.cast(builder.add("Not", [merged], f"{path}.fires"), spikes_type, spikes_name(path))
    last, fired = f"{path}.t{current.timesteps - 1}", spikes if current.timesteps == 1 else None
    state = equations.reset(last, charged[-1], rests[-1], fired)
    return OverTime.of_merged(builder, current.timesteps, spikes), state


def _each(builder: GraphBuilder, current: OverTime, node: Callable[[ir.Value], ir.Value]) -> OverTime:
    """Append an element-wise node for all timesteps at once; what is still stays so."""
    if current.still is not None:
        return OverTime.of_still(builder, current.timesteps, node(current.still))
    return OverTime.of_merged(builder, current.timesteps, node(current.merged()))


class _Equations:
    """One timestep of a LIF layer with these constants, as nodes."""

    def __init__(self, builder: GraphBuilder, params: LIFParameters, membrane: ir.DataType, jump: ir.Value) -> None:
        self._builder = builder
        self._params = params
        self._membrane = membrane
        self._jump = jump

    def number(self, number: float) -> ir.Value:
        return self._builder.scalar(number, self._membrane)

    def charged(self, name: str, current: ir.Value, state: ir.Value | None) -> ir.Value:
        add, params = self._builder.add, self._params
        if state is None:
            if params.v_rest:
                return add("Add", [current, self.number(params.v_rest)], f"{name}.h")
            state = self.number(0.0)
        kept = state if params.decay == 1.0 else add("Mul", [state, self.number(params.decay)], f"{name}.decayed")
        if params.v_rest:
            kept = add("Add", [kept, self.number(params.v_rest * (1.0 - params.decay))], f"{name}.drawn")
        return add("Add", [kept, current], f"{name}.h")

    def reset(self, name: str, charged: ir.Value, rests: ir.Value, fired: ir.Value | None = None) -> ir.Value:
        """Append the reset; `fired` is the opposite of `rests` as a number, where that is there already."""
        builder, params = self._builder, self._params
        if params.v_reset is None:
            if fired is None or fired.dtype != self._membrane:
                fired = builder.cast(builder.add("Not", [rests], f"{name}.fires"), self._membrane, f"{name}.fired")
            jump = builder.add("Mul", [fired, self._jump], f"{name}.jump")
            return builder.add("Sub", [charged, jump], f"{name}.v")
        if params.v_reset:
            return builder.add("Where", [rests, charged, self.number(params.v_reset)], f"{name}.v")
        return builder.add("Mul", [charged, builder.cast(rests, self._membrane, f"{name}.kept")], f"{name}.v")
