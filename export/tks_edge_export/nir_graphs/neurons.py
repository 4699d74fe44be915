"""The neurons of NIR as neurons of ours: differential equations and a discretization, to one timestep.

    LIF      tau dv/dt = (v_leak - v) + r x                           fires at v_threshold, then v = v_reset
    IF       dv/dt = r x
    CubaLIF  tau_syn di/dt = -i + w_in x,   tau_mem dv/dt = (v_leak - v) + r i

One step of dt keeps of a state 1 - rate, where rate is dt/tau (euler) or 1 - exp(-dt/tau) (exponential), and scales
the input by rate, or leaves that out (`Discretization.decay_input`). A synapse's step comes before the membrane's, as
in every library that writes such files. Source: nir/ir/neuron.py of nir 1.0.8.

Which of our neurons it becomes is decided by the library that has such a neuron, so that the sums are in its order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tks_edge_export.nir_graphs.discretization import ABOVE, EXPONENTIAL, HARD, SOFT, Discretization
from tks_edge_export.nir_graphs.values import is_close, number, refuse, rounded
from tks_edge_export.nir_graphs.wiring import Wired
from tks_edge_models.graph_operators import lif_options
from tks_edge_models.lif import LIFParameters
from tks_edge_models.neuron import above

NEURONS = frozenset({"LIF", "IF", "CubaLIF", "Threshold"})
_A_MEMBRANE = "it gives its membrane, not spikes; networks of ours end in a layer whose outputs are averaged over time"
_REFUSED = {
    "LI": _A_MEMBRANE,
    "CubaLI": _A_MEMBRANE,
    "I": _A_MEMBRANE,
    "Delay": "it holds values of earlier timesteps, a state that only neurons have in ours",
}


@dataclass(frozen=True)
class MadeNeuron:
    """A neuron node as ours: an operator, its options, and what its input is multiplied by before."""

    operator: str
    options: dict[str, Any]
    factor: float = 1.0


def check_known(wired: Wired) -> None:
    """Refuse a node that is neither a layer nor a neuron of ours; NirError."""
    if wired.kind not in NEURONS:
        raise refuse(wired, _REFUSED.get(wired.kind, "there is no operator for it"))


def needed(wired: Wired, told: Discretization) -> Iterator[tuple[str, str]]:
    """What has to be told for a neuron, by the names of `Discretization`, each with the node's name."""
    kind, names = wired.kind, ["fires"]
    if kind != "Threshold":
        opened = number(wired, "w_in" if kind == "CubaLIF" else "r") == 1.0
        names += ["decay_input"] if opened else []
        if kind != "IF":
            names += ["dt", "leak"]
        elif told.decay_input or not opened:
            names += ["dt"]
        if number(wired, "v_reset") == 0.0:
            names += ["reset"]
            names += ["reset_delay"] if told.reset == SOFT and kind != "CubaLIF" else []
    return ((name, wired.name) for name in names)


def neuron(wired: Wired, how: Discretization) -> MadeNeuron:
    """The neuron, with everything told that it needs.

    Raises:
        NirError: ours has no such neuron.
    """
    if wired.kind == "Threshold":
        return _threshold(wired, how)
    if wired.kind == "CubaLIF":
        return _with_current(wired, how)
    return _integrate_and_fire(wired, how)


def _threshold(wired: Wired, how: Discretization) -> MadeNeuron:
    threshold = _checked(wired, number(wired, "threshold"), 0.0)
    params = LIFParameters(tau=1.0, v_threshold=_least(threshold, how), v_reset=0.0, decay_input=False)
    return MadeNeuron("lif", lif_options(params))


def _integrate_and_fire(wired: Wired, how: Discretization) -> MadeNeuron:
    v_reset, soft = _reset(wired, how)
    threshold = _checked(wired, number(wired, "v_threshold"), v_reset)
    r = number(wired, "r")
    if wired.kind == "IF":
        rate, step = 0.0, how.dt or 0.0
    else:
        if not is_close(number(wired, "v_leak") + 1.0, v_reset + 1.0):
            leak = number(wired, "v_leak")
            raise refuse(wired, f"v_leak is {leak:g} and v_reset {v_reset:g}, which is one potential in ours")
        rate = step = _rate(wired, "tau", how)
    literal = how.decay_input if r == 1.0 else True
    gain = rounded(step * r) if literal else r
    if rate and is_close(gain, rate):
        return _scaled_by_rate(wired, how, rate, threshold, v_reset, soft=soft)
    factor = 1.0 if is_close(gain, 1.0) else gain
    return _unscaled(wired, how, rate, threshold, v_reset, factor, soft=soft)


def _scaled_by_rate(
    wired: Wired, how: Discretization, rate: float, threshold: float, v_reset: float, *, soft: bool
) -> MadeNeuron:
    """The input counts as much as what the membrane loses."""
    _refuse_delay(wired, how, soft, "scales its input by dt/tau")
    reset = None if soft else v_reset
    if how.leak == EXPONENTIAL:
        params = LIFParameters(1.0 / rate, _least(threshold, how), reset, v_jump=threshold if soft else None)
        return MadeNeuron("lif", lif_options(params))
    options = {"v_threshold": threshold, "v_reset": reset, "strict": how.fires == ABOVE}
    # Who fires above the threshold (Norse) multiplies by the rate, who fires at it (SpikingJelly) divides by tau.
    options |= {"rate": float(np.float32(rate))} if how.fires == ABOVE else {"tau": rounded(1.0 / rate)}
    return MadeNeuron("relaxing_lif", options)


def _unscaled(
    wired: Wired, how: Discretization, rate: float, threshold: float, v_reset: float, factor: float, *, soft: bool
) -> MadeNeuron:
    """The input is added as it is, or times a number of its own."""
    if soft and (how.reset_delay or how.fires == ABOVE):
        if how.fires != ABOVE:
            raise refuse(wired, "a reset one step late is known of neurons that fire above the threshold alone")
        beta = float(np.float32(1.0 - rate))
        options = {"beta": beta, "v_threshold": threshold, "delay": bool(how.reset_delay)}
        return MadeNeuron("delayed_reset_lif", options, factor)
    if rate and how.leak != EXPONENTIAL and how.fires != ABOVE:
        options = {"tau": rounded(1.0 / rate), "v_threshold": threshold, "decay_input": False}
        return MadeNeuron("relaxing_lif", options | {"v_reset": None if soft else v_reset}, factor)
    if rate and how.leak != EXPONENTIAL:
        rate = 1.0 - float(np.float32(1.0 - rate))
    params = LIFParameters(
        tau=1.0 / rate if rate else math.inf,
        v_threshold=_least(threshold, how),
        v_reset=None if soft else v_reset,
        decay_input=False,
        v_jump=threshold if soft else None,
    )
    return MadeNeuron("lif", lif_options(params), factor)


def _with_current(wired: Wired, how: Discretization) -> MadeNeuron:
    v_reset, soft = _reset(wired, how)
    if soft:
        raise refuse(wired, "its reset is soft, and ours with a synaptic current are set to v_reset")
    threshold = _checked(wired, number(wired, "v_threshold"), v_reset)
    rates = {name: _rate(wired, f"tau_{name[:3]}", how) for name in ("mem_rate", "syn_rate")}
    w_in = number(wired, "w_in")
    literal = how.decay_input if w_in == 1.0 else True
    gain = (rates["syn_rate"] * w_in if literal else w_in) * number(wired, "r")
    fires_above = threshold if how.fires == ABOVE else _below(threshold)
    options = {name: float(np.float32(rate)) for name, rate in rates.items()}
    options |= {"v_threshold": fires_above, "v_leak": number(wired, "v_leak"), "v_reset": v_reset}
    return MadeNeuron("current_lif", options, 1.0 if is_close(gain, 1.0) else rounded(gain))


def _reset(wired: Wired, how: Discretization) -> tuple[float, bool]:
    """Where the membrane is set, and whether it is not set but the threshold subtracted."""
    v_reset = number(wired, "v_reset")
    soft = v_reset == 0.0 and how.reset != HARD
    return v_reset, soft


def _rate(wired: Wired, name: str, how: Discretization) -> float:
    """The share of a state that one step takes."""
    tau, dt = number(wired, name), how.dt or 0.0
    if tau <= 0.0:
        raise refuse(wired, f"{name} is {tau:g}, and a time constant is above 0")
    if how.leak == EXPONENTIAL:
        # In float32, as sinabs has it.
        return 1.0 - float(torch.exp(-dt / torch.tensor(tau, dtype=torch.float32)))
    rate = rounded(dt / tau)
    if rate > 1.0 + 1e-6:
        raise refuse(wired, f"{name} is {tau:g}, shorter than the timestep --dt {dt:g}, under which euler swings")
    return min(rate, 1.0)


def _checked(wired: Wired, threshold: float, rest: float) -> float:
    if threshold <= rest:
        raise refuse(wired, f"the threshold {threshold:g} is not above the potential at rest, {rest:g}")
    return threshold


def _least(threshold: float, how: Discretization) -> float:
    """The least potential that fires."""
    return above(threshold) if how.fires == ABOVE else threshold


def _below(threshold: float) -> float:
    """The threshold above which fires what is at `threshold` or above it."""
    return float(np.nextafter(np.float32(threshold), np.float32(-np.inf)))


def _refuse_delay(wired: Wired, how: Discretization, soft: bool, what: str) -> None:
    if soft and how.reset_delay:
        raise refuse(wired, f"a reset one step late is known of no neuron that {what}")
