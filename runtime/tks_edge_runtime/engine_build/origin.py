"""What an engine was built from and belongs to: all that must be the same for it to be used again."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from tks_edge_runtime.backends import cuda
from tks_edge_runtime.backends.tensorrt_library import import_library
from tks_edge_runtime.device import jetpack, nvml
from tks_edge_runtime.device.tree import Tree
from tks_edge_runtime.files import sha256_of

_ROOT = Path("/")


@dataclass(frozen=True)
class BuildOptions:
    """How an engine is built.

    Attributes:
        low_memory: for boards of 4 and 8 GB: less workspace, fewer tactics, lighter optimization.
        workspace_bytes: what a tactic may use beside its tensors; None takes it from the memory that is free.
    """

    low_memory: bool = False
    workspace_bytes: int | None = None


@dataclass(frozen=True)
class Origin:
    """The graph, the machine and the options of an engine.

    Attributes:
        onnx_sha256: of the `.onnx` file, whole.
        tensorrt: its version.
        gpu: its name.
        compute_capability: such as "8.7".
        multiprocessors: how many the GPU has: boards of one name come with different numbers.
        system: the board's "L4T 36.4.3", elsewhere the "driver 560.35.03".
        low_memory: see `BuildOptions`.
        workspace_bytes: as asked for, None where it was taken from the free memory.
    """

    onnx_sha256: str
    tensorrt: str
    gpu: str
    compute_capability: str
    multiprocessors: int
    system: str
    low_memory: bool
    workspace_bytes: int | None

    @property
    def key(self) -> str:
        """The SHA-256 of all of it, as 64 hexadecimal digits."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


_WHY = {
    "onnx_sha256": ("the .onnx file {}", "the file was exported anew"),
    "tensorrt": ("TensorRT {}", "an engine runs with the version that built it alone"),
    "gpu": ("{}", "an engine is made of code for one GPU"),
    "compute_capability": ("compute capability {}", "an engine is made of code for one GPU"),
    "multiprocessors": ("{} multiprocessors", "what is fastest was measured with another number of them"),
    "system": ("{}", "what is fastest was measured under another system"),
    "low_memory": ("low_memory {}", "other options were asked for"),
    "workspace_bytes": ("a workspace of {} bytes", "other options were asked for"),
}


def difference(found: Origin, wanted: Origin) -> str | None:
    """Say why an engine is not the one that is wanted: "built for X; this is Y: Z"; None where it is."""
    differing = [name for name in _WHY if getattr(found, name) != getattr(wanted, name)]
    if not differing:
        return None
    texts = [
        ", ".join(_WHY[name][0].format(_shown(getattr(origin, name))) for name in differing)
        for origin in (found, wanted)
    ]
    return f"built for {texts[0]}; this is {texts[1]}: {_WHY[differing[0]][1]}"


def _shown(value: object) -> str:
    """A value in a sentence; of a checksum, enough to tell two apart."""
    text = "the default" if value is None else str(value)
    return text[:12] if re.fullmatch("[0-9a-f]{64}", text) else text


def origin_of(path: Path, options: BuildOptions, root: Path = _ROOT) -> Origin:
    """What an engine built here and now from the `.onnx` file at `path` belongs to."""
    gpu = cuda.gpu()
    return Origin(
        sha256_of(path),
        str(import_library().__version__),
        gpu.name,
        gpu.compute_capability,
        gpu.multiprocessors,
        system(gpu.cuda, root),
        options.low_memory,
        options.workspace_bytes,
    )


def system(newest_cuda: str, root: Path = _ROOT) -> str:
    """Name the board's L4T release ("L4T 36.4.3"), or the driver's version; where neither is readable, its CUDA."""
    with Tree(root) as tree:
        release, driver = jetpack.l4t(tree), nvml.driver(tree)
    if release is not None:
        return f"L4T {release}"
    return f"driver for CUDA {newest_cuda}" if driver is None else f"driver {driver}"
