"""The state of the machine over time: temperatures, clocks and load, as they were sampled while measuring."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tks_edge_runtime.reporting import palette
from tks_edge_runtime.reporting.plot_parts import FONT, WIDTH

_LEAST_SAMPLES = 3
_MOST_LINES = 5
_MOST_POINTS = 400
_LINES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1.5, 2)), (0, (2, 2)))

_State = dict[str, Any]


@dataclass(frozen=True)
class Curve:
    """What one sensor told: its name, s since the first sample, and the values."""

    name: str
    seconds: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """Sensors of one unit: what they tell, the unit, the curves, and how many others are left out."""

    title: str
    unit: str
    curves: tuple[Curve, ...]
    left_out: int

    @property
    def heading(self) -> str:
        """The title with the unit, and what is left out."""
        some = f"; the {len(self.curves)} highest of {len(self.curves) + self.left_out}" if self.left_out else ""
        return f"{self.title}, {self.unit}{some}" if self.unit else f"{self.title}{some}"

    @property
    def description(self) -> str:
        """The range of every curve, in words."""
        ranges = (f"{one.name} {min(one.values):.4g} to {max(one.values):.4g}" for one in self.curves)
        return f"{self.heading}: {', '.join(ranges)}"


def panels_of(states: Sequence[_State]) -> list[Panel]:
    """What of the samples can be drawn: every sensor that at least three of them tell of."""
    kinds: tuple[tuple[str, str, Callable[[_State], Iterator[tuple[str, Any]]]], ...] = (
        ("Temperature", "°C", _temperatures),
        ("Clock", "MHz", _clocks),
        ("CPU load, mean of a minute", "", _load),
        ("GPU load", "%", _gpu_load),
    )
    found = []
    for title, unit, values in kinds:
        curves = _curves(states, values)
        highest = sorted(curves, key=lambda one: -max(one.values))[:_MOST_LINES]
        shown = tuple(one for one in curves if one in highest)
        if shown:
            found.append(Panel(title, unit, shown, len(curves) - len(shown)))
    return found


def drawn(panels: Sequence[Panel]) -> Figure:
    """The panels, one above the other, over the same time."""
    figure = Figure(figsize=(WIDTH, 0.6 + 1.55 * len(panels)), layout="constrained")
    for panel, axes in zip(panels, figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0], strict=True):
        _draw_panel(axes, panel)
    axes.set_xlabel("s since the first sample")
    return figure


def _draw_panel(axes: Axes, panel: Panel) -> None:
    for index, curve in enumerate(panel.curves):
        seconds, values = _thinned(curve)
        colour = palette.SERIES[index % len(palette.SERIES)]
        axes.plot(seconds, values, color=colour, linestyle=_LINES[index], linewidth=1.6, label=curve.name)
    axes.set_title(panel.heading, loc="left", fontsize=FONT, color=palette.INK)
    axes.margins(y=0.15)
    if any(curve.name != panel.title for curve in panel.curves):
        labels = [curve.name for curve in panel.curves]
        axes.legend(
            axes.get_lines(), labels, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=FONT - 2, handlelength=1.6
        )


def _thinned(curve: Curve) -> tuple[list[float], list[float]]:
    """At most `_MOST_POINTS` of a curve: the lowest and the highest of each stretch, so that no peak is lost."""
    stretch = -(-2 * len(curve.values) // _MOST_POINTS)
    kept: list[int] = []
    for start in range(0, len(curve.values), max(stretch, 1)):
        places = range(start, min(start + max(stretch, 1), len(curve.values)))
        ends = {min(places, key=curve.values.__getitem__), max(places, key=curve.values.__getitem__)}
        kept += sorted(ends)
    return [curve.seconds[index] for index in kept], [curve.values[index] for index in kept]


def _curves(states: Sequence[_State], values: Callable[[_State], Iterator[tuple[str, Any]]]) -> list[Curve]:
    samples: dict[str, list[tuple[float, float]]] = {}
    timed = [state for state in states if _is_number(state.get("time"))]
    for state in timed:
        for name, value in values(state):
            if _is_number(value):
                samples.setdefault(name, []).append((state["time"] - timed[0]["time"], float(value)))
    return [
        Curve(name, *map(tuple, zip(*pairs, strict=True)))
        for name, pairs in samples.items()
        if len(pairs) >= _LEAST_SAMPLES
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _temperatures(state: _State) -> Iterator[tuple[str, Any]]:
    yield from (state.get("temperatures_c") or {}).items()
    yield from _of_gpus(state, "temperature_c")


def _clocks(state: _State) -> Iterator[tuple[str, Any]]:
    clock = state.get("clock_mhz") or {}
    yield "CPU, fastest", clock.get("max")
    yield "CPU, slowest", clock.get("min")
    yield from _of_gpus(state, "clock_mhz")
    yield "memory", state.get("memory_clock_mhz")


def _load(state: _State) -> Iterator[tuple[str, Any]]:
    yield "CPU load, mean of a minute", (state.get("load") or [None])[0]


def _gpu_load(state: _State) -> Iterator[tuple[str, Any]]:
    yield from _of_gpus(state, "load_percent")


def _of_gpus(state: _State, key: str) -> Iterator[tuple[str, Any]]:
    for name, gpu in (state.get("gpus") or {}).items():
        yield f"GPU {name}", gpu.get(key)
