"""An attribute that a node leaves out counts as ONNX's own definition of the operator says."""

from __future__ import annotations

from typing import Any

import onnx
import onnx_ir as ir
import pytest

from tests.export.random_nodes import OPSET, Array, Case, integers, normal
from tks_edge_export.batchwise import merging
from tks_edge_export.merging import Merging

CASES: dict[str, list[tuple[int, ...] | Array | None]] = {
    "ArgMax": [(2, 3, 4)],
    "ArgMin": [(2, 3, 4)],
    "Gather": [(2, 3, 4), integers(0, 1)],
    "GatherND": [(2, 3, 4), integers(1, 0)],
    "Gemm": [(2, 3), normal(3, 4)],
    "Hardmax": [(2, 3, 4)],
    "LayerNormalization": [(2, 3, 4), normal(4), normal(4)],
    "LogSoftmax": [(2, 3, 4)],
    "LpNormalization": [(2, 3, 4)],
    "ReduceMean": [(2, 3, 4), integers(1)],
    "ReduceMax": [(2, 3, 4)],
    "Softmax": [(2, 3, 4)],
    "TopK": [(2, 3, 4), integers(1)],
}


def spelt_out(operator: str) -> dict[str, Any]:
    """The attributes of the operator that have a default, and that default."""
    schema = onnx.defs.get_schema(operator, OPSET)
    return {
        name: onnx.helper.get_attribute_value(attribute.default_value)
        for name, attribute in schema.attributes.items()
        if attribute.default_value.name
    }


@pytest.mark.parametrize("operator", CASES)
def test_what_is_left_out_counts_as_its_default(operator: str) -> None:
    operands, outputs = CASES[operator], 2 if operator == "TopK" else 1
    defaults = spelt_out(operator)
    assert defaults
    left_out, given = (
        next(iter(ir.from_proto(Case(operator, operands, attributes, outputs).model()).graph))
        for attributes in ({}, defaults)
    )
    assert not left_out.attributes
    shape = operands[0]
    assert isinstance(shape, tuple)
    others: list[int | None] = [None] * (len(operands) - 1)
    found = [merging(left_out, [axis, *others]) for axis in range(len(shape))]
    assert found == [merging(given, [axis, *others]) for axis in range(len(shape))]
    accepted = [isinstance(merged, Merging) for merged in found]
    assert any(accepted) or operator == "ReduceMax"  # over every axis
    assert not all(accepted)
