"""What a graph is lowered for: the engine that will run it decides between forms that compute the same."""

from __future__ import annotations

from dataclasses import dataclass

from tks_edge_runtime.errors import unknown

OPSET, IR_VERSION = 18, 10
"""Of every graph: what the oldest engines that are supported read, and what the tables in `operators/` are about."""


@dataclass(frozen=True)
class Target:
    """The forms that one engine runs fastest, or runs at all.

    Attributes:
        name: as in `--target`.
        spikes: NumPy dtype name of spikes in int8 graphs. TensorRT knows int8 alone; OpenVINO and ONNX Runtime multiply
            unsigned activations faster on x86-64.
        codes_currents: whether int8 graphs hold membranes as 8-bit codes. ONNX Runtime on a CPU has no fast integer
            convolution with a float output.
        pools_codes: whether max-pooling of spikes is faster in 8 bits.
        fuses_hard_sigmoid: whether a threshold in the form of HardSigmoid runs inside the convolution before it.
    """

    name: str
    spikes: str = "int8"
    codes_currents: bool = False
    pools_codes: bool = False
    fuses_hard_sigmoid: bool = False


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("generic"),
        Target("onnxruntime-cpu", spikes="uint8", codes_currents=True, fuses_hard_sigmoid=True),
        Target("openvino", spikes="uint8", pools_codes=True),
        Target("tensorrt"),
    )
}
"""By name. `generic` is the default: it runs everywhere, with what TensorRT 10.3's ONNX parser knows."""


def find_target(name: str) -> Target:
    """Look up a target; InputError with the closest name for one that does not exist."""
    if name not in TARGETS:
        raise unknown("target", name, TARGETS)
    return TARGETS[name]
