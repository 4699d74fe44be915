"""A program for a process of its own: the real torch-tensorrt, as far as it goes without TensorRT and a GPU.

It lowers and partitions every network, and builds no engine. What the calls were, and what would have been left to
PyTorch, is printed as JSON.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import torch


def _fake_gpu() -> None:
    """The questions that torch-tensorrt asks of a GPU while it is imported, and before it builds."""
    fakes: dict[str, Any] = {"get_device_capability": (8, 9), "current_device": 0, "mem_get_info": (1 << 33, 1 << 33)}
    for name, answer in fakes.items():
        setattr(torch.cuda, name, lambda *_, answer=answer: answer)


def _named(function: Any) -> set[str]:
    """The parameters that a function has by name; any other keyword it would swallow or refuse."""
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {name for name, parameter in inspect.signature(function).parameters.items() if parameter.kind in kinds}


def main() -> None:
    """Compile each of `NETWORKS` and save nothing."""
    _fake_gpu()
    torch_tensorrt: Any = importlib.import_module("torch_tensorrt")

    from tests.export.conftest import calibrated
    from tks_edge_export.program import Unrolled, unrolled_program
    from tks_edge_export.torch_tensorrt import compile_program, save_program

    compile_, save = torch_tensorrt.dynamo.compile, torch_tensorrt.save
    watched = mock.create_autospec(
        compile_, side_effect=lambda *given, **options: compile_(*given, dryrun=True, **options)
    )
    saved = mock.create_autospec(save)
    torch_tensorrt.dynamo.compile, torch_tensorrt.save = watched, saved
    found: dict[str, Any] = {"version": torch_tensorrt.__version__, "networks": {}}
    for name, neuron, timesteps in json.loads(sys.argv[1]):
        pixels = torch.randint(0, 256, (2, 2, 16, 16), dtype=torch.uint8)
        program = unrolled_program(Unrolled(calibrated(name, neuron=neuron), timesteps), pixels)
        compiled: Any = compile_program(program, pixels)
        save_program(compiled, Path("program.pt2"), pixels)
        calls = [str(node.target) for node in compiled.graph.nodes if node.op not in ("placeholder", "output")]
        found["networks"][f"{name} {neuron} T={timesteps}"] = calls
    found["unknown"] = sorted(
        (watched.call_args.kwargs.keys() - _named(compile_)) | (saved.call_args.kwargs.keys() - _named(save))
    )
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
