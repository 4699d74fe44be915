"""The JSON of `compare`: it fits its published schema, which leaves nothing open."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import Any

import jsonschema
import pytest

from tests.runtime.reporting.example import document, failed, on_a_gpu, row, sweep, twin
from tests.runtime.reporting.test_compare_pairs import stopping
from tks_edge_runtime.reporting.compare import ASPECTS, compare
from tks_edge_runtime.reporting.compare_document import SCHEMA_VERSION, comparisons_document, schema
from tks_edge_runtime.reporting.row import NOT_EXPORTED, STATUSES, Row


def unexported() -> Row:
    return row(4, None, 1.0, name="lost", sha256=None, status=NOT_EXPORTED, reason="no such operator", self_test=None,
               latency=None, compute=None, cpu_ms=None, cpu_ms_min=None, traces=None)  # fmt: skip


def without_traces(rows: Sequence[Row]) -> list[Row]:
    return [dataclasses.replace(one, traces=None) for one in rows]


COMPARED: dict[str, tuple[list[Row], list[Row]]] = {
    "a CPU": (sweep(), [*sweep()[:2], twin(580, 0.06, sha256="c" * 64), row(8, 590, 0.9, name="new", sha256="1" * 64)]),
    "a GPU, with energy": (on_a_gpu(), on_a_gpu()),
    "energy in one of the two": (on_a_gpu(), sweep()),
    "early exit": ([stopping(0.1), row(8, 589, 8.0, form="step")], [stopping(0.3)]),
    "what failed": ([failed(2), unexported()], [row(2, 586, 1.0, unstable=True), unexported()]),
    "few runs": ([row(2, 586, 1.0, samples=5)], [row(2, 586, 1.0, samples=5)]),
    "no traces": (sweep(), without_traces(sweep())),
    "other data": (sweep(), [dataclasses.replace(one, batch_size=2, evaluation=None) for one in sweep()]),
}


def made(case: str) -> dict[str, Any]:
    a, b = COMPARED[case]
    found = compare(document(a), document(b, preset="long"), allow=ASPECTS)
    other = compare(document(a), document(a), allow=ASPECTS, letter="C")
    written = json.dumps(comparisons_document([(found, ("a.json", "b.json")), (other, ("a.json", "a.json"))]),
                         allow_nan=False)  # fmt: skip
    document_: dict[str, Any] = json.loads(written)
    return document_


@pytest.mark.parametrize("case", COMPARED)
def test_the_json_fits_the_published_schema(case: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    found = made(case)
    jsonschema.Draft202012Validator(schema()).validate(found)
    assert found["schema_version"] == SCHEMA_VERSION
    assert len(found["comparisons"]) == 2


def objects(part: Any) -> Iterator[dict[str, Any]]:
    """Every object that a schema describes, at any depth."""
    if isinstance(part, dict):
        if part.get("type") == "object":
            yield part
        for inner in part.values():
            yield from objects(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from objects(inner)


def test_the_schema_leaves_nothing_open() -> None:
    described = list(objects(schema()))
    assert len(described) >= 8
    for part in described:
        assert part["additionalProperties"] is False
        assert sorted(part["required"]) == sorted(part["properties"])


def test_the_schema_lists_what_there_is() -> None:
    definitions = schema()["$defs"]
    assert definitions["difference"]["properties"]["aspect"]["enum"] == list(ASPECTS)
    assert definitions["row"]["properties"]["status"]["enum"] == list(STATUSES)
    assert schema()["properties"]["schema_version"] == {"const": SCHEMA_VERSION}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda found: found.update(more=1),
        lambda found: found["comparisons"][0]["rows"][0].update(p50_interval=None),
        lambda found: found["comparisons"][0]["rows"][0]["ratios"].pop("p50"),
        lambda found: found["comparisons"][0]["rows"][0]["a"]["latency"].update(p75=1.0),
        lambda found: found["comparisons"][0]["rows"][0].update(interval=[1.0]),
    ],
)
def test_what_does_not_belong_there_is_found(spoil: Any) -> None:
    found = made("a CPU")
    spoil(found)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(found, schema())
