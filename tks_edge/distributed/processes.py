"""The processes that train together: what one of them does for all, and what they agree on.

Every method is called by all of them at the same point of the program. With one process nothing is communicated.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
import torch.distributed
from lightning_fabric import Fabric
from torch import Tensor, nn

from tks_edge.distributed.launch import Launch
from tks_edge_runtime.errors import CheckError, InputError, TksEdgeError

_Result = TypeVar("_Result")


class LostProcessError(CheckError):
    """Another process of the training has ended, and this one cannot go on alone."""


class Processes:
    """The processes of one training, which compute on `fabric`.

    Args:
        fabric: launched.
        launch: this process among them.
    """

    def __init__(self, fabric: Fabric, launch: Launch) -> None:
        self._fabric = fabric
        self._launch = launch
        self.world = launch.world
        self.is_first = launch.is_first
        self.shard = (launch.rank, launch.world)
        """Which of them this is, and how many there are."""

    def once(self, action: Callable[[], _Result]) -> _Result:
        """Let the first process do something, and give what came of it, result or TksEdgeError, to all."""
        result: _Result | TksEdgeError | None = None
        if self.is_first:
            try:
                result = action()
            except TksEdgeError as error:
                if self.world == 1:
                    raise
                result = error
        if self.world > 1:
            with self.together():
                result = self._fabric.broadcast(result)
        if isinstance(result, TksEdgeError):
            raise result
        return result  # type: ignore[return-value]

    def one_a_machine_first(self, action: Callable[[], _Result]) -> _Result:
        """Let one process of each machine do something before its others, which then find it done."""
        if self._launch.local_rank == 0:
            try:
                return action()
            finally:
                self.wait()
        self.wait()
        return action()

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.world > 1:
            with self.together():
                self._fabric.barrier()

    def summed(self, values: Tensor) -> Callable[[], list[float]]:
        """Begin to sum float64 `values` over all processes; what is returned waits for the sums.

        In between, the caller goes on: a sum that is asked for before the backward pass costs nothing after it.
        """
        if self.world == 1:
            return values.tolist
        with self.together():
            work = torch.distributed.all_reduce(values, async_op=True)

        def wait() -> list[float]:
            with self.together():
                work.wait()
                return values.tolist()

        return wait

    def take_buffers_of_first(self, network: nn.Module) -> None:
        """Give the buffers of the first process (statistics of batch norm), which are what is saved, to all."""
        if self.world == 1:
            return
        with self.together(), torch.no_grad():
            for buffer in network.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def summing_locally(self, model: Any, *, enabled: bool) -> contextlib.AbstractContextManager[Any]:
        """While `enabled`, gradients of `model` add up in each process and are not shared yet."""
        if self.world == 1:
            return contextlib.nullcontext()
        return self._fabric.no_backward_sync(model, enabled=enabled)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Turn the failure of a communication within the block into a LostProcessError."""
        try:
            yield
        except RuntimeError as error:
            if self.world == 1 or not _is_communication(error):
                raise
            raise LostProcessError("another process of this training has ended") from error

    def check_batch(self, batch_size: int, samples: int, parts: int) -> None:
        """Refuse a batch that the processes cannot share evenly.

        Raises:
            InputError: some would get more samples than others.
        """
        batch, shares = min(batch_size, samples), self.world * parts
        if batch % shares == 0:
            return
        which = f"{self.world} processes" + (f" with --accumulate {parts}" if parts > 1 else "")
        if self.world == 1:
            which = f"--accumulate {parts}"
        raise InputError(
            f"a batch of {batch} samples does not divide evenly among {which}. Choose a --batch-size that is a "
            f"multiple of {shares}, and at most the {samples} samples of the training split."
        )


def _is_communication(error: RuntimeError) -> bool:
    """Whether it comes from torch.distributed; Gloo's errors have no class of their own."""
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error).lower()
