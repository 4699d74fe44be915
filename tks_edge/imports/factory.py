"""A function of the user's that builds a network: `package.module:factory`. Its code runs because it was named."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from torch import nn

from tks_edge_runtime.errors import InputError, unknown

_REFERENCE = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<name>[^\W\d]\w*(\.[^\W\d]\w*)*)")
_LIBRARIES = ("spikingjelly", "snntorch", "norse", "sinabs")
_FORM = "Give package.module:factory, a function without arguments that returns a torch.nn.Module"


def build(reference: str) -> nn.Module:
    """Call the function that `reference` names, found as Python finds modules, or from the current folder.

    Raises:
        InputError: there is no such module or function, it fails, or it returns no module.
    """
    made = _called(reference, _found(reference))
    if not isinstance(made, nn.Module):
        raise InputError(f"{reference} returns {type(made).__name__}, and a torch.nn.Module is needed. {_FORM}.")
    return made.cpu().eval()


def library_of(network: nn.Module) -> str:
    """The library that a network's neurons are of, with its version."""
    packages = {type(module).__module__.partition(".")[0] for module in network.modules()}
    name = next((name for name in _LIBRARIES if name in packages), "torch")
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return name


def _found(reference: str) -> Callable[[], Any]:
    parsed = _REFERENCE.fullmatch(reference)
    if parsed is None:
        raise InputError(f"{reference!r} names no function. {_FORM}, or a file with the ending .nir.")
    module_name, place = parsed["module"], str(Path.cwd())
    if place not in sys.path:
        sys.path.insert(0, place)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise InputError(
                f"there is no module {error.name!r} here: Python looks among what is installed and in {place}. {_FORM}."
            ) from error
        raise InputError(f"{module_name} needs {error.name}, which is not installed. Install it here.") from error
    except Exception as error:
        raise InputError(f"{module_name} cannot be imported: {_reason(error)}. Mend it, or name another.") from error
    for part in parsed["name"].split("."):
        if not hasattr(found, part):
            raise unknown(
                f"function of {module_name}:", part, [name for name in dir(found) if not name.startswith("_")]
            )
        found = getattr(found, part)
    if not callable(found):
        raise InputError(f"{reference} is {type(found).__name__}, which cannot be called. {_FORM}.")
    function: Callable[[], Any] = found
    return function


def _called(reference: str, function: Callable[[], Any]) -> Any:
    try:
        return function()
    except Exception as error:  # the user's code, whatever it raises
        raise InputError(f"{reference} fails: {_reason(error)}. {_FORM}.") from error


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason is given'}"
