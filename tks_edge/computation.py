"""A network made ready to be trained as `ComputeSettings` say: its weights, their names and its results stay."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from tks_edge.distributed.processes import Processes
from tks_edge.distributed.sync_batch_norm import synchronise
from tks_edge.recomputation import recompute
from tks_edge.settings import TrainSettings
from tks_edge.settings.compute import ComputeSettings
from tks_edge_models import LIF, ModelError, Network
from tks_edge_models.activations import compact_activations
from tks_edge_models.lif_compiled import exact_options
from tks_edge_models.lif_kernels import Choice, choose_kernel, problem, select_kernel
from tks_edge_runtime.errors import CheckError, InputError, MissingError


def check_compute(compute: ComputeSettings, processes: Processes) -> None:
    """Refuse what this machine cannot do, before anything is written.

    Raises:
        MissingError: there is no compiler for torch.compile.
    """
    compiler = os.environ.get("CXX", "g++")
    if compute.compile and processes.is_first and shutil.which(compiler) is None:
        raise MissingError(
            f"--compile needs a C++ compiler, and there is no {compiler} here. Install it (apt-get install g++), name "
            f"another in CXX, or leave --compile out."
        )


def check_shared(compute: ComputeSettings, world: int) -> None:
    """Refuse options of several processes for a training that begins in one.

    Raises:
        InputError: an option would have no effect.
    """
    asked = ["--strategy fsdp"] * (compute.strategy == "fsdp") + ["--sync-batchnorm"] * compute.sync_batchnorm
    if asked and world == 1:
        raise InputError(
            f"{' and '.join(asked)} {'is' if len(asked) == 1 else 'are'} for several processes, and this is one. Start "
            f"them with torchrun --nproc-per-node 8 -m tks_edge train ..., or leave it out."
        )


def choose_neurons(settings: TrainSettings, device: torch.device, begun_with: str | None) -> Choice | None:
    """Choose what computes the neurons in training; None where there is nothing to choose.

    Args:
        settings: of the run.
        device: where it computes.
        begun_with: the kernel that a resumed run began with: with another one its last bits would be others.

    Raises:
        MissingError: the kernel that was asked for cannot run here.
    """
    if settings.neuron == "relu" or settings.compute.compile:
        return None
    if begun_with is not None:
        missing = problem(begun_with, device)
        if missing is not None:
            raise MissingError(
                f"the LIF kernel {begun_with!r}, with which the run began, cannot be used: {missing} "
                "Resume it where it began, or train anew with --lif-kernel torch."
            )
        return Choice(begun_with, "the run began with it")
    try:
        return choose_kernel(settings.compute.lif_kernel, device)
    except ModelError as error:
        raise MissingError(str(error)) from error


def keeping_less(network: Network, compute: ComputeSettings) -> contextlib.AbstractContextManager[None]:
    """Within this block the forward pass keeps as much as `compute.checkpoint` says."""
    return compact_activations(network) if compute.checkpoint == "compact" else contextlib.nullcontext()


def prepare(
    network: Network, compute: ComputeSettings, processes: Processes, device: torch.device, kernel: Choice | None
) -> nn.Module:
    """What is trained in place of `network`, with its weights; `network` itself stays what is evaluated and saved.

    Args:
        network: changed in place.
        compute: how it is computed.
        processes: who trains.
        device: where.
        kernel: what computes the neurons.
    """
    if kernel is not None:
        select_kernel(network, kernel.name, device, recompute=compute.checkpoint == "compact")
    if compute.precision == "bf16":
        _keep_membranes(network)
    if compute.channels_last:
        network.to(memory_format=torch.channels_last)
    if compute.sync_batchnorm and processes.world > 1:
        synchronise(network, device)
    if compute.checkpoint == "blocks":
        recompute(network.body)
    if not compute.compile:
        return network
    # For one shape at a time: T is unrolled, so each T is a program of its own.
    compiled: Any = torch.compile(network, dynamic=False, options=exact_options())
    return cast(nn.Module, compiled)


@contextlib.contextmanager
def compiling(compute: ComputeSettings, network: Network, timesteps: int) -> Iterator[None]:
    """Within this block torch.compile makes at most a program a layer and T, and fails rather than run uncompiled.

    Raises:
        CheckError: the network cannot be compiled.
    """
    if not compute.compile:
        yield
        return
    import torch._dynamo

    programs = sum(1 for _ in network.modules()) * 2 * timesteps  # forward and backward; most networks need one a T
    limits: dict[str, Any] = {"recompile_limit": programs, "accumulated_recompile_limit": programs}
    try:
        with torch._dynamo.config.patch(**limits, fail_on_recompile_limit_hit=True):
            yield
    except (torch._dynamo.exc.TorchDynamoException, torch._dynamo.exc.FailOnRecompileLimitHit) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise CheckError(f"torch.compile fails here: {reason}. Leave --compile out.") from error


def _keep_membranes(network: nn.Module) -> None:
    """Let LIF layers compute in float32 within an autocast to bfloat16, and hand on spikes in bfloat16.

    A membrane is a sum over time that is compared with a threshold, and bfloat16 has three digits; a spike is exact.
    """
    for module in network.modules():
        if isinstance(module, LIF):
            module.register_forward_pre_hook(_in_float32)
            module.register_forward_hook(_in_autocast)


def _in_float32(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:  # noqa: ARG001 - a hook's signature
    return (arguments[0].float(), *arguments[1:])


def _in_autocast(module: nn.Module, arguments: tuple[Any, ...], spikes: Tensor) -> Tensor:  # noqa: ARG001 - likewise
    kind = spikes.device.type
    return spikes.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else spikes
