"""Which operators an engine runs, with which element types and limits: one JSON file an engine, its source in it.

    engine      what it is, for a message
    source      where the facts come from
    opset       of the default domain, that the facts are about
    runs_as     an element type that may stand for another where there is no kernel for it
    io_only     element types that a value of the graph may have only as its input or output
    operators   by domain and name:
        kernels             element types (NumPy's names) of ONNX's type variables that may stand together
        constant            inputs that must be constants
        zero                inputs that must be constants full of zeros, where they are given
        ranks               how many axes the first input may have
        attributes          what an attribute, or each of its entries, may be; nothing: it must be left out
        below               a bound on a constant input
        inputs, outputs     the type variable or element type of each, of operators that ONNX does not define
        mixed               type variables of those that may stand for several element types in one node

`onnxruntime-cpu.json` and `openvino.json` are written by `benchmarks/operator_tables.py`, which asks the engines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Operator:
    """What an engine asks of one operator; the fields are those of the file."""

    kernels: Sequence[Mapping[str, Sequence[str]]]
    constant: Sequence[str] = ()
    zero: Sequence[str] = ()
    ranks: Sequence[int] = ()
    attributes: Mapping[str, Sequence[int | str]] = field(default_factory=dict)
    below: Mapping[str, int] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    mixed: Sequence[str] = ()


@dataclass(frozen=True)
class Table:
    """What one engine runs; `operators` is keyed by domain and name, the other fields are those of the file."""

    engine: str
    source: str
    opset: int
    runs_as: Mapping[str, str]
    io_only: Sequence[str]
    operators: Mapping[tuple[str, str], Operator]


@cache
def table(engine: str) -> Table:
    """Read the table of an engine: "onnxruntime-cpu", "openvino" or "tensorrt"."""
    document = json.loads((files(__name__) / f"{engine}.json").read_text(encoding="utf-8"))
    operators = {
        (domain, name): Operator(**operator)
        for domain, of_domain in document.pop("operators").items()
        for name, operator in of_domain.items()
    }
    return Table(**document, operators=operators)
