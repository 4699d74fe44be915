"""How a training computes: what trades rounding, memory and time, and how several processes share the work."""

from __future__ import annotations

from dataclasses import dataclass

from tks_edge.settings.ranges import check_range
from tks_edge_runtime.errors import InputError, unknown

PRECISIONS = ("32", "bf16")
STRATEGIES = ("ddp", "fsdp")
CHECKPOINTS = ("none", "compact", "blocks")
LIF_KERNELS = ("auto", "torch", "compiled", "triton")


@dataclass(frozen=True)
class ComputeSettings:
    """How a training computes; the defaults are plain float32 in one pass.

    Attributes:
        precision: "32", or "bf16": matrix products and convolutions in bfloat16, weights and membranes in float32.
            Evaluation and export are in float32 either way.
        channels_last: whether convolutions run over `[N, H, W, C]` in memory.
        compile: whether torch.compile makes the training pass.
        accumulate: parts that each batch is computed in, one after the other; batch norm sees a part at a time.
        checkpoint: what the backward pass computes again instead of keeping it: "none"; "compact", the currents of the
            neurons, while spikes are kept as bytes; or "blocks", all activations within each block.
        lif_kernel: what computes the neurons; "auto" takes what is fastest on the device.
        sync_batchnorm: whether batch norm sees the batch of all processes, not of its own alone.
        strategy: what several processes share: "ddp", the batch, or "fsdp", the weights and the optimizer's state too.
    """

    precision: str = "32"
    channels_last: bool = False
    compile: bool = False
    accumulate: int = 1
    checkpoint: str = "none"
    lif_kernel: str = "auto"
    sync_batchnorm: bool = False
    strategy: str = "ddp"

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        if self.lif_kernel not in LIF_KERNELS:
            raise unknown("LIF kernel", self.lif_kernel, LIF_KERNELS)
        if self.strategy not in STRATEGIES:
            raise unknown("strategy", self.strategy, STRATEGIES)
        if self.checkpoint not in CHECKPOINTS:
            raise unknown("checkpoint", self.checkpoint, CHECKPOINTS)
        check_range("accumulate", self.accumulate, 1)
        if self.compile and self.checkpoint != "none":
            raise InputError(
                "--compile chooses by itself what the backward pass computes again, and so does --checkpoint. Give one "
                "of them."
            )
        if self.channels_last and self.strategy == "fsdp":
            raise InputError("--strategy fsdp cuts weights in their usual order in memory. Leave --channels-last out.")
