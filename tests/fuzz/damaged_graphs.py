"""Well-formed ONNX files with graphs that are wrong: nodes, types, shapes and attributes that no exporter writes."""

from __future__ import annotations

import contextlib
from random import Random
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, helper, numpy_helper, shape_inference

from tests.fuzz.case import Case, Damage

_OPERATORS = (
    *("Add", "Concat", "Conv", "ConvTranspose", "MatMul", "Gemm", "Mul", "Split", "Gather", "Pad", "Resize", "Slice"),
    *("Expand", "Tile", "Reshape", "ReduceSum", "BatchNormalization", "NonZero", "TopK", "OneHot", "If", "Loop"),
    *("LSTM", "Einsum", "SequenceAt", "StringNormalizer", "Scan", "Optional", "ConstantOfShape", "RandomNormal"),
    *("QLinearConv", "MaxPool", "DequantizeLinear", "NoSuchOperator", "DepthToSpace", "GridSample", "", "Cast"),
)
_NUMBERS = (-(2**63), -(2**31), -1000, -1, 0, 1, 2, 3, 1000, 2**31 - 1, 2**31, 2**40, 2**63 - 1)


def _changed(change: Any) -> Damage:
    """A damage from a function of a model and the chance."""

    def damage(case: Case) -> None:
        model = onnx.load(case.path)
        change(model, case.chance)
        if case.chance.random() < 0.5:
            # Half of them state the shapes that they have, and so get further.
            with contextlib.suppress(Exception):
                model = shape_inference.infer_shapes(model)
        case.path.write_bytes(model.SerializeToString())  # `onnx.save` would follow references to other files

    damage.__name__ = change.__name__
    return damage


def a_node_removed(model: ModelProto, chance: Random) -> None:
    del model.graph.node[chance.randrange(len(model.graph.node))]


def nodes_twice_or_in_another_order(model: ModelProto, chance: Random) -> None:
    nodes = list(model.graph.node)
    if chance.random() < 0.5:
        nodes.insert(chance.randrange(len(nodes)), chance.choice(nodes))
    else:
        chance.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def another_input(model: ModelProto, chance: Random) -> None:
    """A node reads another tensor: often one that is computed from its own output, which makes a cycle."""
    node = chance.choice([node for node in model.graph.node if node.input])
    names = [name for other in model.graph.node for name in (*other.input, *other.output)]
    node.input[chance.randrange(len(node.input))] = chance.choice((*names, node.output[0], "", "nowhere"))
    if chance.random() < 0.2:
        node.input.append(chance.choice(names))


def another_operator(model: ModelProto, chance: Random) -> None:
    node = chance.choice(model.graph.node)
    node.op_type = chance.choice(_OPERATORS)
    if chance.random() < 0.2:
        node.domain = chance.choice(("com.microsoft", "ai.onnx.ml", "nowhere", "x" * 10_000))


def another_attribute(model: ModelProto, chance: Random) -> None:
    node = chance.choice([node for node in model.graph.node if node.attribute])
    attribute = chance.choice(node.attribute)
    value: Any = chance.choice(
        (
            chance.choice(_NUMBERS),
            [chance.choice(_NUMBERS) for _ in range(chance.randrange(1, 7))],
            [chance.choice(_NUMBERS)] * 100,
            float("nan"),
            "text",
        )
    )
    node.attribute.remove(attribute)
    node.attribute.append(helper.make_attribute(attribute.name, value))


def another_tensor(model: ModelProto, chance: Random) -> None:
    """An initializer whose shape, type and content do not belong together."""
    tensor = chance.choice(model.graph.initializer)
    kind = chance.randrange(5)
    if kind == 0:
        tensor.dims[:] = [chance.choice(_NUMBERS) for _ in range(chance.randrange(7))]
    elif kind == 1:
        tensor.data_type = chance.choice((*range(30), 99, -1))
    elif kind == 2:
        tensor.raw_data = tensor.raw_data[: chance.randrange(len(tensor.raw_data) + 1)]
    elif kind == 3:
        tensor.float_data.extend([1.0] * chance.randrange(1, 9))
    else:
        tensor.raw_data = chance.randbytes(len(tensor.raw_data))


def other_ports(model: ModelProto, chance: Random) -> None:
    """Inputs and outputs too many, too few, renamed, or of another type."""
    graph = model.graph
    ports = chance.choice((graph.input, graph.output))
    port = chance.choice(ports)
    kind = chance.randrange(5)
    if kind == 0:
        shape = [chance.choice((1, 3, 2**31, 2**40)) for _ in range(chance.randrange(5))]
        ports.append(helper.make_tensor_value_info(chance.choice(("extra", port.name)), TensorProto.FLOAT, shape))
    elif kind == 1:
        ports.remove(port)
    elif kind == 2:
        port.name = chance.choice(("other", "", graph.node[0].output[0], graph.initializer[0].name))
    elif kind == 3:
        port.type.tensor_type.elem_type = chance.choice(range(30))
    else:
        port.type.CopyFrom(helper.make_sequence_type_proto(port.type))


def another_declaration(model: ModelProto, chance: Random) -> None:
    """A tensor is said to have a shape or type that it does not have."""
    info = chance.choice(model.graph.value_info)
    kind = info.type.tensor_type
    if chance.random() < 0.3:
        kind.elem_type = chance.choice(range(30))
    elif chance.random() < 0.2:
        model.graph.value_info.remove(info)
    else:
        for dimension in kind.shape.dim:
            dimension.dim_value = chance.choice(_NUMBERS)
        if chance.random() < 0.2:
            kind.shape.dim.add().dim_param = "any"


def another_version(model: ModelProto, chance: Random) -> None:
    if chance.random() < 0.5:
        model.ir_version = chance.choice((0, -1, 1, 3, 99, 2**62))
    else:
        del model.opset_import[:]
        for _ in range(chance.randrange(3)):
            domain = chance.choice(("", "", "ai.onnx", "nowhere"))
            model.opset_import.append(helper.make_opsetid(domain, chance.choice((0, -1, 1, 7, 18, 99, 2**62))))


def _endless() -> GraphProto:
    """The body of a loop that never ends by itself."""
    given = [
        helper.make_tensor_value_info("i", TensorProto.INT64, []),
        helper.make_tensor_value_info("go", TensorProto.BOOL, []),
    ]
    result = [helper.make_tensor_value_info("go_on", TensorProto.BOOL, [])]
    return helper.make_graph([helper.make_node("Identity", ["go"], ["go_on"])], "body", given, result)


def a_loop(model: ModelProto, chance: Random) -> None:
    """A loop of 2 to the 62nd rounds, nested branches, or a function that calls itself."""
    graph, kind = model.graph, chance.randrange(3)
    graph.initializer.append(numpy_helper.from_array(np.array(2**62), "rounds"))
    graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    if kind == 0:
        graph.node.insert(0, helper.make_node("Loop", ["rounds", "yes"], [], body=_endless()))
    elif kind == 1:
        branch = helper.make_graph([helper.make_node("Identity", ["yes"], ["end"])], "end", [], [])
        for depth in range(chance.choice((1, 3, 15))):
            # Two branches at every depth would double the file each time.
            node = helper.make_node("If", ["yes"], [], then_branch=branch)
            branch = helper.make_graph([node], f"deep{depth}", [], [])
        graph.node.insert(0, helper.make_node("If", ["yes"], [], then_branch=branch, else_branch=branch))
    else:
        imports = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
        again = helper.make_node("Again", ["a"], ["b"], domain="own")
        model.functions.append(helper.make_function("own", "Again", ["a"], ["b"], [again], imports))
        model.opset_import.append(imports[1])
        graph.node.insert(0, helper.make_node("Again", ["yes"], ["never"], domain="own"))


def external_data(model: ModelProto, chance: Random) -> None:
    """Weights that are said to lie in another file, anywhere on the disk."""
    constants = [a.t for node in model.graph.node for a in node.attribute if a.type == AttributeProto.TENSOR]
    tensor = chance.choice([*model.graph.initializer, *constants])
    if chance.random() < 0.8:
        tensor.ClearField("raw_data")
    if chance.random() < 0.9:
        tensor.data_location = TensorProto.EXTERNAL
    location = chance.choice(("/etc/passwd", "../../../../etc/passwd", "weights.bin", "/dev/zero", "", "x" * 5000))
    for key, value in (
        ("location", location),
        ("offset", chance.choice(_NUMBERS)),
        ("length", chance.choice(_NUMBERS)),
    ):
        if chance.random() < 0.8:
            tensor.external_data.add(key=key, value=str(value))


def long_texts(model: ModelProto, chance: Random) -> None:
    node, text = chance.choice(model.graph.node), chance.choice(("x" * 1_000_000, "\x00", "\n\n", "%n%s", "‮"))
    field = chance.choice(("name", "op_type", "doc_string"))
    setattr(node, field, text)
    model.graph.name = chance.choice((text, ""))


def much_of_it(model: ModelProto, chance: Random) -> None:
    """A chain of tens of thousands of nodes, or as many inputs of one."""
    graph, count = model.graph, chance.choice((2_000, 20_000))
    first = graph.node[0].output[0]
    if chance.random() < 0.5:
        for i in range(count):
            graph.node.append(helper.make_node("Identity", [first if i == 0 else f"chain{i - 1}"], [f"chain{i}"]))
    else:
        graph.node.append(helper.make_node("Concat", [first] * count, ["many"], axis=0))


DAMAGES: tuple[Damage, ...] = tuple(
    map(
        _changed,
        (
            a_node_removed,
            nodes_twice_or_in_another_order,
            another_input,
            another_operator,
            another_attribute,
            another_tensor,
            other_ports,
            another_declaration,
            another_version,
            a_loop,
            external_data,
            long_texts,
            much_of_it,
        ),
    )
)
