"""A network that is captured once and lowered often, and what its graphs compute in each engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from torch import Tensor, nn

from tks_edge_export import Comparison, Compiled, Compiler, LayerComparison, Options, Reference, compare
from tks_edge_export.lif_steps import NEXT_STATE, is_spikes
from tks_edge_export.manifests import rest_of
from tks_edge_export.replay import Replayed
from tks_edge_runtime.backends import open_engine

Array = npt.NDArray[Any]
NETWORKS = ("tiny", "sew_resnet18", "resnet19", "vggsnn", "sew_resnet50", "ms_resnet18", "spikformer", "qkformer")


def each_network(*names: str) -> pytest.MarkDecorator:
    """Run a test for each of these networks."""
    return pytest.mark.parametrize("name", names or NETWORKS)


def export_graph(module: nn.Module, example: Tensor, timesteps: int, *, per_step: bool = False) -> ir.Model:
    """The float graph of a module that is captured for it alone, for every target."""
    return Compiler(module, example).compile(Options(timesteps, per_step=per_step)).model


@dataclass(frozen=True)
class Prepared:
    """A network, its compiler at a batch of two, and pixels `[M, ...]` to run it on."""

    network: nn.Module
    compiler: Compiler
    inputs: Array

    def lower(self, options: Options, folder: Path) -> Lowered:
        compiled = self.compiler.compile(options, [self.inputs])
        path = folder / "graph.onnx"
        ir.save(compiled.model, path)
        return Lowered(compiled, options, path)


@dataclass(frozen=True)
class Lowered:
    """A graph on disk."""

    compiled: Compiled
    options: Options
    path: Path

    @property
    def rest(self) -> dict[str, float]:
        """What the states of a step graph are at rest."""
        return rest_of(self.compiled)

    def compared(self, inputs: Array, *, reference: Reference | None = None, path: Path | None = None) -> Comparison:
        return compare(
            path or self.path,
            reference or self.compiled.reference,
            inputs,
            self.options.timesteps,
            frames=self.options.frames,
            rest=self.rest,
        )

    def with_spikes(self, path: Path) -> Lowered:
        """The same graph with the spikes of every LIF layer as outputs too, in another file."""
        model = ir.from_proto(ir.to_proto(self.compiled.model))
        spikes = [value for node in model.graph for value in node.outputs if is_spikes(value.name)]
        model.graph.outputs.extend(spikes)
        ir.save(model, path)
        return Lowered(self.compiled, self.options, path)

    def run(self, backend: str, batch: Array) -> dict[str, Array]:
        """Every output on one batch; of a step graph those of each step, stacked."""
        engine = open_engine(self.path, backend, threads=1, spinning=False)
        try:
            if not self.rest:
                return engine.run({"input": batch})
            shapes = {port.name: port for port in engine.inputs}
            states = {name: np.full(shapes[name].shape, zero, shapes[name].dtype) for name, zero in self.rest.items()}
            steps = []
            for _ in range(self.options.timesteps):
                steps.append(engine.run({"input": batch, **states}))
                states = {name: steps[-1][f"{name}{NEXT_STATE}"] for name in states}
            return {name: np.stack([step[name] for step in steps]) for name in steps[0]}
        finally:
            engine.close()

    def replayed(self, backend: str, batch: Array, folder: Path) -> list[LayerComparison]:
        """Every decision from the spikes that an engine fired before, in PyTorch.

        Checked are that each is right or borderline, that every layer fires, and the logits that follow from them.
        """
        timesteps, reference = self.options.timesteps, self.compiled.reference
        found = self.with_spikes(folder / "watched.onnx").run(backend, batch)
        # Judged with the tolerance of a float in every layer: what is exact is the caller's to say.
        replayed = Replayed(Reference(reference.network, reference.rounding), timesteps)
        spikes = {path: found[f"{path}.spikes"].reshape(timesteps, len(batch), -1) for path in replayed.paths}
        expected = replayed.run(batch, spikes, len(batch))
        logits = found["logits"] if self.options.form == "step" else found["logits"][None]
        wanted = expected if self.options.form == "step" else expected.mean(0, keepdims=True)
        tolerance = reference.rounding.logits * max(1.0, float(np.abs(expected).max()))  # the classifier is in float
        np.testing.assert_allclose(logits, wanted, rtol=0, atol=tolerance)
        layers = replayed.results()
        assert [layer.path for layer in layers if layer.first_fault is not None] == []
        assert all(layer.total.fired > 0 for layer in layers)
        return layers
