"""Weights from a file of the user's: safetensors, or what torch.save wrote of tensors alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from tks_edge_runtime.errors import InputError

_SAFE = "torch.save(network.state_dict(), 'weights.pt')"
ENDINGS = (".safetensors", ".pt", ".pth")


def load_into(network: nn.Module, file: Path) -> None:
    """Put the weights of a file into a network that has exactly these.

    Raises:
        InputError: it is no such file, would have to run code, or holds other weights; names the first.
    """
    # What has no elements yet is a state that a run makes, such as sinabs' membranes; networks start at rest.
    unmade = {name for name, tensor in network.state_dict().items() if not tensor.numel()}
    tensors = {name: tensor for name, tensor in _tensors(file).items() if name not in unmade}
    expected = network.state_dict().keys() - unmade
    for kind, names in (("lacks", expected - tensors.keys()), ("has", tensors.keys() - expected)):
        if names:
            whose = "which the network has" if kind == "lacks" else "which the network has not"
            raise InputError(
                f"{file} does not fit the network: it {kind} {min(names)!r}, {whose} (of {len(names)} such). Give the "
                "weights of this network."
            )
    try:
        network.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        line = next((line.strip() for line in str(error).splitlines()[1:]), str(error))
        raise InputError(f"{file} does not fit the network: {line} Give the weights of this network.") from error


def _tensors(file: Path) -> Mapping[str, Tensor]:
    if not file.is_file():
        raise InputError(f"there is no file {file}. Give the weights with --weights.")
    if file.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(file)
        except (safetensors.SafetensorError, OSError) as error:
            raise InputError(f"{file} is damaged or no safetensors file ({error}). Write it again.") from error
    if file.suffix not in ENDINGS:
        raise InputError(f"{file} has the ending {file.suffix!r}; weights are read from {', '.join(ENDINGS)}.")
    return _state(_unpickled(file), file)


def _unpickled(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        if "weights only" in str(error).lower() or "weights_only" in str(error):
            raise InputError(
                f"{file} is a pickle of more than tensors: to load it would run code that it names. Write the weights "
                f"alone where the network was trained: {_SAFE}, or safetensors.torch.save_file."
            ) from error
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{file} is damaged or was not written by torch.save ({line}). Write it again.") from error


def _state(loaded: Any, file: Path) -> Mapping[str, Tensor]:
    if isinstance(loaded, Mapping) and loaded and all(isinstance(value, Tensor) for value in loaded.values()):
        return loaded
    if isinstance(loaded, Mapping):
        held = ", ".join(str(name) for name in list(loaded)[:8]) or "nothing"
        raise InputError(
            f"{file} holds {held}, not one tensor for each name. Write the weights alone where it was made: {_SAFE}."
        )
    raise InputError(f"{file} holds {type(loaded).__name__}. Write the weights alone where it was made: {_SAFE}.")
