"""Stand-ins for torch-tensorrt and a GPU, which compile nothing: the program stays PyTorch's and runs on the CPU."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from tks_edge_export.torch_tensorrt import Gpu

FAKE_GPU = Gpu("cpu", "FakeGPU", "8.9", 24)


class FakeTorchTensorRT:
    """The two functions of torch-tensorrt that are called, with the parameters that are given.

    Attributes:
        error: what a compilation raises.
        wrong: whether the compiled program computes something else.
        compiled: how often one was compiled.
    """

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.wrong = False
        self.compiled = 0

    def compile(
        self,
        exported_program: ExportedProgram,
        *,
        arg_inputs: Sequence[Tensor],
        disable_tf32: bool,
        require_full_compilation: bool,
    ) -> nn.Module:
        sys.stdout.write("what the library prints\n")
        self.compiled += 1
        if self.error is not None:
            raise self.error
        module = exported_program.module()
        return _Wrong(module) if self.wrong else module

    def save(self, module: nn.Module, file_path: str, *, output_format: str, arg_inputs: Sequence[Tensor]) -> None:
        assert output_format == "exported_program"
        torch.export.save(torch.export.export(module, tuple(arg_inputs), strict=False), file_path)


class _Wrong(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.module(x)
        return logits.flip(1)


def install(monkeypatch: pytest.MonkeyPatch) -> FakeTorchTensorRT:
    """Put the stand-ins where `import` finds them."""
    fake = FakeTorchTensorRT()
    library: Any = ModuleType("torch_tensorrt")
    library.__version__, library.save = "2.14.0+fake", fake.save
    library.dynamo = ModuleType("torch_tensorrt.dynamo")
    library.dynamo.compile = fake.compile
    engine: Any = ModuleType("tensorrt")
    engine.__version__ = "11.1.0+fake"
    monkeypatch.setitem(sys.modules, "torch_tensorrt", library)
    monkeypatch.setitem(sys.modules, "tensorrt", engine)
    return fake
