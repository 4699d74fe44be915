"""A stand-in for the engine build of the runtime, which needs TensorRT and an NVIDIA GPU: it writes files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from tks_edge_runtime.artifact import Artifact
from tks_edge_runtime.errors import TksEdgeError

MODULE = "tks_edge_runtime.engine_build"
PLAN = b"an engine as TensorRT writes it, without anything in front"


@dataclass(frozen=True)
class FakeBuildOptions:
    low_memory: bool = False


@dataclass(frozen=True)
class FakeBuiltEngine:
    path: Path
    sidecar: Path
    key: str
    seconds: float
    reused: bool
    layers: dict[str, int]
    notes: tuple[str, ...]


@dataclass
class FakeEngineBuild:
    """What a machine can do: `missing` is what `require` raises, `fault` what a build raises.

    Attributes:
        cache: the folder that engines are kept in.
        built: the options of each build, by the name of its graph.
    """

    cache: Path
    missing: TksEdgeError | None = None
    fault: TksEdgeError | None = None
    notes: tuple[str, ...] = ()
    built: dict[str, FakeBuildOptions] = field(default_factory=dict)

    def module(self) -> ModuleType:
        """The module that stands for the real one, with its names."""
        module: Any = ModuleType(MODULE)
        module.require, module.build_engine, module.build_command = self.require, self.build_engine, self.build_command
        module.BuildOptions, module.BuiltEngine = FakeBuildOptions, FakeBuiltEngine
        named: ModuleType = module
        return named

    def require(self) -> None:
        if self.missing is not None:
            raise self.missing

    def build_command(self, path: Path) -> str:
        return f"tks-edge-runtime build {path.name}"

    def build_engine(
        self, path: Path, options: FakeBuildOptions, *, on_progress: Callable[[str, float], None]
    ) -> FakeBuiltEngine:
        assert self.missing is None, "an engine was built where none can be"
        assert Artifact.open(path).golden()
        reused = path.name in self.built
        self.built[path.name] = options
        for done in (0.0, 0.5, 1.0):
            on_progress(f"building {path.name}", done)
        if self.fault is not None:
            raise self.fault
        self.cache.mkdir(exist_ok=True)
        engine = self.cache / f"{path.stem}-0123456789abcdef.engine"
        engine.write_bytes(PLAN + path.stem.encode())
        sidecar = engine.with_suffix(".json")
        sidecar.write_text(json.dumps({"key": "0123", "golden": {"max_difference": 2e-7, "tolerance": 2e-4}}))
        return FakeBuiltEngine(engine, sidecar, "0123", 12.5, reused, {"fp32": 9, "int8": 0}, self.notes)
