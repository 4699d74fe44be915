"""Engines of TensorRT: built from an artifact on the machine that runs them, checked, and kept.

An engine belongs to the GPU, the TensorRT version and the system it was built with, and loading one runs code: what
travels is the `.onnx` file, and only what was built here is loaded.
"""

from tks_edge_runtime.engine_build.build import (
    BuiltEngine,
    build_command,
    build_engine,
    find_engine,
    planned_engine,
    read_engine,
)
from tks_edge_runtime.engine_build.origin import BuildOptions
from tks_edge_runtime.engine_build.requirements import require

__all__ = [
    "BuildOptions",
    "BuiltEngine",
    "build_command",
    "build_engine",
    "find_engine",
    "planned_engine",
    "read_engine",
    "require",
]
