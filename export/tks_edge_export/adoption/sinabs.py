"""The neurons of sinabs 3: LIF and IAF, and their forms for squeezed input.

    v = alpha v + (1 - alpha) x        norm_input; without it x alone      alpha = exp(-1 / tau_mem); 1 of an IAF

A spike where v - spike_threshold >= 0 (SingleSpike), then the threshold off (MembraneSubtract) or v at 0
(MembraneReset).
Source: sinabs/layers/functional/lif.py of 3.1.3. LIF and IAF take `[B, T, ...]`, the squeezed forms `[B * T, ...]`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import nn

from tks_edge_export.adoption.layer import MERGED, TIME_SECOND, Layer, number, refuse
from tks_edge_models.graph_operators import lif_options
from tks_edge_models.lif import LIFParameters, tau_of

package = "sinabs"


def layer(path: str, module: nn.Module) -> Layer | None:
    """Translate a neuron or a pooling; None for a module to be looked into.

    Raises:
        AdoptionError: another neuron, or a property that cannot be kept.
    """
    import sinabs.layers

    if type(module) in (sinabs.layers.LIF, sinabs.layers.IAF):
        return _lif(path, module, TIME_SECOND)
    if type(module) in (sinabs.layers.LIFSqueeze, sinabs.layers.IAFSqueeze):
        squeezed: Any = module
        sizes = {"batch": squeezed.batch_size, "timesteps": squeezed.num_timesteps}
        told = {name: size for name, size in sizes.items() if size > 0}
        return dataclasses.replace(_lif(path, module, MERGED), **told)
    if isinstance(module, sinabs.layers.StatefulLayer):
        raise refuse(path, module, "of sinabs' neurons only LIF, IAF, LIFSqueeze and IAFSqueeze are known")
    if isinstance(module, sinabs.layers.SumPool2d):
        pool: Any = module
        if pool.ceil_mode or pool.norm_type != 1:
            raise refuse(path, module, "it pools otherwise than by a sum over whole windows")
        return Layer(
            "sum_pool2d", {"kernel_size": _pair(pool.kernel_size), "stride": _pair(pool.stride or pool.kernel_size)}
        )
    return None


def _pair(size: Any) -> list[int]:
    return [int(size), int(size)] if isinstance(size, int) else [int(each) for each in size]


def _lif(path: str, module: Any, axes: str) -> Layer:
    from sinabs.activation import MembraneReset, MembraneSubtract, SingleSpike

    if module.spike_fn is not SingleSpike:
        name = getattr(module.spike_fn, "__name__", type(module.spike_fn).__name__)
        raise refuse(path, module, f"its spike_fn is {name}, and spikes of ours are 0 or 1; use SingleSpike")
    if module.tau_syn_calculated is not None:
        raise refuse(path, module, "tau_syn is set, a second state")
    if module.min_v_mem is not None:
        raise refuse(path, module, "min_v_mem is set, which ours do not cut off")
    threshold = number(path, module, "spike_threshold", module.spike_threshold)
    jump = None
    if isinstance(module.reset_fn, MembraneSubtract):
        v_reset, jump = None, module.reset_fn.subtract_value
    elif isinstance(module.reset_fn, MembraneReset) and module.reset_fn.reset_value == 0:
        v_reset = 0.0
    else:
        raise refuse(path, module, f"its reset_fn is {module.reset_fn}, which adds to neurons that did not fire, too")
    alpha = number(path, module, "alpha_mem", module.alpha_mem_calculated)
    params = LIFParameters(
        tau=tau_of(alpha),
        v_threshold=threshold,
        v_reset=v_reset,
        decay_input=bool(module.norm_input) and alpha != 1.0,
        v_jump=None if jump is None else number(path, module, "subtract_value", jump),
    )
    return Layer("lif", lif_options(params), axes=axes)
