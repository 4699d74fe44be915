"""The LIF equations of `tks_edge_models.lif` as ONNX nodes, step after step, with what T makes needless left out.

    t = 1      h = k x (+ v_rest)                       the membrane starts at rest: no decay, no addition
    t > 1      h = (1 - 1/tau) v + k x (+ v_rest / tau)
    every t    rests = h < v_threshold                  the neuron does not fire
    t < T      v = h * rests                            hard reset to 0
               v = where(rests, h, v_reset)             hard reset to another potential
               v = h - v_threshold * (not rests)        soft reset
    t = T      no reset: nobody reads the state

The scale k is applied to all steps at once, and the booleans of all steps become spikes at once. A product stands where
a selection would, because on a CPU ONNX Runtime's `Where` takes several times as long. The order of the floating-point
operations is that of `charge` and `reset`, so the spikes come out the same to the bit wherever the currents do. Only
operators that TensorRT 10.3 parses are used.
"""

from __future__ import annotations

import onnx_ir as ir

from tks_edge_export.graph_builder import GraphBuilder
from tks_edge_export.over_time import OverTime
from tks_edge_models import LIFParameters

_SPIKES = ".spikes"


def spikes_name(path: str) -> str:
    """Name the value that holds the spikes `[T * N, ...]` of the LIF layer at module path `path`."""
    return f"{path}{_SPIKES}"


def is_spikes(name: str | None) -> bool:
    """Whether a value of this name holds the spikes of a LIF layer."""
    return name is not None and name.endswith(_SPIKES)


def emit_lif(builder: GraphBuilder, path: str, current: OverTime, params: LIFParameters) -> OverTime:
    """Append one LIF layer over all its timesteps.

    Args:
        builder: the graph that is being built.
        path: module path of the layer; it names the values.
        current: the input, `[N, ...]` a step; still for the first layer of a still image.
        params: the constants.

    Returns:
        The spikes, float, 0 or 1, named by `spikes_name`.
    """
    timesteps = current.timesteps
    currents = _scaled(builder, path, current, params).steps()
    membrane: ir.Value | None = None
    rests: list[ir.Value] = []
    for t, x in enumerate(currents):
        charged = _charged(builder, f"{path}.t{t}", x, membrane, params)
        rests.append(builder.add("Less", [charged, builder.scalar(params.v_threshold)], f"{path}.t{t}.rests"))
        if t + 1 < timesteps:
            membrane = _reset(builder, f"{path}.t{t}", charged, rests[-1], params)
    merged = OverTime.of_steps(builder, rests, f"{path}.rests").merged()
    spikes = builder.cast(builder.add("Not", [merged], f"{path}.fires"), ir.DataType.FLOAT, spikes_name(path))
    return OverTime.of_merged(builder, timesteps, spikes)


def _scaled(builder: GraphBuilder, path: str, current: OverTime, params: LIFParameters) -> OverTime:
    if params.gain == 1.0:
        return current
    gain, name = builder.scalar(params.gain), f"{path}.scaled"
    if current.still is not None:
        return OverTime.of_still(builder, current.timesteps, builder.add("Mul", [current.still, gain], name))
    return OverTime.of_merged(builder, current.timesteps, builder.add("Mul", [current.merged(), gain], name))


def _charged(
    builder: GraphBuilder, name: str, current: ir.Value, membrane: ir.Value | None, params: LIFParameters
) -> ir.Value:
    if membrane is None:
        if not params.v_rest:
            return current
        return builder.add("Add", [current, builder.scalar(params.v_rest)], f"{name}.h")
    kept = builder.add("Mul", [membrane, builder.scalar(params.decay)], f"{name}.decayed")
    if params.v_rest:
        kept = builder.add("Add", [kept, builder.scalar(params.v_rest * (1.0 - params.decay))], f"{name}.drawn")
    return builder.add("Add", [kept, current], f"{name}.h")


def _reset(builder: GraphBuilder, name: str, charged: ir.Value, rests: ir.Value, params: LIFParameters) -> ir.Value:
    if params.v_reset is None:
        fired = builder.cast(builder.add("Not", [rests], f"{name}.fires"), ir.DataType.FLOAT, f"{name}.fired")
        jump = builder.add("Mul", [fired, builder.scalar(params.v_threshold)], f"{name}.jump")
        return builder.add("Sub", [charged, jump], f"{name}.v")
    if params.v_reset:
        return builder.add("Where", [rests, charged, builder.scalar(params.v_reset)], f"{name}.v")
    kept = builder.cast(rests, ir.DataType.FLOAT, f"{name}.kept")
    return builder.add("Mul", [charged, kept], f"{name}.v")
