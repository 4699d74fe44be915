"""Every way to run a network that is compared, in one list, and how the graph or the weights of each are made.

A new precision, target or form of the exporter is one more line in `VARIANTS`.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

from benchmarks.networks import Array, Measured, build, calibrate, fire_rates, on_grid, photographs, save
from benchmarks.spikingjelly_networks import MultiStep, SingleStep
from benchmarks.worker import Job
from tks_edge_export import Calibration, Compiler, Options
from tks_edge_export.manifests import state_specs
from tks_edge_models import LIF, LIFParameters, Network
from tks_edge_models.lif import step
from tks_edge_runtime.files import replacing

_IMAGES = 8
_CALIBRATION_IMAGES = 16
_FIRING_TIMESTEPS = 4


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    Attributes:
        name: what is run.
        engine: what runs it: a backend of `tks_edge_runtime`, or "torch".
        job: makes the files that a worker needs, at this T.
        precision: of the graph.
        target: that tks-edge lowered the graph for; empty where it is not from tks-edge.
        form: "static", or "step" where a graph of one timestep is run T times.
        skip: passes of tks-edge that are left out.
        exact: whether it promises the same spikes, so that its logits must be the network's.
        is_twin: whether it is the ReLU network, which runs one pass.
    """

    name: str
    engine: str
    job: Callable[[Variant, Case, int], Job]
    precision: str = "fp32"
    target: str = ""
    form: str = "static"
    skip: frozenset[str] = frozenset()
    exact: bool = True
    is_twin: bool = False


class Case:
    """A network that is measured, its twin, its images, and a folder for what is made of them."""

    def __init__(self, measured: Measured, folder: Path) -> None:
        self.measured = measured
        self.folder = folder
        self.seen = photographs(measured.size, _CALIBRATION_IMAGES)
        self.spiking = on_grid(calibrate(build(measured), self.seen))
        self.twin = calibrate(build(measured, "relu"), self.seen)
        self.fire_rates = fire_rates(self.spiking, self.seen, _FIRING_TIMESTEPS)
        self.images = np.ascontiguousarray(self.seen[:: _CALIBRATION_IMAGES // _IMAGES])
        self.example = torch.from_numpy(self.images[:1])
        self.images_path = folder / "images.npy"
        np.save(self.images_path, self.images)
        self.weights_path = folder / "weights.safetensors"
        save(self.spiking, self.weights_path)
        self._compilers: dict[bool, Compiler] = {}
        self._logits: dict[tuple[bool, int], Array] = {}

    def network(self, variant: Variant) -> Network:
        """The network that the variant runs."""
        return self.twin if variant.is_twin else self.spiking

    def compiler(self, variant: Variant) -> Compiler:
        """The exporter of that network, which captures it once."""
        if variant.is_twin not in self._compilers:
            self._compilers[variant.is_twin] = Compiler(self.network(variant), self.example)
        return self._compilers[variant.is_twin]

    def graph(self, name: str, write: Callable[[Path], object]) -> Path:
        """The graph called `name`; it is written where it is not there yet."""
        path = self.folder / f"{name}.onnx"
        if not path.exists():
            with replacing(path) as temporary:
                write(temporary)
        return path

    def logits(self, variant: Variant, timesteps: int) -> Array:
        """What eager PyTorch gives for every image, `[M, K]`."""
        key = (variant.is_twin, timesteps)
        if key not in self._logits:
            network = self.network(variant)
            with torch.inference_mode():
                rows = [network(torch.from_numpy(image[None]), timesteps).mean(0)[0] for image in self.images]
            self._logits[key] = torch.stack(rows).numpy()
        return self._logits[key]


class Loop(nn.Module):
    """What a user exports who has no other tool: one timestep after the other, the membranes handed on in between."""

    def __init__(self, network: Network, timesteps: int) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        self.timesteps = timesteps
        membranes: dict[str, Tensor] = {}
        self.rest = membranes.clear
        for path, layer in self.network.named_modules():
            if isinstance(layer, LIF):
                layer.forward = _carried_on(layer.params, membranes, path)  # type: ignore[method-assign, assignment]

    def forward(self, pixels: Tensor) -> Tensor:
        """Run all timesteps, from rest, and take the mean."""
        self.rest()
        steps = [self.network(pixels, 1)[0] for _ in range(self.timesteps)]
        return torch.stack(steps).mean(0)


def _carried_on(params: LIFParameters, membranes: dict[str, Tensor], path: str) -> Callable[[Tensor], Tensor]:
    def forward(current: Tensor) -> Tensor:
        spikes, membranes[path] = step(current[0], membranes.get(path), params)
        return spikes.unsqueeze(0)

    return forward


class MeanOverTime(nn.Module):
    """The network as `tks_edge_models` runs it: T in the batch axis between neurons, the part before them once."""

    def __init__(self, network: Network, timesteps: int) -> None:
        super().__init__()
        self.network = network
        self.timesteps = timesteps

    def forward(self, pixels: Tensor) -> Tensor:
        """Run all timesteps and take the mean."""
        logits: Tensor = self.network(pixels, self.timesteps).mean(0)
        return logits


def _tks_edge(variant: Variant, case: Case, timesteps: int) -> Job:
    options = Options(
        timesteps, form=variant.form, precision=variant.precision, target=variant.target, skip=variant.skip
    )
    compiled = case.compiler(variant).compile(options, [image[None] for image in case.seen])
    name = "-".join(
        (
            "relu" if variant.is_twin else "lif",
            f"t{timesteps}",
            variant.form,
            variant.precision,
            variant.target,
            *variant.skip,
        )
    )
    path = case.graph(name, lambda path: ir.save(compiled.model, path))
    if variant.form == "static":
        return _graph_job(variant, case, path)
    return _step_job(variant, case, path, timesteps, _states(compiled.model, compiled.calibration))


def _states(model: ir.Model, calibration: Calibration) -> list[tuple[str, str, int]]:
    return [(state.input, state.output, state.zero) for state in state_specs(model, calibration)]


def _loop(variant: Variant, case: Case, timesteps: int) -> Job:
    module = Loop(case.spiking, timesteps)
    return _graph_job(variant, case, case.graph(f"loop-t{timesteps}", _plain_export(module, case)))


def _batched(variant: Variant, case: Case, timesteps: int) -> Job:
    module = MeanOverTime(case.spiking, timesteps)
    return _graph_job(variant, case, case.graph(f"batched-t{timesteps}", _plain_export(module, case)))


def _spikingjelly_plain(variant: Variant, case: Case, timesteps: int) -> Job:
    module = MultiStep(case.spiking, timesteps)
    return _graph_job(variant, case, case.graph(f"spikingjelly-t{timesteps}", _plain_export(module, case)))


def _spikingjelly_step(variant: Variant, case: Case, timesteps: int) -> Job:
    path = case.graph("spikingjelly-step", _plain_export(SingleStep(case.spiking), case))
    return _step_job(variant, case, path, timesteps, [])


def _eager(variant: Variant, case: Case, timesteps: int) -> Job:  # noqa: ARG001 - every job is made alike
    return _module_job("module", case, timesteps)


def _spikingjelly_eager(variant: Variant, case: Case, timesteps: int) -> Job:  # noqa: ARG001
    return _module_job("spikingjelly", case, timesteps)


def _plain_export(module: nn.Module, case: Case) -> Callable[[Path], object]:
    """What `torch.onnx.export` makes of a module, with its own optimiser and without anything of tks-edge."""

    def write(path: Path) -> None:
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module.eval(), (case.example,), path, dynamo=True, external_data=False, optimize=True, verbose=False
            )

    return write


def _graph_job(variant: Variant, case: Case, path: Path) -> Job:
    return Job("graph", str(case.images_path), graph=str(path), backend=variant.engine)


def _step_job(variant: Variant, case: Case, path: Path, timesteps: int, states: list[tuple[str, str, int]]) -> Job:
    images = str(case.images_path)
    return Job("steps", images, timesteps=timesteps, graph=str(path), backend=variant.engine, states=states)


def _module_job(kind: str, case: Case, timesteps: int) -> Job:
    images, weights = str(case.images_path), str(case.weights_path)
    return Job(kind, images, timesteps=timesteps, network=case.measured.name, weights=weights)


_ORT, _OV = "onnxruntime", "openvino"
_FOR_ORT, _FOR_OV = "onnxruntime-cpu", "openvino"
_A_STEP = frozenset({"merge_time"})
TWIN = Variant("ReLU twin", _ORT, _tks_edge, target=_FOR_ORT, is_twin=True)
"""The one that every other is a ratio to."""
TWIN_AGAIN = Variant("ReLU twin, once more", _ORT, _tks_edge, target=_FOR_ORT, is_twin=True)
"""The noise of a run: how far from 1.00 the same thing comes out."""
VARIANTS = (
    TWIN,
    TWIN_AGAIN,
    Variant("ReLU twin", _ORT, _tks_edge, "int8", _FOR_ORT, exact=False, is_twin=True),
    Variant("ReLU twin", _OV, _tks_edge, target=_FOR_OV, is_twin=True),
    Variant("ReLU twin", _OV, _tks_edge, "int8", _FOR_OV, exact=False, is_twin=True),
    Variant("eager PyTorch", "torch", _eager),
    Variant("plain export of the loop", _ORT, _loop),
    Variant("plain export, T in the batch", _ORT, _batched),
    Variant("SpikingJelly, eager", "torch", _spikingjelly_eager),
    Variant("SpikingJelly, plain export", _ORT, _spikingjelly_plain),
    Variant("SpikingJelly, one step exported", _ORT, _spikingjelly_step, form="step"),
    Variant("tks-edge", _ORT, _tks_edge, target=_FOR_ORT),
    Variant("tks-edge", _ORT, _tks_edge, target="generic"),
    Variant("tks-edge, one convolution a step", _ORT, _tks_edge, target=_FOR_ORT, skip=_A_STEP),
    Variant("tks-edge, step by step", _ORT, _tks_edge, target=_FOR_ORT, form="step"),
    Variant("tks-edge", _ORT, _tks_edge, "fp16", _FOR_ORT, exact=False),
    Variant("tks-edge", _ORT, _tks_edge, "int8", _FOR_ORT, exact=False),
    Variant("tks-edge, one convolution a step", _ORT, _tks_edge, "int8", _FOR_ORT, skip=_A_STEP, exact=False),
    Variant("tks-edge", _ORT, _tks_edge, "int8", "generic"),
    Variant("tks-edge", _OV, _tks_edge, target=_FOR_OV),
    Variant("tks-edge", _OV, _tks_edge, "fp16", _FOR_OV, exact=False),
    Variant("tks-edge", _OV, _tks_edge, "int8", _FOR_OV),
    Variant("tks-edge, one convolution a step", _OV, _tks_edge, "int8", _FOR_OV, skip=_A_STEP),
    Variant("tks-edge", _OV, _tks_edge, "int8", "generic"),
    Variant("tks-edge, step by step", _OV, _tks_edge, "int8", _FOR_OV, form="step"),
)
