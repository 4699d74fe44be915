"""Manifests that lie, or are none: the graph around them stays whole."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import onnx

from tests.fuzz.case import Case, Damage
from tks_edge_runtime.artifact import METADATA_KEY

_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1.5, 2**31, 2**63, 10**30, -(2**63), "", "x", "../../etc/passwd", "/etc/passwd", "\x00"),
    *([], {}, [[]], [None], {"a": None}, [0], [-1], [2**40, 2**40], [1] * 1000, ["x"] * 50),
    *("[31m", "‮", "{}", "%s%n", "nul\nline", "y" * 100_000),
)
_TEXTS = ("NaN", "Infinity", "-Infinity", "1e400", "1" * 5000, "[" * 100_000, '{"a":' * 50_000, "-0", "\ud800")


def _write(case: Case, text: str) -> None:
    model = onnx.load(case.path)
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            entry.value = text
    onnx.save(model, case.path)


def _read(case: Case) -> Any:
    (text,) = (entry.value for entry in onnx.load(case.path).metadata_props if entry.key == METADATA_KEY)
    return json.loads(text)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every entry of every object and list in a document, as its container and its key."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    here = [(value, key) for key in keys]
    return here + [place for key in keys for place in _places(value[key])]


def _number(chance: Random) -> int:
    return chance.choice((-1, 0, 1, 2, 7, 64, 65, 255, 2**16, 2**31 - 1, 2**40, 2**62, 10**40))


def another_value(case: Case) -> None:
    document, chance = _read(case), case.chance
    for _ in range(chance.choice((1, 1, 1, 3))):
        container, key = chance.choice(_places(document))
        container[key] = chance.choice(_VALUES)
    _write(case, json.dumps(document))


def another_number(case: Case) -> None:
    document = _read(case)
    places = [(c, k) for c, k in _places(document) if isinstance(c[k], int | float) and not isinstance(c[k], bool)]
    container, key = case.chance.choice(places)
    container[key] = _number(case.chance)
    _write(case, json.dumps(document))


def another_shape(case: Case) -> None:
    """A shape that the graph does not have: huge, negative, empty, or of another rank."""
    document, chance = _read(case), case.chance
    specs = [document["input"], *document["outputs"], *document["states"]]
    spec = chance.choice(specs)
    spec["shape"] = [_number(chance) for _ in range(chance.randrange(7))]
    if chance.random() < 0.3:
        spec["dtype"] = chance.choice(("float64", "object", "uint8", "U8", "", "int4", "datetime64[s]", "float32"))
    _write(case, json.dumps(document))


def a_field_gone_or_foreign(case: Case) -> None:
    document, chance = _read(case), case.chance
    container, key = chance.choice([(c, k) for c, k in _places(document) if isinstance(c, dict)])
    if chance.random() < 0.5:
        del container[key]
    else:
        container["foreign"] = container.pop(key)
    _write(case, json.dumps(document))


def another_schema(case: Case) -> None:
    schema = case.chance.choice((0, 1, 3, 10**9, -1, "2", None, True, 2.0, [2]))
    _write(case, json.dumps(_read(case) | {"schema_version": schema}))


def a_key_twice(case: Case) -> None:
    """The same key again, with another value: which of both counts is nobody's guess."""
    text, key = json.dumps(_read(case)), case.chance.choice(("timesteps", "form", "golden_file", "states", "classes"))
    _write(case, '{"' + key + '": ' + json.dumps(case.chance.choice(_VALUES[:20])) + ", " + text[1:])


def no_json(case: Case) -> None:
    text, chance = json.dumps(_read(case)), case.chance
    wrong = chance.choice(_TEXTS).encode("utf-8", "replace").decode()
    start = chance.randrange(len(text))
    _write(case, chance.choice((wrong, text[:start], text[:start] + wrong + text[start:], text.replace("2.0", wrong))))


DAMAGES: tuple[Damage, ...] = (
    another_value,
    another_number,
    another_shape,
    a_field_gone_or_foreign,
    another_schema,
    a_key_twice,
    no_json,
)
