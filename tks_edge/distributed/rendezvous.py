"""Where the processes of one attempt meet: in torchrun's store, under a name that only they know.

torchrun keeps its store when it starts the processes anew, so what those of an earlier attempt left there (addresses
that nobody answers at) is still in it; and it counts restarts on each machine by itself, so their number is no common
name. The first process therefore gives out a number, and makes sure that it reaches processes that live:

    process r    hello/r = a token of its own                      waits for welcome/<token>, reads the number n in it
    the first    for each r: welcome/<what hello/r says> = n       until ack/n/r is there
    process r    ack/n/r
"""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from tks_edge_runtime.errors import CheckError

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

_POLL = 0.05  # seconds


def meet(store: Store, rank: int, world: int, patience: float) -> Store:
    """The part of `store` that is this attempt's alone, once all of its processes are there.

    Args:
        store: torchrun's.
        rank: this process.
        world: how many there are.
        patience: how long the first process waits for the others, in seconds.

    Raises:
        CheckError: one of the others does not come.
    """
    from torch.distributed.distributed_c10d import PrefixStore

    number = _welcome(store, world, patience) if rank == 0 else _arrive(store, rank)
    return PrefixStore(f"attempt/{number}", store)


def _welcome(store: Store, world: int, patience: float) -> int:
    number = store.add("attempts", 1)
    missing = set(range(1, world))
    end = time.monotonic() + patience
    while missing:
        for rank in sorted(missing):
            if store.check([f"ack/{number}/{rank}"]):
                missing.remove(rank)
            elif store.check([f"hello/{rank}"]):
                # Perhaps that of a process that is gone: then another token comes.
                store.set(f"welcome/{store.get(f'hello/{rank}').decode()}", str(number))
        if missing and time.monotonic() > end:
            ranks = ", ".join(map(str, sorted(missing)))
            raise CheckError(f"of {world} processes, number {ranks} did not come within {patience:.0f} s. Start again.")
        time.sleep(_POLL if missing else 0)
    return number


def _arrive(store: Store, rank: int) -> int:
    token = uuid.uuid4().hex
    store.set(f"hello/{rank}", token)
    number = int(store.get(f"welcome/{token}"))  # waits
    store.set(f"ack/{number}/{rank}", "")
    return number
