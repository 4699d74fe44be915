"""One timestep of a network as an ONNX graph in which each LIF layer is one opaque node.

The node `tks_edge::LIF(x) -> spikes` carries the module path of its layer; what it computes is decided later, when
`unroll` lays out the timesteps. So a network is captured once, whatever T it is shipped at, and everything that does
not depend on time stays visible as such.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import onnx_ir as ir
import torch
from torch import Tensor, nn

from tks_edge_export.errors import ExportError
from tks_edge_models import LIF, LIFParameters

OPSET = 18
LIF_DOMAIN = "tks_edge"
LIF_OPERATOR = "LIF"
PATH = "path"
"""The attribute of a LIF node that holds its layer's module path."""


@dataclass(frozen=True)
class Capture:
    """One timestep of a network.

    Attributes:
        model: graph from `input` (one batch of images or of frames, `[N, ...]`) to the logits of that step.
        neurons: the constants of every LIF layer, by module path, in the order of execution.
    """

    model: ir.Model
    neurons: dict[str, LIFParameters]


class _LIFNode(nn.Module):
    """Stands in for a LIF layer while the network is captured."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, x: Tensor) -> Tensor:
        return torch.onnx.ops.symbolic(
            f"{LIF_DOMAIN}::{LIF_OPERATOR}", (x,), {PATH: self.path}, dtype=x.dtype, shape=x.shape, version=1
        )


def capture(module: nn.Module, example: Tensor) -> Capture:
    """Capture one timestep of `module`.

    Args:
        module: a network whose only state is in LIF layers; it is not changed.
        example: one batch of its input, as it will be fed on the device: shapes become static.

    Raises:
        ExportError: the module cannot be traced, or runs one LIF layer several times.
    """
    prepared = copy.deepcopy(module).cpu().eval()
    parameters = {}
    for path, layer in list(prepared.named_modules()):
        if isinstance(layer, LIF):
            parameters[path] = layer.params
            prepared.set_submodule(path, _LIFNode(path))
    model = _traced(prepared, example)
    neurons: dict[str, LIFParameters] = {}
    for node in model.graph:
        if is_lif(node):
            path = node.attributes[PATH].as_string()
            if path in neurons:
                raise ExportError(
                    f"the LIF layer {path!r} runs more than once a timestep, so its state is ambiguous; "
                    "use one layer for each place."
                )
            neurons[path] = parameters[path]
    return Capture(model, neurons)


def is_lif(node: ir.Node) -> bool:
    """Whether `node` is a LIF layer."""
    return node.domain == LIF_DOMAIN and node.op_type == LIF_OPERATOR


def _traced(module: nn.Module, example: Tensor) -> ir.Model:
    try:
        with _quiet():
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                optimize=False,
                verbose=False,
                input_names=["input"],
            )
    except Exception as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise ExportError(f"the network cannot be captured as a static graph: {reason}") from error
    if program is None:
        raise ExportError("the network cannot be captured as a static graph: the tracer returned nothing.")
    model: ir.Model = program.model
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the tracer's own warnings and log lines from the user: what matters comes back as an error."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
