"""A spiking network of two LIF layers, written twice with the onnx package: unrolled at T, and as one timestep.

Pixels are divided by 256 and weights are multiples of 1/64, so that every matrix product is exact in float32, in
whatever order a library sums it: the two graphs, and NumPy, have to agree to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from tks_edge_runtime.artifact import NEURON, LayerSpec, StateSpec

Array = npt.NDArray[Any]
SAMPLE = (1, 8, 8)
LAYERS = ("body.0", "body.1")
LAYER_SPECS = tuple(LayerSpec(path, NEURON, fire_rate=0.5) for path in LAYERS)
"""What a manifest may say of them; their matrix products have names like theirs."""
DECAY, THRESHOLD = np.float32(0.5), np.float32(0.5)


@dataclass(frozen=True)
class SpikingNetwork:
    """The weights of the two LIF layers (hard reset to 0, then soft reset) and of the readout."""

    weights: tuple[Array, Array, Array]

    @classmethod
    def random(cls, seed: int, hidden: int = 16, classes: int = 4) -> SpikingNetwork:
        """Draw weights with which either layer fires in some steps and not in others."""
        generator = np.random.default_rng(seed)
        first, second, last = (
            (generator.integers(-8, 10, shape) * scale).astype(np.float32)
            for shape, scale in (
                ((int(np.prod(SAMPLE)), hidden), np.float32(1 / 64)),
                ((hidden, hidden), np.float32(1 / 16)),
                ((hidden, classes), np.float32(1 / 8)),
            )
        )
        return cls((first, second, last))

    def logits(self, frames: Sequence[Array]) -> Array:
        """The logits `[T, N, K]` of a sequence of frames, by NumPy."""
        first, second, last = self.weights
        v1, v2 = (np.zeros((len(frames[0]), weights.shape[1]), np.float32) for weights in (first, second))
        found = []
        for frame in frames:
            pixels = frame.reshape(len(frame), -1).astype(np.float32) * np.float32(1 / 256)
            h1 = v1 * DECAY + pixels @ first
            s1 = (h1 >= THRESHOLD).astype(np.float32)
            h2 = v2 * DECAY + s1 @ second
            s2 = (h2 >= THRESHOLD).astype(np.float32)
            v1, v2 = h1 * (1 - s1), h2 - s2 * THRESHOLD
            found.append(s2 @ last)
        return np.stack(found)

    def states(self, batch: int) -> tuple[StateSpec, ...]:
        """What a manifest says about the states of the step form."""
        shapes = [(batch, weights.shape[1]) for weights in self.weights[:2]]
        return tuple(
            StateSpec(name, f"state.{name}", f"state.{name}.out", shape, "float32")
            for name, shape in zip(LAYERS, shapes, strict=True)
        )

    def step_graph(self, batch: int, metadata: dict[str, str], dtype: str = "uint8") -> onnx.ModelProto:
        """One timestep, with states as inputs and outputs."""
        writer = _Writer(self)
        current = writer.pixels()
        for state in self.states(batch):
            current = writer.layer(state.name, current, state.input, state.output)
        writer.nodes.append(helper.make_node("MatMul", [current, "readout"], ["logits"]))
        states = [(state.input, state.output, state.shape) for state in self.states(batch)]
        inputs = [(name, TensorProto.FLOAT, shape) for name, _, shape in states]
        outputs = [(name, TensorProto.FLOAT, shape) for _, name, shape in states]
        return writer.model(batch, dtype, metadata, inputs, outputs)

    def static_graph(self, batch: int, timesteps: int, metadata: dict[str, str]) -> onnx.ModelProto:
        """All timesteps: the first without decay, the mean of the logits as readout."""
        writer = _Writer(self)
        pixels = writer.pixels()
        membranes: dict[str, str | None] = dict.fromkeys(LAYERS)
        for t in range(timesteps):
            current = pixels
            for name in LAYERS:
                membrane, membranes[name] = membranes[name], f"{name}.v{t}"
                current = writer.layer(name, current, membrane, f"{name}.v{t}", f".t{t}")
            writer.nodes.append(helper.make_node("MatMul", [current, "readout"], [f"logits.t{t}"]))
            writer.nodes.append(helper.make_node("Unsqueeze", [f"logits.t{t}", "first"], [f"row.t{t}"]))
        rows = [f"row.t{t}" for t in range(timesteps)]
        writer.nodes.append(helper.make_node("Concat", rows, ["steps"], axis=0))
        writer.nodes.append(helper.make_node("ReduceMean", ["steps", "first"], ["logits"], keepdims=0))
        return writer.model(batch, "uint8", metadata, [], [])


class _Writer:
    """Collects nodes."""

    def __init__(self, network: SpikingNetwork) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._classes = network.weights[2].shape[1]
        self._constants = {
            **{f"{name}.weight": weights for name, weights in zip(LAYERS, network.weights[:2], strict=True)},
            "readout": network.weights[2],
            "scale": np.float32(1 / 256),
            "decay": DECAY,
            "threshold": THRESHOLD,
            "first": np.array([0]),
        }

    def _add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def pixels(self) -> str:
        cast = self._add("Cast", ["input"], "pixels", to=TensorProto.FLOAT)
        return self._add("Flatten", [self._add("Mul", [cast, "scale"], "scaled")], "flat", axis=1)

    def layer(self, name: str, current: str, before: str | None, after: str, at: str = "") -> str:
        """One matrix product and one LIF step; returns the name of the spikes."""
        charge = self._add("MatMul", [current, f"{name}.weight"], f"{name}.x{at}")
        if before is not None:
            charge = self._add(
                "Add", [self._add("Mul", [before, "decay"], f"{name}.kept{at}"), charge], f"{name}.h{at}"
            )
        rests = self._add("Less", [charge, "threshold"], f"{name}.rests{at}")
        spikes = self._add("Cast", [self._add("Not", [rests], f"{name}.fires{at}")], f"{name}.s{at}", to=1)
        if name == LAYERS[0]:
            self._add("Mul", [charge, self._add("Cast", [rests], f"{name}.stays{at}", to=1)], after)
        else:
            self._add("Sub", [charge, self._add("Mul", [spikes, "threshold"], f"{name}.jump{at}")], after)
        return spikes

    def model(
        self, batch: int, dtype: str, metadata: dict[str, str], inputs: Sequence[Any], outputs: Sequence[Any]
    ) -> onnx.ModelProto:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        starts = [("input", kind, [batch, *SAMPLE]), *inputs]
        ends = [("logits", TensorProto.FLOAT, [batch, self._classes]), *outputs]
        tensors = [numpy_helper.from_array(value, name) for name, value in self._constants.items()]
        given, results = ([helper.make_tensor_value_info(*value) for value in values] for values in (starts, ends))
        graph = helper.make_graph(self.nodes, "spiking", given, results, tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model)
        return onnx.shape_inference.infer_shapes(model)
