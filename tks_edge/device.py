"""Which device torch computes on."""

from __future__ import annotations

import torch

from tks_edge_runtime.errors import MissingError, unknown

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
