"""From a module to its graph: captured once, rewritten, laid out at T, rewritten again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from torch import Tensor, nn

from tks_edge_export.calibrate import Wanted, calibrate
from tks_edge_export.capture import Capture, capture, is_lif
from tks_edge_export.codes import Calibration, Code
from tks_edge_export.coverage import coverage, read_elsewhere
from tks_edge_export.dependence import neurons_behind, neurons_reached
from tks_edge_export.errors import ExportError
from tks_edge_export.layers import Layer, Place, reached, weighted_layers
from tks_edge_export.one_timestep import check_timesteps
from tks_edge_export.options import Options
from tks_edge_export.passes import (
    CLEAN_UP,
    FOR_ONNXRUNTIME,
    LAID_OUT,
    LAYOUT,
    ONE_STEP,
    ROUNDING,
    apply,
    check_skipped,
    of_plugins,
)
from tks_edge_export.passes.channel_units import receivers, thresholds
from tks_edge_export.passes.encode_int8 import EncodeInt8
from tks_edge_export.passes.to_fp16 import ToFp16
from tks_edge_export.provenance import layer_path, module_path
from tks_edge_export.quantization import RoundedLayer, as_module, fits, quantize_weights
from tks_edge_export.reference import (
    CODED_VALUES,
    FLOAT16,
    FLOAT32,
    Reference,
    holds_weights,
    reference_network,
)
from tks_edge_export.unroll import logits_shape, unroll

Batches = Iterable[npt.NDArray[Any]]
_HANDED_ON = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Relu"})
"""Operators that give every value as they get it, or cut it off at 0."""


@dataclass(frozen=True)
class Compiled:
    """A graph, and what is to be known of it.

    Attributes:
        model: the graph.
        passes: the names of those that made it.
        reference: the network that it must equal.
        calibration: what was found on samples.
        kept_float: the names of layers that int8 leaves in float, besides the first layer and the classifier.
        layers: the paths of the layers that multiply; the names of their nodes begin with them.
    """

    model: ir.Model
    passes: tuple[str, ...]
    reference: Reference
    calibration: Calibration
    kept_float: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()


class Compiler:
    """Lowers one network, captured once, as often as it is asked to.

    Args:
        module: a network built of LIF layers and stateless ones, from `[N, ...]` to logits `[N, K]` or `[1, N, K]`.
        example: one batch of one timestep's input, in the dtype that the device will feed.

    Attributes:
        classes: K, how many logits the network gives.

    Raises:
        ExportError: the module cannot be captured.
    """

    def __init__(self, module: nn.Module, example: Tensor) -> None:
        self._module = module
        self._example = example
        self._checked: set[int] = set()
        self._captured = capture(module, example)
        self._shared = read_elsewhere(module, self._captured.model.graph)
        _, self.classes = logits_shape(self._captured.model.graph)
        self._layers = tuple(dict.fromkeys(filter(None, map(layer_path, self._captured.model.graph))))

    def compile(self, options: Options, calibration: Calibration | Batches | None = None) -> Compiled:
        """Lower the network; the graph goes from `input` to `logits`, `[N, K]`.

        Args:
            options: what is asked for.
            calibration: what an earlier compilation found on samples, or batches of them; needed only where int8 has to
                round what is no spike.

        Raises:
            ExportError: the network cannot be lowered so.
            InputError: a pass that is to be skipped or added does not exist.
            PluginError: a plugin's pass cannot be used.
        """
        check_skipped(options)
        if not self._captured.is_spiking and (options.timesteps != 1 or options.form == "step"):
            raise ExportError(
                f"timesteps is {options.timesteps} and the form {options.form}, but the network has no LIF layer: it "
                "runs one pass. Use one timestep and the form static."
            )
        if options.timesteps not in self._checked:
            check_timesteps(self._module, self._example, options.timesteps)
            self._checked.add(options.timesteps)
        captured = self._captured.clone()
        if captured.traced and options.membrane == "fp16":
            raise ExportError(
                f"membrane is fp16, but the neurons of {next(iter(captured.traced))!r} are traced in float32. Use fp32."
            )
        passes = [*apply(captured, (*ONE_STEP, *of_plugins(options)), options.skip)]
        reference, found = Reference(self._module), Calibration()
        kept: tuple[str, ...] = ()
        if options.precision == "int8":
            reference, found, kept = self._quantize(captured, options, calibration)
            passes += ["quantize_weights", *(name for name in ROUNDING if captured.thresholds)]
        if options.precision == "fp16":
            reference = self._halved(captured)
            passes.append("to_fp16")
        codes = {path: Code.of_membrane(captured.neurons[path].v_threshold, zero) for path, zero in found.zeros.items()}
        laid_out = dataclasses.replace(captured, model=unroll(captured, options, codes))
        passes += ["unroll", *(name for name in LAYOUT if name not in options.skip)]
        passes += apply(laid_out, LAID_OUT, options.skip)
        if options.precision == "int8":
            EncodeInt8(options.lowering, found)(laid_out.model)
            passes.append("encode_int8")
        if options.fuses_hard_sigmoid:
            passes += apply(laid_out, FOR_ONNXRUNTIME, options.skip)
        passes += apply(laid_out, CLEAN_UP, options.skip)
        return Compiled(laid_out.model, tuple(passes), reference, found, kept, self._layers)

    def _quantize(
        self, captured: Capture, options: Options, calibration: Calibration | Batches | None
    ) -> tuple[Reference, Calibration, tuple[str, ...]]:
        """Round the weights of one captured timestep, in place; returns the network that has them, and what has not."""
        graph = captured.model.graph
        covered = coverage(self._module, graph, options, self._shared)
        layers = covered.layers
        wanted = _wanted(self._module, captured, layers, options)
        found = self._calibrated(wanted, options, calibration)
        in_units = _in_units(captured, layers, options)
        rounded = quantize_weights(graph, layers, found, options.lowering, in_units=in_units)
        captured.thresholds.update(_thresholds(captured, layers, rounded, in_units))
        network = reference_network(self._module, rounded, captured.neurons, found, wanted.outputs, captured.thresholds)
        behind = neurons_behind(graph, [layer.path for layer in rounded if layer.exact])
        exact = (behind & captured.neurons.keys()) - found.zeros.keys()
        rounding = CODED_VALUES if found.inputs or found.currents else FLOAT32
        return Reference(network, rounding, exact), found, covered.kept_float

    def _halved(self, captured: Capture) -> Reference:
        """Change one captured timestep to half precision, in place; returns the network with its weights rounded."""
        layers = [layer for layer in weighted_layers(captured.model.graph) if holds_weights(self._module, layer.path)]
        ToFp16()(captured.model)
        # With a norm folded into it, a weight is no longer the one that something else computes with.
        rounded = [as_module(layer) for layer in layers if not (layer.norms and layer.path in self._shared)]
        return Reference(reference_network(self._module, rounded, captured.neurons, Calibration()), FLOAT16)

    def _calibrated(self, wanted: Wanted, options: Options, calibration: Calibration | Batches | None) -> Calibration:
        if not wanted:
            return Calibration()
        if isinstance(calibration, Calibration):
            return calibration
        if calibration is None:
            what = [*wanted.inputs, *wanted.outputs, *wanted.neurons][0]
            raise ExportError(
                f"int8 for the target {options.target} rounds values at {what} whose range depends on the data. "
                "Hand in samples to calibrate with."
            )
        return calibrate(self._module, calibration, options.timesteps, wanted, frames=options.frames)


def _in_units(captured: Capture, layers: Sequence[Layer], options: Options) -> dict[str, str]:
    """The LIF layers whose channels get units of their own, by the path of the layer that they read."""
    # Where membranes are codes, these are in units of the threshold already.
    if options.codes_currents or not set(ROUNDING).isdisjoint(options.skip):
        return {}
    return receivers(layers, captured.neurons)


def _thresholds(
    captured: Capture, layers: Sequence[Layer], rounded: Sequence[RoundedLayer], in_units: Mapping[str, str]
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """The thresholds of the channels of those LIF layers."""
    for layer, made in zip(layers, rounded, strict=True):
        if made.units is not None:
            path = in_units[layer.path]
            yield path, thresholds(layer, made.units, captured.neurons[path])


def _wanted(module: nn.Module, captured: Capture, layers: Sequence[Layer], options: Options) -> Wanted:
    """Where int8 rounds what is no spike."""
    dtype = options.lowering.spikes
    inputs = list(dict.fromkeys(layer.path for layer in layers if not fits(layer.grid, dtype)))
    if not options.codes_currents:
        return Wanted(inputs, {}, {}, signed=dtype == "int8")
    coded = neurons_behind(captured.model.graph, [layer.path for layer in layers]) & captured.neurons.keys()
    in_float = {layer.path for layer in layers if not neurons_reached(layer.output) <= coded}
    made, paths = [*map(module_path, captured.model.graph)], [layer.path for layer in layers]
    outputs = {
        layer.path: _giver(module, made, layer, alone=paths.count(layer.path) == 1)
        for layer in layers
        if layer.place is not Place.CLASSIFIER and layer.path not in in_float and not all(map(is_lif, _readers(layer)))
    }
    neurons = {path: params for path, params in captured.neurons.items() if path in coded}
    return Wanted(inputs, outputs, neurons, signed=False)


def _users(layer: Layer) -> list[ir.Node]:
    return [use.node for use in layer.output.uses()]


def _readers(layer: Layer) -> list[ir.Node]:
    """What computes with a layer's output; a neuron there rounds it to its own codes, so that two roundings do harm."""
    users = _users(layer)
    behind = reached(users, lambda node: node.successors() if node.op_type in _HANDED_ON else ())
    return [node for node in {*users, *behind} if node.op_type not in _HANDED_ON]


def _giver(module: nn.Module, made: Sequence[str | None], layer: Layer, *, alone: bool) -> str:
    """The module whose output is held in 8 bits: the ReLU that is part of the layer, its norm, or the layer itself.

    Args:
        module: the network.
        made: which module made each node of one timestep.
        layer: of it.
        alone: whether its module runs once.
    """
    users = _users(layer)
    relu = module_path(users[0]) if [user.op_type for user in users] == ["Relu"] else None
    # A function or a module that runs several times is no part of this layer; it lets the codes pass as they are.
    if relu and alone and isinstance(module.get_submodule(relu), nn.ReLU) and made.count(relu) == 1:
        return relu
    return layer.norms[-1] if layer.norms else layer.path
