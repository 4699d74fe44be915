"""What one engine has against one node: each rule gives the problem as a clause, or None."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from tks_edge_export.operators import Operator, Table
from tks_edge_export.signature import Use, conflict
from tks_edge_export.values import static_shape

Rule = Callable[[ir.Node, Sequence[Use], Operator, Table], "str | None"]


def problem_of(node: ir.Node, uses: Sequence[Use], engine: Table) -> str | None:
    """Why the engine does not run the node, as what follows "the operator ..."; None where it does."""
    operator = engine.operators.get((node.domain, node.op_type))
    if operator is None:
        return f"is not supported by {engine.engine}"
    return next(filter(None, (rule(node, uses, operator, engine) for rule in _RULES)), None)


def _types(_node: ir.Node, uses: Sequence[Use], operator: Operator, engine: Table) -> str | None:
    misfits = []
    for instead in ({}, engine.runs_as):
        for kernel in operator.kernels:
            wrong = [use for use in uses if not use.fits(kernel, instead)]
            if not wrong:
                return conflict(uses, operator.mixed)
            misfits.append((len(wrong), wrong[0], kernel))
    _, use, kernel = min(misfits, key=lambda misfit: misfit[0])
    allowed = use.allowed(kernel)
    if not allowed:
        return f"uses its {use.parameter}, which {engine.engine} does not run"
    return f"has {use.dtype} at {use.parameter}; {engine.engine} runs it with {', '.join(allowed)}"


def _inside(_node: ir.Node, uses: Sequence[Use], _operator: Operator, engine: Table) -> str | None:
    for use in uses:
        at_the_edge = use.value.is_graph_input() or use.value.is_graph_output()
        if use.dtype in engine.io_only and not at_the_edge:
            return f"has {use.dtype} at {use.parameter}; {engine.engine} takes it as input or output of the graph alone"
    return None


def _constants(_node: ir.Node, uses: Sequence[Use], operator: Operator, engine: Table) -> str | None:
    fixed = {*operator.constant, *operator.zero, *operator.below}
    for use in uses:
        if use.parameter in fixed and ir.convenience.get_const_tensor(use.value) is None:
            return f"computes its {use.parameter}; {engine.engine} needs a constant"
    return None


def _zeros(_node: ir.Node, uses: Sequence[Use], operator: Operator, engine: Table) -> str | None:
    for use in uses:
        tensor = ir.convenience.get_const_tensor(use.value) if use.parameter in operator.zero else None
        if tensor is not None and tensor.numpy().any():
            return f"has a {use.parameter} other than 0; {engine.engine} runs it with 0 alone"
    return None


def _bounds(_node: ir.Node, uses: Sequence[Use], operator: Operator, engine: Table) -> str | None:
    for use in uses:
        tensor = ir.convenience.get_const_tensor(use.value) if use.parameter in operator.below else None
        if tensor is not None and (tensor.numpy() >= operator.below[use.parameter]).any():
            bound = operator.below[use.parameter]
            return f"has a {use.parameter} of {tensor.numpy().max()}; {engine.engine} runs it below {bound}"
    return None


def _ranks(node: ir.Node, _uses: Sequence[Use], operator: Operator, engine: Table) -> str | None:
    shape = static_shape(node.inputs[0]) if operator.ranks and node.inputs else None
    if shape is None or len(shape) in operator.ranks:
        return None
    allowed = " or ".join(map(str, operator.ranks))
    return f"has an input of {len(shape)} axes; {engine.engine} runs it with {allowed}"


def _attributes(node: ir.Node, _uses: Sequence[Use], operator: Operator, engine: Table) -> str | None:
    for name, allowed in operator.attributes.items():
        if name not in node.attributes:
            continue
        value = node.attributes[name].value
        if not allowed:
            return f"sets {name}; {engine.engine} runs it without"
        entries = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        if any(entry not in allowed for entry in entries):
            got, runs = ", ".join(map(str, entries)), " or ".join(map(str, allowed))
            return f"has {name} {got}; {engine.engine} runs it with {runs}"
    return None


_RULES: tuple[Rule, ...] = (_types, _inside, _constants, _zeros, _bounds, _ranks, _attributes)
