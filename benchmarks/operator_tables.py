"""Write the operator tables that an export is checked against: what ONNX Runtime and OpenVINO run, asked of themselves.

    python benchmarks/operator_tables.py onnxruntime-cpu openvino

An operator is listed with the element types that its type variables may take together. ONNX Runtime has a registry of
its kernels; what it lacks there and ONNX defines by other operators is tried out, and so is everything in OpenVINO:
each of ONNX's own node tests runs at every type, and its result is compared with ONNX's reference implementation. The
table of TensorRT cannot be asked for without a GPU; it was made by hand from the document that it names.

Run it with the oldest versions that are supported, in an environment of its own; newer ones run more:

    pip install onnx==1.17.0 'numpy<2' onnxruntime==1.18.0 openvino==2024.6.0
"""

from __future__ import annotations

import argparse
import itertools
import json
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx.defs import OpSchema
from onnx.reference import ReferenceEvaluator

OPSET, IR_VERSION = 18, 10
TABLES = Path(__file__).parents[1] / "export" / "tks_edge_export" / "operators"
Array = npt.NDArray[Any]
Binding = dict[str, str]
"""An element type for each type variable of an operator."""
Run = Callable[[onnx.ModelProto, "dict[str, Array]"], "list[Array]"]
"""Runs a model in an engine: inputs by name, outputs in order."""
Kernel = dict[str, list[str]]
"""The element types that each type variable may take, whatever the others take."""

NOT_FOR_US = ("ToSequence", "FromSequence", "Optional", "Random", "String", "Loss", "Loop", "If", "Scan")
"""Parts of the names of operators that a static graph of tensors without a random state does not have."""
MICROSOFT = (
    "DequantizeLinear",
    "DynamicQuantizeMatMul",
    "FusedConv",
    "FusedGemm",
    "FusedMatMul",
    "MatMulIntegerToFloat",
    "QGemm",
    "QLinearAdd",
    "QLinearAveragePool",
    "QLinearConcat",
    "QLinearConv",
    "QLinearGlobalAveragePool",
    "QLinearLeakyRelu",
    "QLinearMul",
    "QLinearSigmoid",
    "QLinearSoftmax",
    "QuantizeLinear",
)
"""Of ONNX Runtime's own domain, com.microsoft, what a graph that is made for it may use."""
PROBED = ("float32", "float16", "int8", "uint8", "int32", "int64", "bool")
"""The element types that OpenVINO is asked about."""


def main() -> None:
    """Write the tables of the engines that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    makers: dict[str, Callable[[], dict[str, Any]]] = {"onnxruntime-cpu": onnxruntime_table, "openvino": openvino_table}
    parser.add_argument("targets", nargs="+", choices=makers)
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    for target in parser.parse_args().targets:
        path = TABLES / f"{target}.json"
        path.write_text(to_json(makers[target]()))
        print(f"wrote {path}")


def onnxruntime_table() -> dict[str, Any]:
    """ONNX Runtime's kernels for the CPU, and what it makes of others."""
    import onnxruntime

    operators: dict[str, dict[str, Any]] = {"": {}, "com.microsoft": {}}
    for (domain, name), found in registered().items():
        operators[domain][name] = {"kernels": merged(found)}
    for name, schema in contrib_schemas().items():
        operators["com.microsoft"][name] |= signature(schema)
    probed = probe_all(run_in_onnxruntime, onnx_operators() - operators[""].keys())
    operators[""] |= {name: {"kernels": merged(found)} for name, found in probed.items()}
    return {
        "engine": f"ONNX Runtime {minor(onnxruntime.__version__)} on a CPU",
        "source": f"benchmarks/operator_tables.py: the kernels that ONNX Runtime {onnxruntime.__version__} registers "
        f"for its CPU, and of {', '.join(sorted(probed))}, which have none and are made of others, what agreed with "
        "ONNX's reference implementation; float16 without a kernel runs as float32, between casts that are inserted",
        "opset": OPSET,
        "runs_as": {"float16": "float32"},
        "io_only": [],
        "operators": operators,
    }


def contrib_schemas() -> dict[str, Any]:
    """ONNX Runtime's own operators that are for us."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return {s.name: s for s in state.get_all_operator_schema() if s.domain == "com.microsoft" and s.name in MICROSOFT}


def registered() -> dict[tuple[str, str], list[Binding]]:
    """The bindings that ONNX Runtime's kernels for the CPU are registered for, by domain and operator."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    contrib = contrib_schemas()
    bindings: dict[tuple[str, str], list[Binding]] = defaultdict(list)
    for kernel in state.get_all_opkernel_def():
        first, last = kernel.version_range
        schema: Any = contrib.get(kernel.op_name) if kernel.domain == "com.microsoft" else None
        if kernel.domain == "" and first <= OPSET <= last:
            schema = of_onnx(kernel.op_name)
        if schema is not None and kernel.provider == "CPUExecutionProvider":
            bindings[kernel.domain, kernel.op_name] += of_kernel(kernel, schema)
    return bindings


def of_kernel(kernel: Any, schema: Any) -> list[Binding]:
    """Every binding that a kernel of ONNX Runtime is registered for."""
    # What a kernel does not say it leaves to the schema; it may name an input where it means its type.
    allowed = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
    types = {v: list(filter(None, map(plain, kernel.type_constraints.get(v, allowed[v])))) for v in sorted(allowed)}
    return [dict(zip(types, chosen, strict=True)) for chosen in itertools.product(*types.values())]


def openvino_table() -> dict[str, Any]:
    """Ask OpenVINO about every operator of the opset."""
    import openvino  # type: ignore[import-untyped]

    probed = probe_all(run_in_openvino, onnx_operators())
    return {
        "engine": f"OpenVINO {minor(openvino.__version__)} on a CPU",
        "source": f"benchmarks/operator_tables.py: ONNX {onnx.__version__}'s node tests, at {', '.join(PROBED)}, where "
        f"OpenVINO {openvino.__version__.partition('-')[0]} on a CPU agrees with ONNX's reference implementation in "
        "one of them, with the inputs after the first as constants if need be",
        "opset": OPSET,
        "runs_as": {},
        "io_only": [],
        "operators": {"": {name: {"kernels": merged(found)} for name, found in probed.items()}},
    }


def onnx_operators() -> set[str]:
    """The names of ONNX's operators that are in the opset and for us."""
    return {s.name for s in onnx.defs.get_all_schemas() if s.domain == "" and of_onnx(s.name) is not None}


def probe_all(run: Run, operators: set[str]) -> dict[str, list[Binding]]:
    """Run ONNX's own node tests of `operators` at every type; the bindings at which the engine agrees."""
    from onnx.backend.test.case.node import collect_testcases

    bindings: dict[str, list[Binding]] = defaultdict(list)
    cases: list[Any] = collect_testcases(None)
    for case in cases:
        for model, arrays in variants(case, operators):
            (node,) = model.graph.node
            binding = bound(model)
            if binding not in bindings[node.op_type] and agrees(run, model, arrays, case.model):
                bindings[node.op_type].append(binding)
    return {name: found for name, found in bindings.items() if found}


def of_onnx(name: str) -> OpSchema | None:
    """The schema of an operator in the opset, or None where it is not there or not for us."""
    if name.startswith("Sequence") or any(part in name for part in NOT_FOR_US):
        return None
    try:
        schema = onnx.defs.get_schema(name, OPSET)
    except onnx.defs.SchemaError:
        return None
    return None if schema.deprecated else schema


def variants(case: Any, operators: set[str]) -> Iterator[tuple[onnx.ModelProto, dict[str, Array]]]:
    """The one node of a test as models in our opset, and their inputs, for every choice of element types.

    Each comes with all values as inputs and with all but the first as constants, and with all outputs and the first.
    """
    if case.model is None or len(case.model.graph.node) != 1 or case.model.graph.initializer:
        return
    (node,) = case.model.graph.node
    schema = of_onnx(node.op_type) if node.domain == "" and node.op_type in operators else None
    values = [np.asarray(value) for value in case.data_sets[0][0] if not isinstance(value, list)]
    if schema is None or len(values) < len(case.data_sets[0][0]) or any(v.dtype.kind not in "biuf" for v in values):
        return
    inputs = dict(zip([i.name for i in case.model.graph.input], values, strict=True))
    for variant, arrays in retyped(node, schema, inputs):
        for fed, outputs in itertools.product((len(arrays), 1), (len(node.output), 1)):
            model = model_of(variant, arrays, fed, outputs)
            if model is not None:
                yield model, dict(itertools.islice(arrays.items(), fed))


def retyped(node: Any, schema: OpSchema, inputs: dict[str, Array]) -> Iterator[tuple[Any, dict[str, Array]]]:
    """The node and its inputs, once for every choice of element types that ONNX allows."""
    variables = {name: formal(schema.inputs, i).type_str for i, name in enumerate(node.input) if name in inputs}
    allowed = {c.type_param_str: [plain(t) for t in c.allowed_type_strs] for c in schema.type_constraints}
    free = sorted({v for v in variables.values() if v in allowed})
    for chosen in itertools.product(*([t for t in PROBED if t in allowed[v]] for v in free)):
        types = dict(zip(free, chosen, strict=True))
        arrays = {name: as_type(inputs[name], types.get(variables[name])) for name in variables}
        for to in PROBED if node.op_type == "Cast" else (None,):
            variant = onnx.NodeProto()
            variant.CopyFrom(node)
            if to is not None:
                del variant.attribute[:]
                variant.attribute.append(onnx.helper.make_attribute("to", onnx_type(to)))
            yield variant, arrays


def model_of(node: Any, arrays: dict[str, Array], fed: int, outputs: int) -> onnx.ModelProto | None:
    """One node with its first `fed` values as inputs, the others constants; None where ONNX does not allow that."""
    single = onnx.NodeProto()
    single.CopyFrom(node)
    del single.output[outputs:]
    names = list(arrays)
    graph = onnx.helper.make_graph(
        [single],
        "probe",
        [onnx.helper.make_tensor_value_info(n, onnx_type(arrays[n].dtype.name), arrays[n].shape) for n in names[:fed]],
        [onnx.helper.make_empty_tensor_value_info(name) for name in single.output if name],
        [onnx.numpy_helper.from_array(arrays[name], name) for name in names[fed:]],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    try:
        inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
        onnx.checker.check_model(inferred)
    except Exception:  # an attribute or a type of a later opset
        return None
    return inferred


def bound(model: onnx.ModelProto) -> Binding:
    """The element type of every type variable of the one node of a model."""
    (node,) = model.graph.node
    schema = onnx.defs.get_schema(node.op_type, OPSET)
    types = {v.name: v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)}
    types |= {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    free = {c.type_param_str for c in schema.type_constraints}
    values = [(formal(schema.inputs, i).type_str, name) for i, name in enumerate(node.input) if name]
    values += [(formal(schema.outputs, i).type_str, name) for i, name in enumerate(node.output) if name]
    return {v: onnx.helper.tensor_dtype_to_np_dtype(types[name]).name for v, name in values if v in free}


def agrees(run: Run, model: onnx.ModelProto, arrays: dict[str, Array], test: onnx.ModelProto) -> bool:
    """Whether an engine gives the result of ONNX's reference implementation.

    That one may lack an operator in our opset, so it takes the test's own; and it computes poorly in float16, so it
    takes float32.
    """
    reference = onnx.ModelProto()
    reference.CopyFrom(model)
    del reference.opset_import[:]
    reference.opset_import.extend(test.opset_import)
    wide = {name: array.astype(np.float32) if array.dtype == np.float16 else array for name, array in arrays.items()}
    try:
        expected = ReferenceEvaluator(reference).run(None, wide)
        return all(map(equal, expected, run(model, arrays)))
    except Exception:  # whatever either side refuses with, it does not run
        return False


def run_in_onnxruntime(model: onnx.ModelProto, arrays: dict[str, Array]) -> list[Array]:
    """Run a model in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results: list[Array] = session.run(None, arrays)
    return results


def run_in_openvino(model: onnx.ModelProto, arrays: dict[str, Array]) -> list[Array]:
    """Run a model in OpenVINO, at the precision that it asks for."""
    import openvino

    core, settings = openvino.Core(), {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", settings)
    results = compiled(list(arrays.values()))
    return [results[output] for output in compiled.outputs]


def formal(parameters: Sequence[Any], index: int) -> Any:
    """The formal parameter at a position; the last stands for all that follow."""
    return parameters[min(index, len(parameters) - 1)]


def as_type(array: Array, dtype: str | None) -> Array:
    """Numbers of another type that still differ from each other: small fractions would all become 0."""
    if dtype is None:
        return array
    if np.issubdtype(array.dtype, np.floating) and not np.issubdtype(dtype, np.floating):
        array = np.asarray(np.rint(array * 4))
    if dtype == "uint8":
        array = np.asarray(np.abs(array)) if array.dtype != bool else array
    return array.astype(dtype)


def equal(expected: Array, got: Array) -> bool:
    """Equal integers; floats within the tolerance of ONNX's own tests, or of float16."""
    if expected.shape != got.shape:
        return False
    if got.dtype.kind != "f":
        return bool(np.array_equal(expected, got))
    tolerance = 1e-2 if got.dtype == np.float16 else 1e-3
    return bool(np.allclose(got, expected, rtol=tolerance, atol=tolerance / 10, equal_nan=True))


def merged(bindings: Sequence[Binding]) -> list[Kernel]:
    """The same bindings as few kernels: two that differ in one variable alone become one."""
    kernels = [{v: frozenset({t}) for v, t in sorted(b.items()) if t} for b in bindings]
    unique = list({tuple(k.items()): k for k in kernels}.values())
    pair = joinable(unique)
    while pair is not None:
        first, second, variable = pair
        unique = [k for k in unique if k is not first and k is not second]
        unique.append(first | {variable: first[variable] | second[variable]})
        pair = joinable(unique)
    return sorted(({v: sorted(types) for v, types in k.items()} for k in unique), key=str)


def joinable(kernels: Sequence[dict[str, frozenset[str]]]) -> tuple[Any, Any, str] | None:
    """Two kernels that differ in one variable, and that variable."""
    for first, second in itertools.combinations(kernels, 2):
        if first.keys() == second.keys():
            differing = [v for v in first if first[v] != second[v]]
            if len(differing) == 1:
                return first, second, differing[0]
    return None


def signature(schema: Any) -> dict[str, Any]:
    """The type variable, or the type itself, of every input and output; ONNX's own operators need no copy of theirs."""
    sides = {side: {p.name: p.typeStr for p in getattr(schema, side)} for side in ("inputs", "outputs")}
    mixed = sorted({p.typeStr for p in schema.inputs if not p.isHomogeneous})
    return {**sides, "mixed": mixed} if mixed else sides


def plain(onnx_name: str) -> str:
    """NumPy's name of a tensor type such as "tensor(float)"; "" for a sequence, a text or a type variable."""
    if not onnx_name.startswith("tensor("):
        return ""
    name = onnx_name[len("tensor(") : -1]
    known = {"float": "float32", "double": "float64", "float16": "float16", "bfloat16": "bfloat16", "bool": "bool"}
    return known.get(name, name if name.startswith(("int", "uint")) else "")


def onnx_type(name: str) -> int:
    """ONNX's number for a NumPy type."""
    return onnx.helper.np_dtype_to_tensor_dtype(np.dtype(name))


def minor(version: str) -> str:
    """The first two numbers of a version."""
    return ".".join(version.split(".")[:2])


def to_json(table: dict[str, Any]) -> str:
    """JSON with one operator a line."""
    head = ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in table.items() if k != "operators")
    domains = []
    for domain, operators in table["operators"].items():
        lines = ",\n".join(f"   {json.dumps(name)}: {json.dumps(operators[name])}" for name in sorted(operators))
        domains.append(f"  {json.dumps(domain)}: {{\n{lines}\n  }}")
    return "{\n" + head + ',\n "operators": {\n' + ",\n".join(domains) + "\n }\n}\n"


if __name__ == "__main__":
    main()
