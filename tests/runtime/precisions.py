"""A small artifact in float32, written anew with its product in another precision."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.runtime.conftest import CLASSES, BuiltArtifact
from tests.runtime.spiking import SAMPLE
from tks_edge_runtime.artifact import METADATA_KEY, Precision
from tks_edge_runtime.session import load


def in_precision(built: BuiltArtifact, precision: str, promised: str | None = None) -> Path:
    """The artifact anew, its product in another precision; the golden logits are those of this graph."""
    codes = np.round(built.weights * 16).clip(-127, 127).astype(np.int8)
    kind = TensorProto.FLOAT16 if precision == "fp16" else TensorProto.FLOAT
    arrays: dict[str, Any] = {"weights": codes.astype(helper.tensor_dtype_to_np_dtype(kind))}
    nodes = [helper.make_node("Flatten", ["input"], ["flat"]), helper.make_node("Cast", ["flat"], ["x"], to=kind)]
    if precision == "int8":
        arrays = {"codes": codes, "one": np.float32(1), "zero": np.int8(0)}
        nodes += [
            helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["x.codes"]),
            helper.make_node("DequantizeLinear", ["x.codes", "one", "zero"], ["x.decoded"]),
            helper.make_node("DequantizeLinear", ["codes", "one", "zero"], ["weights"]),
        ]
    nodes += [
        helper.make_node("MatMul", ["x.decoded" if precision == "int8" else "x", "weights"], ["y"], name="node_linear"),
        helper.make_node("Cast", ["y"], ["logits"], to=TensorProto.FLOAT),
    ]
    ports = [("input", TensorProto.UINT8, [1, *SAMPLE]), ("logits", TensorProto.FLOAT, [1, len(CLASSES)])]
    inputs, outputs = ([helper.make_tensor_value_info(*port)] for port in ports)
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(a, n) for n, a in arrays.items()]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    formats = {"fp32": "float32", "fp16": "float16", "int8": "int8"}
    name = promised or precision
    manifest = dataclasses.replace(built.manifest, precision=Precision(name, formats[name], formats[name], "float32"))
    helper.set_model_props(model, {METADATA_KEY: manifest.to_json()})
    path = built.path.with_name(f"small-{precision}.onnx")
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    golden = built.inputs[:1]
    with load(path, "onnxruntime") as session:
        np.savez(built.path.with_name(manifest.golden_file), input=golden, logits=session.run(golden))
    return path
