"""The LIF equations on 8-bit codes as ONNX nodes: `codes.CodedLIF`, step after step, in integers.

Every sum and product stands between DequantizeLinear and QuantizeLinear, as the standard asks for it; ONNX Runtime
makes one integer operation of each such group, and of the convolution and the QuantizeLinear of its output. The reset
multiplies by (fires - 1) x (-1), which is a scale of -1 and a zero point of 1.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tks_edge_export.codes import Code, jump_in_steps
from tks_edge_export.graph_builder import GraphBuilder
from tks_edge_export.lif_steps import spikes_name
from tks_edge_export.over_time import OverTime
from tks_edge_models import LIFParameters

_HIGHEST_BIT = 7


def emit_coded_lif(
    builder: GraphBuilder,
    path: str,
    current: OverTime,
    params: LIFParameters,
    code: Code,
    state: ir.Value | None = None,
) -> tuple[OverTime, ir.Value]:
    """Append one LIF layer over all its timesteps.

    Args:
        builder: the graph that is being built.
        path: module path of the layer; it names the values.
        current: the input, float `[N, ...]` a step.
        params: the constants, normalised.
        code: of the membrane.
        state: the codes of the membrane before the first step, uint8; at rest where there is none.

    Returns:
        The spikes, float 0 or 1, named by `spikes_name`; and the codes of the membrane after the last step.
    """
    codes = OverTime.of_merged(builder, current.timesteps, _quantized(builder, current.merged(), code, f"{path}.codes"))
    fired: list[ir.Value] = []
    for t, step in enumerate(codes.steps()):
        name = f"{path}.t{t}"
        h = step
        if state is not None:
            kept = _number(builder, state, Code(code.scale * params.decay, code.zero), f"{name}.decayed")
            total = builder.add("Add", [kept, _number(builder, step, code, f"{name}.current")], f"{name}.charged")
            h = _quantized(builder, total, code, f"{name}.h")
        fired.append(builder.shift_right(h, _HIGHEST_BIT, f"{name}.fires"))
        state = _reset(builder, name, h, fired[-1], params, code)
    if state is None:
        raise AssertionError("there is at least one timestep")
    merged = OverTime.of_steps(builder, fired, f"{path}.fires").merged()
    spikes = _number(builder, merged, Code(1.0, 0), spikes_name(path))
    return OverTime.of_merged(builder, current.timesteps, spikes), state


def _reset(
    builder: GraphBuilder, name: str, h: ir.Value, fired: ir.Value, params: LIFParameters, code: Code
) -> ir.Value:
    charged = _number(builder, h, code, f"{name}.before")
    if params.v_reset is None:
        jump = _number(builder, fired, Code(-code.scale * jump_in_steps(params, code), 0), f"{name}.jump")
        after = builder.add("Add", [charged, jump], f"{name}.after")
    else:
        rests = _number(builder, fired, Code(-1.0, 1), f"{name}.rests")
        after = builder.add("Mul", [charged, rests], f"{name}.after")
    return _quantized(builder, after, code, f"{name}.v")


def _quantized(builder: GraphBuilder, value: ir.Value, code: Code, name: str) -> ir.Value:
    return builder.quantized(value, code.scale, np.uint8(code.zero), name)


def _number(builder: GraphBuilder, value: ir.Value, code: Code, name: str) -> ir.Value:
    return builder.dequantized(value, code.scale, np.uint8(code.zero), name)
