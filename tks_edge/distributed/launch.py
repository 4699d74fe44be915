"""What torchrun says about this process, and what the processes of one job tell each other through its store.

    rank, world                     this process, and how many there are on all machines together
    local_rank, local_world         the same on this machine

An attempt is one start of the job: torchrun starts it anew after a failure, or when machines join it, and keeps its
store.

Importing it does not import torch: the command line does so.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tks_edge.distributed.rendezvous import meet
from tks_edge_runtime.errors import InputError

if TYPE_CHECKING:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]
    from torch.distributed.distributed_c10d import Store

_OUTPUT, _ERRORS = "tks-edge/output", "tks-edge/errors"
_PATIENCE = timedelta(minutes=5)


@dataclass(frozen=True)
class Launch:
    """This process among those of its job; the defaults are one that was started by itself."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1
    by_torchrun: bool = False

    @classmethod
    def here(cls) -> Launch:
        """What torchrun says in the environment.

        Raises:
            InputError: the machines run different numbers of processes.
        """
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            return cls()
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        rank, world, local_rank, local_world = (int(os.environ[name]) for name in names)
        if world % local_world:
            raise InputError(
                f"{world} processes are not the same number on every machine ({local_world} on this one). Give every "
                f"torchrun the same --nproc-per-node."
            )
        return cls(rank, world, local_rank, local_world, by_torchrun=True)

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes, prints and shows progress."""
        return self.rank == 0

    @property
    def machines(self) -> int:
        """How many machines the job runs on."""
        return self.world // self.local_world

    def remember(self, output: Path) -> None:
        """Tell later attempts which run directory this one began."""
        if self.by_torchrun and self.is_first:
            _store().set(_OUTPUT, str(output))

    def begun(self) -> Path | None:
        """The run directory that an earlier attempt began; None in a job that is new."""
        if not self.by_torchrun:
            return None
        store = _store()
        return Path(store.get(_OUTPUT).decode()) if store.check([_OUTPUT]) else None

    def may_report(self) -> bool:
        """Whether this process is the one to print an error: the first that asks, of those that fail together."""
        if self.world == 1:
            return True
        try:
            return _store().add(f"{_ERRORS}/{os.environ.get('TORCHELASTIC_RESTART_COUNT')}", 1) == 1
        except RuntimeError:  # the store is gone with the job; an error twice is better than none
            return True

    def meet(self) -> Store | None:
        """Where the processes of this attempt exchange addresses; None where torchrun keeps no store for it.

        Raises:
            CheckError: one of the others does not come.
        """
        from torch.distributed.distributed_c10d import PrefixStore

        if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
            return None
        own = PrefixStore("tks-edge/meeting", _store())
        return meet(own, self.rank, self.world, _PATIENCE.total_seconds())


@functools.cache
def _store() -> TCPStore:
    """The store that torchrun keeps for the job; it outlives the processes, and so a restart."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return TCPStore(address, port, is_master=False, timeout=_PATIENCE)
