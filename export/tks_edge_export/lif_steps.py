"""The LIF equations of `tks_edge_models.lif` as ONNX nodes, step after step, with what T makes needless left out.

    t = 1      h = k x (+ v_rest)                       the membrane starts at rest: no decay, no addition
    t > 1      h = (1 - 1/tau) v + k x (+ v_rest / tau)
    every t    fires = h >= v_threshold
    t < T      v = where(fires, v_reset, h)             hard reset
               v = h - v_threshold * spikes             soft reset
    t = T      no reset: nobody reads the state

The order of the floating-point operations is that of `charge` and `reset`, so the spikes come out the same to the bit
wherever the currents do. Only operators that TensorRT 10.3 parses are used.
"""

from __future__ import annotations

import onnx_ir as ir

from tks_edge_export.graph_builder import GraphBuilder
from tks_edge_models import LIFParameters

Steps = list[ir.Value]
"""A value at every timestep; T times the same one where it does not depend on time."""


def spikes_name(path: str, timestep: int) -> str:
    """The name in the graph of the spikes of the LIF layer at module path `path`, at `timestep` (from 0)."""
    return f"{path}.spikes.t{timestep}"


def emit_lif(builder: GraphBuilder, path: str, currents: Steps, params: LIFParameters) -> Steps:
    """Append one LIF layer over all its timesteps.

    Args:
        builder: the graph that is being built.
        path: module path of the layer; it names the values.
        currents: the input of every step; the same value T times for a still image's first layer.
        params: the constants.

    Returns:
        The spikes of every step, float, named by `spikes_name`.
    """
    scaled = {current: _scaled(builder, path, current, params) for current in dict.fromkeys(currents)}
    membrane: ir.Value | None = None
    spikes = []
    for t, current in enumerate(currents):
        charged = _charged(builder, f"{path}.t{t}", scaled[current], membrane, params)
        fires = builder.add("GreaterOrEqual", [charged, builder.scalar(params.v_threshold)], f"{path}.fires.t{t}")
        spikes.append(builder.cast(fires, ir.DataType.FLOAT, spikes_name(path, t)))
        if t + 1 < len(currents):
            membrane = _reset(builder, f"{path}.t{t}", charged, fires, spikes[-1], params)
    return spikes


def _scaled(builder: GraphBuilder, path: str, current: ir.Value, params: LIFParameters) -> ir.Value:
    if params.gain == 1.0:
        return current
    return builder.add("Mul", [current, builder.scalar(params.gain)], f"{path}.{current.name}.scaled")


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


def _reset(
    builder: GraphBuilder, name: str, charged: ir.Value, fires: ir.Value, spikes: ir.Value, params: LIFParameters
) -> ir.Value:
    if params.v_reset is not None:
        return builder.add("Where", [fires, builder.scalar(params.v_reset), charged], f"{name}.v")
    jump = builder.add("Mul", [spikes, builder.scalar(params.v_threshold)], f"{name}.jump")
    return builder.add("Sub", [charged, jump], f"{name}.v")
