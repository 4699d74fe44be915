"""Does a graph use only what its target runs? Judged by operator, element type, opset and limits, from stored tables.

Each engine has a table in `operators/`, with its source. A graph for `generic` has to pass the table of every engine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import onnx
import onnx_ir as ir

from tks_edge_export.errors import ExportError
from tks_edge_export.operators import Table, table
from tks_edge_export.operators.rules import problem_of
from tks_edge_export.signature import Use, conflict, numpy_name, schema_of, uses_by_schema, uses_by_table
from tks_edge_export.targets import IR_VERSION, OPSET, TARGETS, find_target
from tks_edge_export.values import static_shape

ENGINES = ("tensorrt", "onnxruntime-cpu", "openvino")
"""What has a table; the target `generic` is all of them."""
_SUBGRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


@dataclass(frozen=True)
class Finding:
    """Something in a graph that does not run: the operator and the node's name ("" for the graph itself), and why."""

    operator: str
    node: str
    problem: str

    def __str__(self) -> str:
        """The finding as a clause: "the operator GridSample (node 'n') is not supported by ..."."""
        return f"the operator {self.operator} (node {self.node!r}) {self.problem}" if self.operator else self.problem


def lint(model: ir.Model, target: str) -> tuple[Finding, ...]:
    """Everything in `model` that `target` does not run, at most one finding a node and engine.

    The model is not changed; a value without a type or a shape gets what ONNX's own inference can tell of it. Where the
    graph is none that any engine takes, only that is found.

    Raises:
        InputError: there is no such target.
    """
    find_target(target)
    known = _inferred(model)
    unfit = [*_of_graph(known), *(finding for node in known.graph for finding in _of_node(node, known))]
    if unfit:
        return tuple(unfit)
    engines = [table(engine) for engine in ENGINES if target in (engine, "generic")]
    return tuple(finding for node in known.graph for engine in engines for finding in _of_engine(node, engine))


def check(model: ir.Model, target: str, skipped: Collection[str] = ()) -> None:
    """Refuse a graph that `target` does not run.

    Args:
        model: the graph.
        target: a key of `TARGETS`.
        skipped: passes that were left out, which may be why.

    Raises:
        ExportError: the message names the operator, its node, why, and a target that runs the graph if there is one.
        InputError: there is no such target.
    """
    findings = lint(model, target)
    if not findings:
        return
    first, *others = findings
    if not first.operator:
        raise ExportError(f"target {target}: {first}.")
    counts = Counter(finding.operator for finding in others)
    more = f" (also: {', '.join(f'{name} x{count}' for name, count in counts.items())})" if others else ""
    fitting = [name for name in TARGETS if not lint(model, name)]
    advice = f", or export with --target {' or '.join(fitting)}" if fitting else ""
    remedy = f"Do not skip {', '.join(sorted(skipped))}" if skipped else "Build the network without it"
    raise ExportError(f"target {target}: {first}{more}. {remedy}{advice}.")


def _inferred(model: ir.Model) -> ir.Model:
    """The model itself where every value has a type and a shape, else a copy with what ONNX can tell."""
    values = [value for node in model.graph for value in node.outputs if value.name]
    if all(value.dtype is not None and value.shape is not None for value in values):
        return model
    return ir.from_proto(onnx.shape_inference.infer_shapes(ir.to_proto(model)))


def _of_graph(model: ir.Model) -> Iterator[Finding]:
    """What no engine of ours takes, whatever the operators."""
    opset = model.opset_imports.get("")
    if opset != OPSET:
        yield Finding("", "", f"the graph is of opset {opset}; convert it to opset {OPSET}")
    if model.ir_version > IR_VERSION:
        problem = f"the graph is of IR version {model.ir_version}; save it with version {IR_VERSION}"
        yield Finding("", "", problem)
    for value in model.graph.inputs:
        if value.dtype is None or static_shape(value) is None:
            yield Finding("", "", f"the input {value.name!r} has shape {value.shape}; export with inputs of one shape")


def _of_node(node: ir.Node, model: ir.Model) -> Iterator[Finding]:
    """What no engine of ours takes in this node, or ONNX itself does not allow."""
    unfit = _unfit(node, model)
    if unfit is not None:
        yield Finding(_name(node), str(node.name), unfit)


def _unfit(node: ir.Node, model: ir.Model) -> str | None:
    if any(attribute.type in _SUBGRAPHS for attribute in node.attributes.values()):
        return "branches or loops on data; a static graph cannot"
    if node.domain not in model.opset_imports:
        return f"is of the domain {node.domain!r}, which the graph does not import"
    for value in node.outputs:
        if value.name and (value.dtype is None or static_shape(value) is None):
            return f"gives {value.name!r} of type {value.dtype} and shape {value.shape}; both must be known and static"
    return _against_onnx(node) if node.domain == "" else None


def _against_onnx(node: ir.Node) -> str | None:
    """What ONNX itself does not allow: an operator of another opset, or element types."""
    schema = schema_of(node, OPSET)
    if schema is None:
        return f"is not in opset {OPSET} of ONNX"
    types = {c.type_param_str: [numpy_name(name) for name in c.allowed_type_strs] for c in schema.type_constraints}
    uses = uses_by_schema(node, schema)
    for use in uses:
        if not use.fits(types):
            allowed = ", ".join(sorted(use.allowed(types)))
            return f"has {use.dtype or 'no type'} at {use.parameter}, where opset {OPSET} of ONNX allows {allowed}"
    return conflict(uses)


def _of_engine(node: ir.Node, engine: Table) -> Iterator[Finding]:
    """What one engine has against a node."""
    found = problem_of(node, _uses(node, engine), engine)
    if found is not None:
        yield Finding(_name(node), str(node.name), found)


def _uses(node: ir.Node, engine: Table) -> list[Use]:
    schema = schema_of(node, OPSET) if node.domain == "" else None
    if schema is not None:
        return uses_by_schema(node, schema)
    operator = engine.operators.get((node.domain, node.op_type))
    return uses_by_table(node, operator.inputs, operator.outputs) if operator is not None else []


def _name(node: ir.Node) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type
