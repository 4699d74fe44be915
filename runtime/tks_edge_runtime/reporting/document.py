"""The report document: everything a report says, as plain data. Its JSON form is described by report.schema.json.

Units: times in ms, durations in s, sizes in bytes, accuracies in percent with the counts beside them; see `row`.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from importlib import resources
from typing import Any

from tks_edge_runtime.reporting.row import OK, Row

SCHEMA_VERSION = 3


@dataclass(frozen=True)
class Conclusion:
    """What to ship of one network at one precision, in sentences.

    `verdict` is "ship" (no twin to compare with, or the spiking network is the better choice), "tie", "trade" (slower
    and more accurate than its ReLU twin, or the reverse), "twin" (the twin is the better choice), or "none" (no T can
    be recommended); accuracies that differ within noise count as equal, but a twin that is faster and more than a point
    below the accuracy at T_train is a trade. `file` and `timesteps` are the recommended
    artifact's, where there is one.
    """

    name: str
    precision: str
    verdict: str
    file: str | None
    timesteps: int | None
    headline: str
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """The one artifact to ship within given bounds, and what else there is to know of it, in sentences.

    `asked` are the bounds in words and `preference` what was preferred among the rows that keep them. `row` and
    `runner_up` are places in the report's rows, counted from 0: None where no row keeps the bounds, or no second one.
    `misses` are the nearest of the rows that do not keep them, with what each would need.
    """

    asked: str
    preference: str
    row: int | None
    runner_up: int | None
    headline: str
    sentences: tuple[str, ...]
    misses: tuple[str, ...]


@dataclass(frozen=True)
class DeviceStates:
    """The state of the machine before, during (sampled while measuring) and after."""

    before: dict[str, Any]
    during: tuple[dict[str, Any], ...]
    after: dict[str, Any]


@dataclass(frozen=True)
class Backend:
    """What ran the artifacts: its name, its device, the threads asked for (None: its own choice), and its own words."""

    name: str
    device: str
    threads: int | None
    description: dict[str, str]


@dataclass(frozen=True)
class ReportDocument:
    """A whole report. `created` is UTC in ISO 8601; `seconds` is the measuring time of the preset for each row.

    `answer` is the one artifact to ship, None where the rows' accuracies do not compare; `conclusions` what is to be
    said of each network and precision.
    """

    schema_version: int
    tool: dict[str, str]
    command: str
    created: str
    preset: str
    seconds: float
    method: tuple[str, ...]
    machine: dict[str, Any]
    backends: tuple[Backend, ...]
    device_state: DeviceStates
    answer: Answer | None
    conclusions: tuple[Conclusion, ...]
    rows: tuple[Row, ...]

    @property
    def failed(self) -> tuple[Row, ...]:
        """The rows that could not be exported or run, or whose self-test did not hold."""
        return tuple(row for row in self.rows if row.status != OK)

    @property
    def unstable(self) -> tuple[Row, ...]:
        """The rows during which the machine was throttled, or a clock fell."""
        return tuple(row for row in self.rows if row.unstable)

    def to_dict(self, *, traces: bool = True) -> dict[str, Any]:
        """The document as JSON types; NaN and infinity become null. Without `traces` every row's is null."""
        document: dict[str, Any] = _plain(dataclasses.asdict(self))
        if not traces:
            for row in document["rows"]:
                row["traces"] = None
        return document

    def to_json(self) -> str:
        """The whole document as indented JSON."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """`value` in the types of JSON: JSON has no tuple, NaN or infinity."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int) else str(value)


def schema() -> dict[str, Any]:
    """The JSON Schema of the document, as published with the package."""
    return published("report.schema.json")


def published(name: str) -> dict[str, Any]:
    """The JSON Schema of that name in the package."""
    text = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document
