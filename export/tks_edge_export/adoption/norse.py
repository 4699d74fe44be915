"""The neurons of Norse 1.1 that have no recurrent weights: LIF, LIFCell, LIFBoxCell, IAF and IAFCell.

A cell takes one timestep, the others `[T, B, ...]`. A spike where v - v_th > 0. Source: norse/torch/functional/lif.py,
lif_box.py and iaf.py of 1.1.0. Their states are handed in and out, and start at v_leak and no current.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import nn

from tks_edge_export.adoption import torch_layers
from tks_edge_export.adoption.layer import ONE_STEP, TIME_FIRST, Layer, number, of_package, refuse
from tks_edge_models.graph_operators import lif_options
from tks_edge_models.lif import LIFParameters
from tks_edge_models.neuron import above

package = "norse"

_FIRE_ABOVE = ("super", "heaviside", "triangle", "tanh", "circ", "heavi_erfc")
"""The methods that differ in their gradient alone."""


def layer(path: str, module: nn.Module) -> Layer | None:
    """Translate a neuron; None for a module to be looked into.

    Raises:
        AdoptionError: another neuron, or a property that cannot be kept.
    """
    import norse.torch as norse
    from norse.torch.module import snn

    axes = TIME_FIRST if isinstance(module, snn.SNN) else ONE_STEP
    if type(module) in (norse.LIF, norse.LIFCell):
        return _lif(path, module, axes)
    if type(module) is norse.LIFBoxCell:
        return _box(path, module, axes)
    if type(module) in (norse.IAF, norse.IAFCell):
        return _iaf(path, module, axes)
    if isinstance(module, norse.Lift):
        return _lifted(path, module)
    if isinstance(module, (snn.SNN, snn.SNNCell, snn.SNNRecurrent, snn.SNNRecurrentCell)):
        raise refuse(path, module, "of Norse's neurons only LIF, LIFCell, LIFBoxCell, IAF and IAFCell are known")
    return None


def _lifted(path: str, module: Any) -> Layer:
    """A layer of one timestep that Lift runs at each, `[T, B, ...]`."""
    inner = module.lifted_module
    lifted = layer(path, inner) if of_package(inner, package) else torch_layers.layer(path, inner)
    if lifted is None:
        raise refuse(path, module, "it lifts several layers at once; lift each by itself")
    return dataclasses.replace(lifted, axes=TIME_FIRST)


def _constants(path: str, module: Any, *names: str) -> dict[str, float]:
    if module.p.method not in _FIRE_ABOVE:
        raise refuse(path, module, f"its method is {module.p.method!r}, under which it fires otherwise")
    return {name: number(path, module, name, getattr(module.p, name)) for name in names}


def _rate(path: str, module: Any, name: str) -> float:
    """Dt times an inverse time constant, in the arithmetic that the neuron itself uses."""
    product = torch.as_tensor(getattr(module.p, name)) * module.dt
    rate = number(path, module, f"dt * {name}", product)
    if not 0.0 < rate <= 1.0:
        raise refuse(path, module, f"dt * {name} is {rate}, and the step of such a neuron is above 0 and at most 1")
    return rate


def _lif(path: str, module: Any, axes: str) -> Layer:
    found = _constants(path, module, "v_th", "v_leak", "v_reset")
    options = {
        "mem_rate": _rate(path, module, "tau_mem_inv"),
        "syn_rate": _rate(path, module, "tau_syn_inv"),
        "v_threshold": found["v_th"],
        "v_leak": found["v_leak"],
        "v_reset": found["v_reset"],
    }
    return Layer("current_lif", options, axes=axes)


def _box(path: str, module: Any, axes: str) -> Layer:
    from norse.torch.functional.reset import reset_subtract, reset_value

    found = _constants(path, module, "v_th", "v_leak", "v_reset")
    if module.p.reset_method not in (reset_value, reset_subtract):
        raise refuse(path, module, "its reset_method is one of its own")
    soft = module.p.reset_method is reset_subtract
    if found["v_leak"] or (found["v_reset"] and not soft):
        raise refuse(path, module, f"v_leak is {found['v_leak']} and v_reset {found['v_reset']}, and not both 0")
    options = {
        "rate": _rate(path, module, "tau_mem_inv"),
        "v_threshold": found["v_th"],
        "v_reset": None if soft else 0.0,
        "strict": True,
    }
    return Layer("relaxing_lif", options, axes=axes)


def _iaf(path: str, module: Any, axes: str) -> Layer:
    found = _constants(path, module, "v_th", "v_reset")
    params = LIFParameters(tau=math.inf, v_threshold=above(found["v_th"]), v_reset=found["v_reset"], decay_input=False)
    return Layer("lif", lif_options(params), axes=axes)
