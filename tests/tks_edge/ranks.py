"""Several processes that train together, as torchrun starts them, without the seconds that torchrun takes."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from tks_edge.data import registry
from tks_edge.data.dataset import Dataset, Split
from tks_edge.data.digits import open_digits

_LONGEST = 120  # seconds; where it takes longer, the processes wait for each other


def few(split: Split, samples: int) -> Split:
    """The first samples of a split."""
    labels = dict(zip(split.indices, split.labels, strict=True))
    return Split(split.samples, labels, split.indices[:samples])


def few_digits() -> Dataset:
    """The digits, cut down to 48, 20 and 30 images."""
    digits = open_digits()
    return dataclasses.replace(
        digits, train=few(digits.train, 48), validation=few(digits.validation, 20), test=few(digits.test, 30)
    )


def use_few_digits() -> None:
    """Let this process train on them where it asks for the digits, on one thread."""
    torch.set_num_threads(1)
    found = few_digits()
    registry._OPENERS["digits"] = lambda _: found


def run_ranks(world: int, action: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `action` returns, or the error it raises, in each of `world` processes; None where one was killed.

    Args:
        world: how many processes.
        action: a function of a module, given the rank and `arguments`.
        arguments: of the action.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tks_edge.trainer", "torch.distributed.fsdp"])
    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    pipes, processes = [], []
    for rank in range(world):
        ours, theirs = context.Pipe()
        environment = {
            "TORCHELASTIC_RUN_ID": "test",
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_RESTART_COUNT": "0",
            "MASTER_ADDR": "localhost",
            "MASTER_PORT": str(store.port),
            "GROUP_RANK": "0",
            "OMP_NUM_THREADS": "1",
        } | {name: str(rank) for name in ("RANK", "LOCAL_RANK")}
        environment |= {name: str(world) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE")}
        process = context.Process(target=_run, args=(environment, theirs, action, rank, arguments))
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    try:
        return [_received(pipe) for pipe in pipes]
    finally:
        for process in processes:
            process.kill()
            process.join()


def _run(environment: dict[str, str], pipe: Any, action: Callable[..., Any], rank: int, arguments: Any) -> None:
    os.environ.update(environment)
    use_few_digits()
    try:
        result = action(rank, *arguments)
    except (Exception, KeyboardInterrupt) as error:
        result = error
    pipe.send(result)


def _received(pipe: Any) -> Any:
    if not pipe.poll(_LONGEST):
        raise TimeoutError("a process has not answered")
    try:
        return pipe.recv()
    except EOFError:
        return None


def trained(rank: int, path: Path, given: dict[str, Any], **options: Any) -> None:
    """Train on the few digits."""
    from tests.tks_edge.short_training import short
    from tks_edge.trainer import train

    train(short(**given), path, **options)
