"""The neurons of snnTorch 1.0: Leaky.

    mem = beta.clamp(0, 1) * mem + x,     spk = 1 where mem - threshold > 0

and the reset, which by default comes one step late (`reset_delay`): "subtract" takes the threshold off, "zero" sets the
membrane to 0 before it decays, "none" leaves it. Source: snntorch/_neurons/leaky.py of 1.0.0.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from tks_edge_export.adoption.layer import Layer, number, refuse
from tks_edge_models.graph_operators import lif_options
from tks_edge_models.lif import LIFParameters, tau_of
from tks_edge_models.neuron import above

package = "snntorch"


def layer(path: str, module: nn.Module) -> Layer | None:
    """Translate a Leaky; None for a module that is no neuron.

    Raises:
        AdoptionError: another neuron, or a property that cannot be kept.
    """
    import snntorch

    if type(module) is not snntorch.Leaky:
        if isinstance(module, snntorch.SpikingNeuron):
            raise refuse(path, module, "of snnTorch's neurons only Leaky is known")
        return None
    neuron: Any = module
    for name in ("inhibition", "state_quant"):
        if getattr(neuron, name):
            raise refuse(path, module, f"{name} is set")
    if number(path, module, "graded_spikes_factor", neuron.graded_spikes_factor) != 1.0:
        raise refuse(path, module, "graded_spikes_factor is not 1, and spikes of ours are 0 or 1")
    beta = min(max(number(path, module, "beta", neuron.beta), 0.0), 1.0)
    threshold = number(path, module, "threshold", neuron.threshold)
    if threshold <= 0.0:
        raise refuse(path, module, f"threshold is {threshold}, at rest or below it")
    mechanism = neuron.reset_mechanism
    if mechanism == "subtract":
        return Layer("delayed_reset_lif", {"beta": beta, "v_threshold": threshold, "delay": bool(neuron.reset_delay)})
    # With or without the delay: what "zero" sets to 0 is nothing but the membrane that would decay.
    return Layer("lif", lif_options(_leaky(beta, threshold, resets=mechanism == "zero")))


def _leaky(beta: float, threshold: float, *, resets: bool) -> LIFParameters:
    return LIFParameters(
        tau=tau_of(beta),
        v_threshold=above(threshold),
        v_reset=0.0 if resets else None,
        decay_input=False,
        v_jump=None if resets else 0.0,
    )
