"""Which devices torch computes on, and Lightning Fabric on them."""

from __future__ import annotations

import atexit
import inspect
import logging
import warnings
from typing import TYPE_CHECKING, Any

import torch

from tks_edge.distributed.launch import Launch
from tks_edge.settings.compute import ComputeSettings
from tks_edge_runtime.errors import MissingError, unknown

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.strategy import Strategy
    from torch import nn
    from torch.distributed.device_mesh import DeviceMesh

DEVICES = ("auto", "cpu", "cuda")


def choose_device(name: str) -> str:
    """The device that `name` stands for, "cpu" or "cuda"; "auto" is CUDA where there is one.

    Raises:
        InputError: an unknown name.
        MissingError: CUDA was asked for and there is none.
    """
    if name not in DEVICES:
        raise unknown("device", name, DEVICES)
    if name == "cuda" and not torch.cuda.is_available():
        raise MissingError("this machine has no CUDA device, or torch was built without CUDA. Use --device cpu.")
    return "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"


def launch_fabric(device: str, compute: ComputeSettings, launch: Launch) -> Fabric:
    """Fabric on `device`, connected to the other processes of `launch`: by NCCL on CUDA, by Gloo on CPUs.

    Raises:
        InputError: as `choose_device`.
        MissingError: there are fewer devices than processes, or none that computes in bfloat16.
    """
    from lightning_fabric import Fabric

    accelerator = choose_device(device)
    if accelerator == "cuda":
        _check_cuda(compute, launch)
    # The last looks for CUDA when torch.compile first builds something, and says on every CPU that there is none.
    for name in ("lightning_fabric", "lightning.fabric", "torch.utils.cpp_extension"):
        logging.getLogger(name).setLevel(logging.ERROR)
    fabric = Fabric(
        accelerator=accelerator,
        devices=launch.local_world,
        num_nodes=launch.machines,
        strategy=_strategy(compute.strategy, launch.world) if launch.world > 1 else "auto",
        precision="bf16-mixed" if compute.precision == "bf16" else "32-true",
    )
    if launch.world > 1:
        _connect(launch, accelerator)
        fabric.launch()
    return fabric


def _connect(launch: Launch, accelerator: str) -> None:
    """Connect the processes of this attempt, where Fabric would look for those of an earlier one."""
    from torch import distributed

    if distributed.is_initialized() or (store := launch.meet()) is None:
        return
    backend = "nccl" if accelerator == "cuda" else "gloo"
    own = torch.device("cuda", launch.local_rank) if accelerator == "cuda" else None
    distributed.init_process_group(backend, store=store, rank=launch.rank, world_size=launch.world, device_id=own)
    atexit.register(_disconnect)


def _disconnect() -> None:
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()


def _check_cuda(compute: ComputeSettings, launch: Launch) -> None:
    if (devices := torch.cuda.device_count()) < launch.local_world:
        raise MissingError(
            f"{launch.local_world} processes on this machine need a CUDA device each, and it has {devices}. Start "
            f"torchrun with --nproc-per-node {devices}."
        )
    if compute.precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise MissingError("this CUDA device does not compute in bfloat16. Use --precision 32.")


def _strategy(name: str, world: int) -> Strategy:
    from lightning_fabric.strategies.ddp import DDPStrategy
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

    if name == "fsdp":
        return ModelParallelStrategy(parallelize_fn=_sharded, data_parallel_size=world, tensor_parallel_size=1)
    # Statistics of batch norm do not enter a training pass: they are shared before they are used, not at every step.
    known = inspect.signature(torch.nn.parallel.DistributedDataParallel).parameters
    option: dict[str, Any] = {"broadcast_buffers": False}
    if "forward_sync_buffers" in known:  # its newer name
        option = {"forward_sync_buffers": False}
    return DDPStrategy(**option)


def _sharded(network: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Shard the weights of `network`, one group a block of its body."""
    from torch.distributed.fsdp import fully_shard

    # It warns of operations in place on what a block returns; there are none in our networks and losses.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
    for block in network.get_submodule("body").children():
        if any(True for _ in block.parameters()):
            fully_shard(block, mesh=mesh["data_parallel"])
    fully_shard(network, mesh=mesh["data_parallel"])
    return network
