"""Comparisons as one JSON document, which compare.schema.json describes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from tks_edge_runtime.reporting.compare import Comparison, Named, Pair
from tks_edge_runtime.reporting.compare_texts import energy_source, notes, ratios
from tks_edge_runtime.reporting.document import published
from tks_edge_runtime.reporting.row import Row

SCHEMA_VERSION = 1


def comparisons_document(comparisons: Sequence[Named]) -> dict[str, Any]:
    """Every comparison as JSON types: times in ms, energies in mJ, accuracies in percent."""
    return {
        "schema_version": SCHEMA_VERSION,
        "comparisons": [_comparison(comparison, names) for comparison, names in comparisons],
    }


def schema() -> dict[str, Any]:
    """The JSON Schema of the document, as published with the package."""
    return published("compare.schema.json")


def _comparison(comparison: Comparison, names: tuple[str, str]) -> dict[str, Any]:
    source = energy_source(comparison)
    return {
        "a": names[0],
        "b": names[1],
        "differences": [dataclasses.asdict(difference) for difference in comparison.differences],
        "rows": [_pair(pair, source and source[0]) for pair in comparison.pairs],
        "only_a": [row.title for row in comparison.only_a],
        "only_b": [row.title for row in comparison.only_b],
        "notes": notes(comparison, names),
    }


def _pair(pair: Pair, source: str | None) -> dict[str, Any]:
    interval = pair.interval
    return {
        "title": pair.title,
        "same_file": pair.same_file,
        "a": _row(pair.a),
        "b": _row(pair.b),
        "ratio": pair.ratio,
        "ratio_of": pair.typical_name,
        "interval": None if interval is None else [interval.low, interval.high],
        "ratios": {"energy": None, **ratios(pair, source)},
        "energy_source": source,
    }


def _row(row: Row) -> dict[str, Any]:
    kept = ("file", "sha256", "status", "unstable", "accuracy", "latency", "compute", "energy")
    document = dataclasses.asdict(dataclasses.replace(row, traces=None))
    return {name: document[name] for name in kept}
