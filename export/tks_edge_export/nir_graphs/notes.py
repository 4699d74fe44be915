"""What `write_nir` notes of a neuron in the metadata of its node: which of ours it is, to the last bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tks_edge_export.nir_graphs.equations import equation
from tks_edge_export.nir_graphs.errors import NirError
from tks_edge_export.nir_graphs.neurons import MadeNeuron
from tks_edge_export.nir_graphs.values import is_close, number, refuse
from tks_edge_export.nir_graphs.wiring import Wired
from tks_edge_models import ModelError
from tks_edge_models.graph_operators import NEURONS, make

KEY = "tks_edge"


def note(operator: str, options: Mapping[str, Any], dt: float) -> dict[str, str]:
    """The metadata of a neuron's node."""
    return {KEY: json.dumps({"operator": operator, "options": dict(options), "dt": dt})}


def noted(wired: Wired) -> MadeNeuron | None:
    """The neuron that is noted at a node; None where nothing is.

    Raises:
        NirError: what is noted is damaged, or the node's constants are others.
    """
    written = wired.node.metadata.get(KEY) if isinstance(wired.node.metadata, dict) else None
    if written is None:
        return None
    again = "tell how a timestep is made of its constants instead (--dt, --fires, ...; see docs/import.md)"
    try:
        document = json.loads(written)
        operator, options, dt = document["operator"], document["options"], float(document["dt"])
        if operator not in NEURONS or not dt > 0.0:
            raise TypeError(f"{operator!r} is no neuron")
        make(operator, options)
        expected = equation(wired.name, operator, options, dt)
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, ModelError, NirError) as error:
        raise refuse(wired, f"what tks-edge noted of it is damaged ({error}); {again}") from error
    if expected.kind != wired.kind or any(
        not is_close(number(wired, name), value) for name, value in expected.constants.items()
    ):
        raise refuse(wired, f"its constants were changed after tks-edge wrote them; {again}")
    return MadeNeuron(operator, dict(options))
