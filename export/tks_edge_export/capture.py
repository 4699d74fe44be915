"""One timestep of a network as an ONNX graph in which each layer of neurons is one opaque node.

The node `tks_edge::LIF(x) -> spikes` carries the module path of its layer; what it computes is decided later, when
`unroll` lays out the timesteps. So a network is captured once, whatever T it is shipped at, and everything that does
not depend on time stays visible as such. What one timestep cannot show is refused here, before anything is written.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FunctionType

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch
from onnx_ir.passes.common import ShapeInferencePass
from torch import Tensor, nn

from tks_edge_export.errors import ExportError
from tks_edge_export.one_timestep import check_one_timestep
from tks_edge_export.probe import TIMESTEPS, Probe, named, probing_input, raised_in, reason
from tks_edge_export.provenance import give_each_module_one_path, module_path, name_after_modules
from tks_edge_export.recurrence import check_recurrence
from tks_edge_export.statefulness import check_stateless
from tks_edge_export.targets import OPSET
from tks_edge_export.traced_neuron import TracedNeuron
from tks_edge_export.values import static_shape
from tks_edge_models import LIFParameters

LIF_DOMAIN = "tks_edge"
LIF_OPERATOR = "LIF"
PATH = "path"
"""The attribute of a LIF node that holds its layer's module path."""
_RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")


@dataclass(frozen=True)
class Capture:
    """One timestep of a network.

    Attributes:
        model: graph from `input` (one batch of images or of frames, `[N, ...]`) to the logits of that step.
        neurons: the constants of every LIF layer, by module path, in the order of execution; of another neuron that
            equals a LIF but for rounding, those.
        traced: every other neuron, by module path.
        thresholds: those of its channels, float32, of LIF layers whose channels have units of their own; see
            `passes.channel_units`.
    """

    model: ir.Model
    neurons: dict[str, LIFParameters]
    thresholds: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    traced: dict[str, TracedNeuron] = field(default_factory=dict)

    @property
    def is_spiking(self) -> bool:
        """Whether the network has neurons."""
        return bool(self.neurons or self.traced)

    def clone(self) -> Capture:
        """A copy whose graph and constants can be changed."""
        return Capture(self.model.clone(), dict(self.neurons), dict(self.thresholds), self.traced)


@torch.inference_mode(mode=False)
def capture(module: nn.Module, example: Tensor) -> Capture:
    """Capture one timestep of `module`.

    Args:
        module: a network whose only state is in layers of neurons, in evaluation mode; it is not changed. Its layers
            get one timestep, `[N, ...]` or `[1, N, ...]`; where its forward takes `timesteps`, it is called with 1.
        example: one batch of its input, as it will be fed on the device: shapes become static.

    Raises:
        ExportError: the module cannot be traced, runs one LIF layer several times, is in training mode, or does what
            a graph of one timestep does not show: keeps a state elsewhere, draws random numbers, looks across time.
    """
    _check_example(example)
    probe = Probe(module)
    _check_mode(probe.network)
    x = probing_input(example)
    _check_output(probe.run(x))
    check_stateless(probe, x)
    check_recurrence(probe, x)
    check_one_timestep(probe, x)
    model = _traced(probe, example.detach().cpu())
    captured = Capture(model, {})
    for node in model.graph:
        if node.op_type in _RANDOM:
            raise ExportError(f"{probe.name(module_path(node) or '')} draws random numbers; leave them out.")
        if is_lif(node):
            path = node.attributes[PATH].as_string()
            if path in captured.neurons or path in captured.traced:
                raise ExportError(
                    f"the LIF layer {path!r} runs more than once a timestep, so its state is ambiguous; "
                    "use one layer for each place."
                )
            if (params := probe.layers[path].equivalent) is not None:
                captured.neurons[path] = params
            else:
                captured.traced[path] = _traced_neuron(probe, path, node)
    return captured


def _traced_neuron(probe: Probe, path: str, node: ir.Node) -> TracedNeuron:
    """The neuron that this node stands for, tried on the shape of its current."""
    shape = static_shape(node.inputs[0])
    if shape is None:
        raise ExportError(f"{probe.name(path)} gets a current without a static shape; export with inputs of one size.")
    traced = TracedNeuron(path, probe.name(path), probe.layers[path], _step_program)
    traced.check(shape)
    return traced


def _step_program(neuron: str, step: nn.Module, inputs: tuple[Tensor, ...], names: Sequence[str]) -> ir.Model:
    try:
        return _program(step, inputs, names)
    except Exception as error:
        raise ExportError(_not_captured(f"the step of {neuron}", error)) from error


def is_lif(node: ir.Node) -> bool:
    """Whether `node` is a LIF layer."""
    return node.domain == LIF_DOMAIN and node.op_type == LIF_OPERATOR


def _check_example(example: object) -> None:
    """Refuse what cannot be one batch of a network's input."""
    if not isinstance(example, Tensor):
        raise ExportError(f"the example input is a {type(example).__name__}; one tensor is needed, a batch [N, ...].")
    if example.ndim == 0 or example.numel() == 0:
        raise ExportError(
            f"the example input has shape {list(example.shape)}; a batch [N, ...] of real inputs is needed."
        )
    if example.is_complex() or example.is_meta or example.layout != torch.strided:
        raise ExportError(
            f"the example input is {example.dtype} on {example.device}, laid out as {example.layout}; a dense tensor "
            "of real numbers is needed."
        )


def _check_mode(network: nn.Module) -> None:
    """Refuse a module in training mode that computes something else in evaluation mode."""
    for path, layer in network.named_modules():
        if layer.training and _reads_mode(type(layer)):
            raise ExportError(
                f"{named(path, layer)} is in training mode, where it need not compute what it does when deployed; "
                "call eval() on the network first."
            )


def _reads_mode(kind: type) -> bool:
    """Whether a method that this class or its bases define reads `training`."""
    methods = [
        method
        for base in kind.__mro__
        if base not in (nn.Module, object)
        for name, method in vars(base).items()
        if isinstance(method, FunctionType) and name not in ("train", "eval")
    ]
    return any("training" in method.__code__.co_names for method in methods)


def _check_output(output: object) -> None:
    if not isinstance(output, Tensor):
        raise ExportError(f"the network gives a {type(output).__name__}; one tensor is needed, the logits [N, K].")
    if output.dtype != torch.float32:
        raise ExportError(f"the network gives {output.dtype}; logits in float32 are needed.")


def _traced(probe: Probe, example: Tensor) -> ir.Model:
    probe.replace_layers(_node)
    if probe.takes_timesteps:
        probe.network.forward = functools.partial(probe.network.forward, **{TIMESTEPS: 1})
    try:
        model = _program(probe.network, (example,), ["input"])
    except Exception as error:
        raise ExportError(_not_captured(probe.name(raised_in(error, probe.network)), error)) from error
    give_each_module_one_path(model.graph, probe.network)
    name_after_modules(model.graph)
    return model


def _program(module: nn.Module, inputs: tuple[Tensor, ...], names: Sequence[str]) -> ir.Model:
    """A module traced on these inputs, with the shapes of all its values."""
    with _quiet(), torch.no_grad():
        exported = torch.export.export(module, inputs, strict=False)
        program = torch.onnx.export(
            exported, (), dynamo=True, opset_version=OPSET, optimize=False, verbose=False, input_names=names
        )
        if program is None:
            raise RuntimeError("the tracer returned nothing")
        model: ir.Model = program.model
        ShapeInferencePass()(model)
    return model


def _not_captured(where: str, error: Exception) -> str:
    what = reason(error)
    if "data-dependent" in what:
        what = "it branches on the values of a tensor, which a graph cannot; use torch.where"
    return f"{where} cannot be captured as a static graph: {what}"


def _node(path: str) -> Callable[[Tensor], Tensor]:
    """What a LIF layer does while the network is captured."""

    def forward(x: Tensor) -> Tensor:
        return torch.onnx.ops.symbolic(
            f"{LIF_DOMAIN}::{LIF_OPERATOR}", (x,), {PATH: path}, dtype=x.dtype, shape=x.shape, version=1
        )

    return forward


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the tracer's own warnings and log lines from the user: what matters comes back as an error."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
