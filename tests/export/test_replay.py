"""A spike that the graph decided otherwise: a fault, or borderline, by the distance of membrane and threshold."""

from __future__ import annotations

import numpy as np
import pytest

from tests.export.plain_networks import Direct
from tks_edge_export import Reference, StepComparison
from tks_edge_export.replay import Replayed
from tks_edge_models import LIFParameters

UNIT = float(np.finfo(np.float32).eps)
"""The last place of a float32 between 1 and 2, of a membrane at a threshold of 1."""


def judged(membrane: float, spike: float, *, exact: bool) -> StepComparison:
    """The one decision of a neuron with a threshold of 1 that the graph took as `spike`."""
    reference = Reference(
        Direct(LIFParameters(v_threshold=1.0, decay_input=False), (0.0,)), exact=frozenset({"neuron"} if exact else ())
    )
    replayed = Replayed(reference, 1)
    current = np.array([[membrane]], np.float32)
    assert current.item() == membrane
    replayed.run(current, {"neuron": np.array([[[spike]]], np.float32)}, 1)
    (layer,) = replayed.results()
    assert layer.exact == exact
    assert (layer.first_fault is None) == (layer.total.faults == 0)
    return layer.total


@pytest.mark.parametrize("units", [-31, 31])
def test_a_flip_within_rounding_is_borderline_and_a_fault_where_spikes_are_exact(units: int) -> None:
    membrane = 1.0 + units * UNIT
    flipped = float(membrane < 1.0)
    for exact in (False, True):
        found = judged(membrane, flipped, exact=exact)
        assert (found.decisions, found.differing, found.faults) == (1, 1, int(exact))
        assert found.largest_distance == found.smallest_margin == 31 * UNIT
        right = judged(membrane, 1.0 - flipped, exact=exact)
        assert (right.differing, right.faults, right.largest_distance) == (0, 0, 0.0)


@pytest.mark.parametrize("units", [-33, 33])
def test_a_flip_beyond_rounding_is_a_fault_in_every_layer(units: int) -> None:
    """Up to 32 units in the last place may sums in another order be off."""
    membrane = 1.0 + units * UNIT
    for exact in (False, True):
        found = judged(membrane, float(membrane < 1.0), exact=exact)
        assert (found.differing, found.faults) == (1, 1)


def test_a_membrane_at_the_threshold_fires() -> None:
    assert judged(1.0, 1.0, exact=True).faults == 0
    assert judged(1.0, 0.0, exact=True).faults == 1


def test_layers_and_steps_add_up_by_hand() -> None:
    early = StepComparison(10, 2, 1, 4, largest_distance=0.5, smallest_margin=0.25)
    late = StepComparison(10, 1, 0, 6, largest_distance=0.125, smallest_margin=0.0625)
    assert early + late == StepComparison(20, 3, 1, 10, largest_distance=0.5, smallest_margin=0.0625)
    assert (early + late).fire_rate == 0.5
