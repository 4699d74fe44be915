"""Draws how a graph comes about, from a real export of a network of two layers: the pictures of docs/unrolling.md.

    python examples/draw_graph.py docs/unrolling

Every box is a node of a graph that the exporter made and compared with the network. Constants are not drawn.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path

import matplotlib as mpl
import matplotlib.patches
import onnx_ir as ir
import torch
from matplotlib.figure import Figure
from torch import nn

from tks_edge_export import export
from tks_edge_export.capture import capture
from tks_edge_export.passes import ONE_STEP, apply
from tks_edge_models import LIF

EXPORTS = {
    "t1": {"timesteps": 1},
    "t2": {"timesteps": 2},
    "step": {"timesteps": 2, "form": "step"},
    "int8": {"timesteps": 1, "precision": "int8"},
}
COLOURS = {"edge": "#f0f0f0", "layer": "#cfe2f3", "neuron": "#fce5cd", "int8": "#d9ead3", "other": "#ffffff"}
BOX = (1.3, 0.56)  # in units of columns and rows
SPACING = 1.9  # from column to column


def network() -> nn.Module:
    """Two convolutions with batch norm and a LIF layer each, and a classifier; its weights are random."""
    torch.manual_seed(0)
    layers = OrderedDict(
        conv1=nn.Conv2d(1, 4, 3, padding=1),
        norm1=nn.BatchNorm2d(4),
        fire1=LIF(),
        conv2=nn.Conv2d(4, 4, 3, padding=1),
        norm2=nn.BatchNorm2d(4),
        fire2=LIF(),
        flatten=nn.Flatten(),
        classify=nn.Linear(4 * 8 * 8, 3),
    )
    return nn.Sequential(layers).eval()


def stages() -> Iterator[tuple[str, ir.Model]]:
    """Each stage of the way by its name, and its graph."""
    images = 4 * torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    captured = capture(network(), images[:1])
    yield "captured", captured.clone().model
    apply(captured, ONE_STEP, ())
    yield "rewritten", captured.model
    with tempfile.TemporaryDirectory() as folder:
        for name, wanted in EXPORTS.items():
            exported = export(network(), images[:1], samples=images, output=folder, **wanted)
            yield name, ir.load(exported.artifact.path)


class Drawing:
    """The boxes of a graph and the arrows between them, each with its place.

    Attributes:
        labels: two lines for each box, by its name: nodes, inputs and outputs of the graph.
        kinds: the colour of each, by a key of `COLOURS`.
        arrows: from box to box.
        places: column and row of each.
    """

    def __init__(self, model: ir.Model) -> None:
        self.labels: dict[str, str] = {}
        self.kinds: dict[str, str] = {}
        self.arrows: list[tuple[str, str]] = []
        graph = model.graph
        giver: dict[ir.Value, str] = {value: str(value.name) for value in graph.inputs}
        for value in graph.inputs:
            self._box(str(value.name), f"input\n{value.name}", "edge")
        for node in graph:
            if _is_constant(node, giver):
                continue
            name = str(node.name)
            self._box(name, f"{_operator(node)}\n{name}", _kind(node))
            self.arrows += [(giver[value], name) for value in dict.fromkeys(node.inputs) if value in giver]
            giver |= dict.fromkeys(node.outputs, name)
        for value in graph.outputs:
            self._box(f"output {value.name}", f"output\n{value.name}", "edge")
            self.arrows.append((giver[value], f"output {value.name}"))
        self.places = self._placed()

    def _box(self, name: str, label: str, kind: str) -> None:
        self.labels[name], self.kinds[name] = label, kind

    def _placed(self) -> dict[str, tuple[float, int]]:
        """A row below all that a box reads; a column for each timestep, and one between them for what serves all."""
        givers = {name: [giver for giver, reader in self.arrows if reader == name] for name in self.labels}
        rows: dict[str, int] = {}
        of_image = {next(iter(self.labels))}  # what follows from the first input
        for name in self.labels:  # in the order of execution
            rows[name] = max((rows[giver] + 1 for giver in givers[name]), default=0)
            if not of_image.isdisjoint(givers[name]):
                of_image.add(name)
        for name in reversed(self.labels):  # the rest stands just above what reads it
            if name not in of_image:
                rows[name] = min(rows[reader] for giver, reader in self.arrows if giver == name) - 1
        steps = {name: int(found[1]) for name in self.labels if (found := re.search(r"\.t(\d+)\.", name))}
        last = max(steps.values(), default=0)
        places: dict[str, tuple[float, int]] = {}
        for name, row in rows.items():
            column = 2.0 * steps.get(name, last / 2) - last + (name not in of_image)
            while (column * SPACING, row) in places.values():
                column += -1 if name in of_image else 1
            places[name] = column * SPACING, row
        return places

    def save(self, path: Path) -> None:
        """Write the picture as an SVG file in which each box and arrow has its name as its id."""
        xs, ys = zip(*self.places.values(), strict=True)
        width, height = max(xs) - min(xs) + 2.2, max(ys) - min(ys) + 1
        figure = Figure(figsize=(width * 1.15, height * 0.55))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(min(xs) - 1.1, max(xs) + 1.1), ylim=(max(ys) + 0.5, min(ys) - 0.5))
        axes.axis("off")
        for arrow in self.arrows:
            route = self._route(*arrow)
            axes.plot(*zip(*route, strict=True), color="#666666", linewidth=0.9, gid="arrow {} {}".format(*arrow))
            axes.annotate("", route[-1], route[-2], arrowprops={"arrowstyle": "-|>", "color": "#666666", "lw": 0.9})
        for name, (x, y) in self.places.items():
            box = {"boxstyle": "round,pad=0.02,rounding_size=0.08", "facecolor": COLOURS[self.kinds[name]]}
            corner = (x - BOX[0] / 2, y - BOX[1] / 2)
            patch = mpl.patches.FancyBboxPatch(corner, *BOX, **box, edgecolor="#444444", linewidth=0.8, zorder=2)
            axes.add_patch(patch).set_gid(f"box {name}")
            operator, _, called = self.labels[name].partition("\n")
            axes.text(x, y - 0.12, operator, ha="center", va="center", fontsize=8, weight="bold", zorder=3)
            axes.text(x, y + 0.13, called, ha="center", va="center", fontsize=6.5, zorder=3)
        style = {"svg.fonttype": "none", "svg.hashsalt": "tks-edge"}
        with mpl.rc_context(style):
            figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")

    def _route(self, giver: str, reader: str) -> list[tuple[float, float]]:
        """Straight down to the next row; past other boxes in a lane beside them."""
        (x, y), (to_x, to_y) = self.places[giver], self.places[reader]
        blocked = any(place[0] == x and y < place[1] < to_y for place in self.places.values())
        if to_y - y == 1 or (x == to_x and not blocked):
            return [(x, y + BOX[1] / 2), (to_x, to_y - BOX[1] / 2)]
        side = 1 if to_x > x or (to_x == x and x >= 0) else -1
        lane = x + side * (SPACING / 2 - 0.09)
        end = to_x + BOX[0] / 2 * (1 if lane > to_x else -1)
        return [(x + side * BOX[0] / 2, y), (lane, y), (lane, to_y), (end, to_y)]


def _operator(node: ir.Node) -> str:
    """The operator, with what it compares or multiplies by where that is one number."""
    numbers = [value.const_value for value in node.inputs if value is not None and value.const_value is not None]
    one = [number.numpy().item() for number in numbers if number.size == 1]
    sign = {"Less": "<", "Mul": "x"}.get(node.op_type)
    return f"{node.op_type} {sign} {one[0]:g}" if sign and one else node.op_type


def _is_constant(node: ir.Node, given: Mapping[ir.Value, str]) -> bool:
    """Whether it is not drawn: it reads nothing that is, and holds no weights."""
    return node.op_type != "DequantizeLinear" and not any(value in given for value in node.inputs)


def _kind(node: ir.Node) -> str:
    if node.op_type in {"QuantizeLinear", "DequantizeLinear"}:
        return "int8"
    if node.op_type in {"Conv", "Gemm", "BatchNormalization"}:
        return "layer"
    return "neuron" if node.op_type == "LIF" or str(node.name).startswith("fire") else "other"


def main(folder: Path) -> None:
    """Draw each stage into this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, model in stages():
        drawing = Drawing(model)
        drawing.save(folder / f"{name}.svg")
        print(f"{folder / name}.svg: {len(list(model.graph))} nodes")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
