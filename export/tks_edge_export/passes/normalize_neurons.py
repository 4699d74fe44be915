"""Fold the scale of a neuron's input, and its resting potential, into its threshold.

    h = v_rest + d (v - v_rest) + k x,   fires at h >= v_threshold,   hard reset to v_rest      d = 1 - 1/tau

With u = (v - v_rest) / k, every potential measured from rest in units of the input's scale:

    u = d u + x,   fires at u >= (v_threshold - v_rest) / k,   hard reset to 0

and a soft reset, which has v_rest = 0, subtracts v_jump / k; v_jump is the threshold where nothing else is said. So the
multiplication by k = 1/tau and two additions vanish, whatever stands before the neuron, and no weight is touched; k in
the convolution before it would do the same where there is one. For tau a power of two the spikes stay the same to the
bit. Never refused.
"""

from __future__ import annotations

import dataclasses

from tks_edge_export.capture import Capture
from tks_edge_models import LIFParameters


def normalize_neurons(captured: Capture) -> None:
    """Replace the constants of every neuron, in place."""
    for path, params in captured.neurons.items():
        captured.neurons[path] = normalized(params)


def normalized(params: LIFParameters) -> LIFParameters:
    """The neuron that fires the same spikes with rest at 0 and its input unscaled."""
    return dataclasses.replace(
        params,
        v_threshold=(params.v_threshold - params.v_rest) / params.gain,
        v_reset=None if params.v_reset is None else 0.0,
        decay_input=False,
        v_jump=None if params.v_jump is None else params.v_jump / params.gain,
    )
