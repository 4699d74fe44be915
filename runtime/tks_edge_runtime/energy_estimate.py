"""The energy of one inference, estimated from what each layer does: never measured, and never mixed with what is.

    E = 0.9 pJ x accumulates + 4.6 pJ x multiply-accumulates

A layer that reads spikes adds a weight where a spike comes in: multiply-accumulates x input rate accumulates. A layer
that reads numbers multiplies, whatever of them is 0: the first one, and every layer of the ReLU twin. The neurons' own
arithmetic, memory and the rest of the machine do not count, as is customary.

Source of the constants: M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014: a float32
addition and a float32 multiplication with one, in 45 nm at 0.9 V. They are the same whatever the precision of the
artifact, so that estimates compare networks, not number formats.
"""

from __future__ import annotations

from dataclasses import dataclass

from tks_edge_runtime.manifest import SPIKES, LayerSpec, Manifest

ACCUMULATE_PJ = 0.9
"""Energy of one float32 accumulate, in pJ."""
MULTIPLY_ACCUMULATE_PJ = 4.6
"""Energy of one float32 multiply-accumulate, in pJ."""
METHOD = (
    f"estimated from synaptic operations: {ACCUMULATE_PJ} pJ an accumulate, {MULTIPLY_ACCUMULATE_PJ} pJ a "
    "multiply-accumulate (45 nm, float32 whatever the precision; Horowitz, ISSCC 2014)"
)
"""How the estimate was made, in words: to be printed beside it."""
_MJ_OF_PJ = 1e-9


@dataclass(frozen=True)
class SynapticOperations:
    """What the layers of a network do for one sample over its whole run.

    Attributes:
        accumulates: additions of a weight for a spike, the mean over the samples of the verification.
        multiply_accumulates: dense ones, of layers that read numbers.
    """

    accumulates: float
    multiply_accumulates: float


@dataclass(frozen=True)
class EnergyEstimate:
    """The estimated energy of one inference of one sample.

    Attributes:
        mj: in mJ.
        operations: what it was made from.
        method: how, with the constants, in words.
    """

    mj: float
    operations: SynapticOperations
    method: str = METHOD


def layer_operations(layer: LayerSpec) -> SynapticOperations:
    """What one layer does for one sample; neurons do neither."""
    if layer.input == SPIKES:
        return SynapticOperations(layer.macs * (layer.input_rate or 0.0), 0.0)
    return SynapticOperations(0.0, float(layer.macs))


def synaptic_operations(manifest: Manifest) -> SynapticOperations | None:
    """What all layers do for one sample at the manifest's T; None where the manifest has no layers."""
    if not manifest.layers:
        return None
    found = [layer_operations(layer) for layer in manifest.layers]
    return SynapticOperations(sum(one.accumulates for one in found), sum(one.multiply_accumulates for one in found))


def estimated_energy(manifest: Manifest, steps: float | None = None) -> EnergyEstimate | None:
    """The estimated energy of one sample; None where the manifest has no layers, never a guess.

    Args:
        manifest: the artifact's.
        steps: how many timesteps a sample runs of a step graph; the estimate is in proportion. None: the manifest's T.
    """
    operations = synaptic_operations(manifest)
    if operations is None:
        return None
    part = 1.0 if steps is None else steps / manifest.timesteps
    operations = SynapticOperations(operations.accumulates * part, operations.multiply_accumulates * part)
    return EnergyEstimate(energy_mj(operations), operations)


def energy_mj(operations: SynapticOperations) -> float:
    """The energy of these operations, in mJ."""
    picojoules = ACCUMULATE_PJ * operations.accumulates + MULTIPLY_ACCUMULATE_PJ * operations.multiply_accumulates
    return picojoules * _MJ_OF_PJ
