"""`tks-edge info`: what an artifact or a run directory says about itself, and what its graph costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from tks_edge.commands import completion
from tks_edge.timesteps import powers_of_two
from tks_edge_runtime.command import DebugFlag, JsonFlag, Output, running

if TYPE_CHECKING:
    from tks_edge.checkpoint import Run
    from tks_edge_export.cost import Cost
    from tks_edge_models import Network

_MANY = 16
"""Lists with more entries than this are cut."""


def info(
    path: Annotated[
        Path, typer.Argument(help="An .onnx file of ours, or a run directory.", autocompletion=completion.described)
    ],
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Show what an artifact or a run directory says about itself, and what its graph costs at each T."""
    with running(as_json, debug) as out:
        if path.is_dir():
            with out.waiting("loading PyTorch"):
                from tks_edge.checkpoint import load_run

                run = load_run(path)
            document = _document(run)
            _show(run, document, out)
            costs = _costs(run, out)
            _show_costs([(_label(neuron, t), cost) for neuron, t, cost in costs], "one image through its graph", out)
            rows = [{"neuron": neuron, "timesteps": t, **dataclasses.asdict(cost)} for neuron, t, cost in costs]
            out.document({**document, "costs": rows})
            out.next("export", str(path))
        else:
            from tks_edge_runtime.artifact import Artifact
            from tks_edge_runtime.show import artifact_document, show_artifact

            artifact = Artifact.open(path)
            show_artifact(artifact, out.console)
            with out.waiting("counting"):
                cost = _cost(path)
            batch = artifact.manifest.input.shape[0]
            _show_costs([(f"T={artifact.manifest.timesteps}", cost)], f"one run of the graph, batch {batch}", out)
            operators = ", ".join(f"{name} {count}" for name, count in cost.operators.items())
            out.console.print(f"operators: {operators}", highlight=False, soft_wrap=True)
            out.document({**artifact_document(artifact), "cost": dataclasses.asdict(cost)})
            out.next("profile", str(path))


def _cost(path: Path) -> Cost:
    import onnx_ir as ir

    from tks_edge_export.cost import cost

    return cost(ir.load(path))


def _costs(run: Run, out: Output) -> list[tuple[str, int, Cost]]:
    """The cost of one image: of the ReLU twin, which has no timesteps, and of the network at each T up to its own."""
    import torch

    from tks_edge.checkpoint import CONFIG, network_from
    from tks_edge_export import Compiler, Options
    from tks_edge_export.cost import cost

    spec = run.network.spec
    image = torch.zeros(1, *run.network.input_shape, dtype=torch.uint8)
    twin = network_from({**spec, "neuron": "relu"}, run.path / CONFIG).eval()
    networks: list[tuple[str, Network, tuple[int, ...]]] = [("relu", twin, (1,))]
    if run.network.is_spiking:
        networks.append(("lif", run.network, powers_of_two(run.config.train.timesteps)))
    costs: list[tuple[str, int, Cost]] = []
    with out.progress() as bar:
        task = bar.add_task("counting", total=sum(len(timesteps) for _, _, timesteps in networks))
        for neuron, network, timesteps in networks:
            compiler = Compiler(network, image)
            for t in timesteps:
                costs.append((neuron, t, cost(compiler.compile(Options(t)).model)))
                bar.advance(task)
    return costs


def _label(neuron: str, timesteps: int) -> str:
    return "ReLU twin" if neuron == "relu" else f"T={timesteps}"


def _show_costs(costs: Sequence[tuple[str, Cost]], title: str, out: Output) -> None:
    table = Table(title=title, title_justify="left")
    for column in ("", "nodes", "parameters", "MACs", "weights", "activations", "at once"):
        table.add_column(column, justify="right" if column else "left")
    for name, cost in costs:
        table.add_row(
            name,
            f"{cost.nodes:,}",
            f"{cost.parameters:,}",
            _short(cost.macs),
            *(f"{_short(n)}B" for n in (cost.weight_bytes, cost.activation_bytes, cost.peak_activation_bytes)),
        )
    out.console.print(table)


def _short(number: int) -> str:
    """Three digits and a unit's prefix: 555422720 is "555 M"."""
    for prefix, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= scale:
            return f"{number / scale:.3g} {prefix}"
    return f"{number} "


def _document(run: Run) -> dict[str, Any]:
    return {
        "run": str(run.path),
        "network": run.config.network,
        "parameters": sum(parameter.numel() for parameter in run.network.parameters()),
        "train": run.config.train.to_json(),
        "dataset": run.config.dataset,
        "best": dataclasses.asdict(run.best),
        "weights_sha256": run.weights_sha256(),
        "origin": None if run.config.origin is None else dataclasses.asdict(run.config.origin),
        "versions": run.config.versions,
        "created": run.config.created,
    }


def _show(run: Run, document: dict[str, Any], out: Output) -> None:
    table = Table(title=escape(f"run {run.path}"), title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for key in ("network", "origin", "train", "dataset", "best", "versions"):
        for name, value in _rows(key, _shown(key, document)):
            table.add_row(escape(name), escape(value))
        table.add_section()
    for key in ("parameters", "weights_sha256", "created"):
        table.add_row(key, _text(document[key]))
    out.console.print(table)


def _shown(key: str, document: dict[str, Any]) -> Any:
    """What people see of a part.

    A graph's nodes by name, accuracies in percent, and of an import not how it would have been trained.
    """
    part = document[key]
    if key == "best":
        by_t = [f"{share:.2%}" for share in part["validation_accuracy_by_timesteps"]]
        accuracies = {"validation_accuracy": f"{part['validation_accuracy']:.2%}"}
        return part | accuracies | {"validation_accuracy_by_timesteps": by_t}
    if key == "network" and "graph" in part:
        graph = part["graph"]
        nodes = {node["name"]: f"{node['operator']} of {', '.join(node['inputs'])}" for node in graph["nodes"]}
        return part | {"graph": nodes | {"output": graph["output"]}}
    if key == "train" and document["origin"] is not None:
        return {name: part[name] for name in ("dataset", "image_size", "frames", "model", "timesteps")}
    return part


def _rows(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """One row a value, however deep it lies: the names on the way to it, and what it is."""
    if not isinstance(value, dict):
        yield name, _text(value)
        return
    for key, inner in value.items():
        yield from _rows(f"{name} {key}", inner)


def _text(value: Any) -> str:
    """A value as people write it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        shown = ", ".join(map(_text, value[:_MANY]))
        return f"{shown}, ... ({len(value)})" if len(value) > _MANY else shown
    return f"{value:.6g}" if isinstance(value, float) else str(value)
