"""The neurons of ours as equations of NIR, and what has to be told to make the same timesteps of them again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tks_edge_export.nir_graphs.discretization import ABOVE, AT, EULER, HARD, SOFT, Discretization
from tks_edge_export.nir_graphs.errors import NirError
from tks_edge_models.graph_operators import lif_parameters
from tks_edge_models.lif import tau_of
from tks_edge_models.neuron import above


@dataclass(frozen=True)
class Equation:
    """A neuron of NIR.

    Attributes:
        kind: the node's class.
        constants: by their name there; time constants in seconds.
        how: with which the constants make the neuron's timesteps.
    """

    kind: str
    constants: Mapping[str, float]
    how: Discretization


def equation(name: str, operator: str, options: Mapping[str, Any], dt: float) -> Equation:
    """The equation of a neuron.

    Args:
        name: of its node, for errors.
        operator: a key of `graph_operators.NEURONS`.
        options: of the operator.
        dt: seconds that a timestep is to stand for.

    Raises:
        NirError: NIR has no equation for it.
    """
    if operator not in _OPERATORS:
        raise NirError(f"the neuron {name!r} ({operator}) has no equation in NIR.")
    return _OPERATORS[operator](name, options, dt)


def _lif(name: str, options: Mapping[str, Any], dt: float) -> Equation:
    params = lif_parameters(options)
    threshold, fires = params.v_threshold, AT
    if params.v_reset is None and params.jump != threshold:
        if above(params.jump) != threshold:
            raise NirError(
                f"the neuron {name!r} fires at {threshold:g} and its reset subtracts {params.jump:g}; in NIR a reset "
                "takes what the threshold is."
            )
        threshold, fires = params.jump, ABOVE
    return _leaky(params.tau, threshold, params.v_reset, fires, dt, decay_input=params.decay_input)


def _relaxing(_: str, options: Mapping[str, Any], dt: float) -> Equation:
    tau = options.get("tau") or 1.0 / options["rate"]
    fires = ABOVE if options.get("strict") else AT
    threshold, v_reset = options.get("v_threshold", 1.0), options.get("v_reset", 0.0)
    return _leaky(tau, threshold, v_reset, fires, dt, decay_input=options.get("decay_input", True))


def _delayed(_: str, options: Mapping[str, Any], dt: float) -> Equation:
    delay, threshold = options.get("delay", True), options.get("v_threshold", 1.0)
    return _leaky(tau_of(options["beta"]), threshold, None, ABOVE, dt, decay_input=False, reset_delay=delay)


def _leaky(
    tau: float,
    threshold: float,
    v_reset: float | None,
    fires: str,
    dt: float,
    *,
    decay_input: bool,
    reset_delay: bool = False,
) -> Equation:
    """An equation in which r holds the scale of the input: with it, one step is what the neuron does."""
    soft = v_reset is None
    rest = 0.0 if v_reset is None else v_reset
    constants = {"r": 1.0 if decay_input else tau, "v_threshold": threshold, "v_reset": rest}
    if math.isinf(tau):
        constants["r"] = 1.0 / dt
    else:
        constants |= {"tau": tau * dt, "v_leak": rest}
    how = Discretization(
        dt=dt,
        leak=None if math.isinf(tau) else EULER,
        decay_input=True if constants["r"] == 1.0 else None,
        fires=fires,
        reset=SOFT if soft else HARD if rest == 0.0 else None,
        reset_delay=reset_delay if soft else None,
    )
    return Equation("IF" if math.isinf(tau) else "LIF", constants, how)


def _with_current(_: str, options: Mapping[str, Any], dt: float) -> Equation:
    tau_mem, tau_syn = dt / options["mem_rate"], dt / options["syn_rate"]
    w_in, v_reset = 1.0 / options["syn_rate"], options.get("v_reset", 0.0)
    constants = {"tau_mem": tau_mem, "tau_syn": tau_syn, "r": 1.0, "w_in": w_in, "v_reset": v_reset}
    constants |= {"v_leak": options.get("v_leak", 0.0), "v_threshold": options.get("v_threshold", 1.0)}
    how = Discretization(
        dt=dt,
        leak=EULER,
        decay_input=True if w_in == 1.0 else None,
        fires=ABOVE,
        reset=HARD if v_reset == 0.0 else None,
    )
    return Equation("CubaLIF", constants, how)


_OPERATORS: dict[str, Callable[[str, Mapping[str, Any], float], Equation]] = {
    "lif": _lif,
    "relaxing_lif": _relaxing,
    "delayed_reset_lif": _delayed,
    "current_lif": _with_current,
}
