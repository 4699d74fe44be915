"""Small graphs to rewrite, and ONNX Runtime to see that they compute the same afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]
FLOAT = TensorProto.FLOAT
RNG = np.random.default_rng(0)


def model(
    nodes: list[onnx.NodeProto],
    weights: Mapping[str, Array],
    inputs: Mapping[str, Sequence[int]],
    output: Sequence[int],
    *others: str,
    dtype: int = FLOAT,
) -> ir.Model:
    """A graph from `inputs` to `y`, and to `others` where these are outputs too."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, dtype, shape) for name, shape in inputs.items()],
        [
            helper.make_tensor_value_info("y", dtype, output),
            *(helper.make_empty_tensor_value_info(name) for name in others),
        ],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    for node in graph.node:
        node.name = f"node_{node.output[0]}"
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto, strict_mode=True))


def outputs(graph: ir.Model, *, optimize: bool = True, **inputs: Array) -> dict[str, Array]:
    """What ONNX Runtime computes, by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    proto = ir.to_proto(graph).SerializeToString()
    session = onnxruntime.InferenceSession(proto, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def run(graph: ir.Model, *, optimize: bool = True, **inputs: Array) -> Array:
    """The first output."""
    return next(iter(outputs(graph, optimize=optimize, **inputs).values()))


def operators(graph: ir.Model) -> list[str]:
    return [node.op_type for node in graph.graph]


def named(graph: ir.Model, output: str) -> ir.Node:
    """The node that gives this value."""
    return next(node for node in graph.graph if any(value.name == output for value in node.outputs))


def normal(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)
