"""What ONNX Runtime can compute on: its library, and for each device the providers, their options, and what they need.

The providers of GPUs come with `onnxruntime-gpu`, and load CUDA, cuDNN and TensorRT only when one is used. What they
cannot load they leave out with a line on standard error, and the session computes on the CPU: so everything is tried
beforehand, and a session is opened with the CPU forbidden.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from tks_edge_runtime import machine
from tks_edge_runtime.artifact import METADATA_KEY, Artifact, Precision
from tks_edge_runtime.errors import InputError, MissingError
from tks_edge_runtime.onnx_metadata import read_metadata

CPU, CUDA, TENSORRT = "cpu", "cuda", "tensorrt"
DEVICES = (CPU, CUDA, TENSORRT)
CUDA_GRAPH_DEVICES = (CUDA, TENSORRT)
PROVIDERS = {
    CPU: "CPUExecutionProvider",
    CUDA: "CUDAExecutionProvider",
    TENSORRT: "TensorrtExecutionProvider",
}
BUFFERS = {CPU: "cpu", CUDA: "cuda", TENSORRT: "cuda"}
"""Where the arrays of a graph lie, as the library names it."""

_ROOT = Path("/")
_CUDNN = ("libcudnn.so.9", "libcudnn.so.8")
"""Builds from 1.18.1 on need the first, older ones the second."""
_NVIDIA_SMI = "See whether nvidia-smi shows it, and whether the driver is one that this CUDA works with."
_SILENT, _WARNINGS = 4, 2
_TF32 = "NVIDIA_TF32_OVERRIDE"
_LONGEST_REASON = 160


def import_library() -> Any:
    """Import ONNX Runtime; MissingError, naming the pip command, where it cannot be imported."""
    # Read once, when the library loads: from 1.32 on it otherwise writes telemetry files and may report home.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise MissingError(
            f"the backend onnxruntime cannot be used here ({error}). Install it: {machine.pip('install onnxruntime')}"
        ) from error


def version() -> str:
    """Import ONNX Runtime and return its version; MissingError where it cannot be imported."""
    return str(import_library().__version__)


def require(device: str, root: Path = _ROOT) -> None:
    """MissingError where ONNX Runtime cannot compute on `device`, with everything that is missing and how to get it.

    The CPU's provider is always there. For a GPU's, the libraries it needs are loaded and the GPU is used once.
    """
    found = import_library()
    if device == CPU:
        return
    provider = PROVIDERS[device]
    lacking = []
    if machine.nvidia_driver(root) is None:
        lacking.append(("there is no NVIDIA driver", machine.driver_advice(root)))
    if provider not in found.get_available_providers():
        what = f"the installed onnxruntime {found.__version__} has no {provider}"
        lacking.append((what, machine.onnxruntime_gpu_advice(root)))
    if lacking:
        raise _missing(device, *lacking)
    _load_cuda(found, device, root)
    if device == TENSORRT:
        _load_tensorrt(found, root)


def _missing(device: str, *lacking: tuple[str, str]) -> MissingError:
    what = ", and ".join(what for what, _ in lacking)
    advice = " ".join(advice if advice.endswith(".") else f"{advice}." for _, advice in lacking)
    return MissingError(f"the backend onnxruntime cannot compute on the device {device} here: {what}. {advice}")


def _load_cuda(found: Any, device: str, root: Path) -> None:
    """Load CUDA and cuDNN, from pip's packages or the system, and allocate on the GPU: MissingError where that fails.

    The provider's own library is opened after it failed alone: the loader then names the file that is missing.
    """
    if hasattr(found, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find
            found.preload_dlls()
    found.set_default_logger_severity(_SILENT)
    try:
        found.OrtValue.ortvalue_from_shape_and_type([1], np.dtype(np.float32), BUFFERS[device])
    except Exception as error:  # its exceptions have no root of their own
        absent = _absent_library(found, CUDA)
        unusable = f"the GPU cannot be used ({_cuda_failure(error)})"
        lack = (unusable, _NVIDIA_SMI) if absent is None else _not_found(absent, root)
        raise _missing(device, lack) from error
    finally:
        found.set_default_logger_severity(_WARNINGS)
    if not any(_loads(name) for name in _CUDNN):
        raise _missing(device, _not_found(_CUDNN[0], root))


def _cuda_failure(error: Exception) -> str:
    """What CUDA said, without where in the library's source it was heard."""
    text = str(error).strip() or type(error).__name__
    said = re.search(r"CUDA failure \d+: [^;]*", text)
    return said.group().strip() if said is not None else text.splitlines()[0][-_LONGEST_REASON:]


def _load_tensorrt(found: Any, root: Path) -> None:
    # pip's TensorRT lies where the loader does not look.
    spec = importlib.util.find_spec("tensorrt_libs")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for name in ("libnvinfer.so.*", "libnvonnxparser.so.*"):
            for path in sorted(Path(folder).glob(name)):
                _loads(str(path))
    absent = _absent_library(found, TENSORRT)
    if absent is not None:
        raise _missing(TENSORRT, _not_found(absent, root))


def _not_found(name: str, root: Path) -> tuple[str, str]:
    return f"the library {name} was not found", machine.cuda_advice(name, root)


def _absent_library(found: Any, device: str) -> str | None:
    """The first library that a provider needs and the loader does not find; None where it finds all."""
    path = Path(found.__file__).parent / "capi" / f"libonnxruntime_providers_{device}.so"
    try:
        ctypes.CDLL(str(path))
    except OSError as error:
        name, _, reason = str(error).partition(":")
        return name if "cannot open shared object file" in reason else None
    return None


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def providers(device: str, path: Path, *, cuda_graph: bool) -> list[Any]:
    """The providers of a session on `device`, most wanted first, with their options.

    TF32, in which a GPU otherwise multiplies float32, has 10 bits of mantissa, and spikes flip: it is off.

    Raises:
        InputError: TensorRT could not be kept to the precision of the graph at `path`.
    """
    if device == CPU:
        return [PROVIDERS[CPU]]
    graphs = "1" if cuda_graph else "0"
    cuda = {"use_tf32": "0", "enable_cuda_graph": graphs if device == CUDA else "0"}
    if device == CUDA:
        return [(PROVIDERS[CUDA], cuda)]
    # It has no option for TF32 (onnxruntime#26029).
    if os.environ.setdefault(_TF32, "0") != "0":
        raise InputError(f"{_TF32} is {os.environ[_TF32]}: spikes flip in TF32. Unset it, and run again.")
    return [(PROVIDERS[TENSORRT], {"trt_cuda_graph_enable": graphs, **_precisions(path)}), (PROVIDERS[CUDA], cuda)]


def _precisions(path: Path) -> dict[str, str]:
    """What TensorRT may compute in. The provider's networks are weakly typed: what is allowed, it takes anywhere."""
    precision = _precision(path)
    if precision is not None and precision.name == "fp16" and precision.membrane == "float32":
        raise InputError(
            f"{path} has float16 weights and float32 membranes, and ONNX Runtime's TensorRT provider would compute "
            "these in float16 too. Use --backend tensorrt or --device cuda, or export it with --membrane fp16."
        )
    name = "fp32" if precision is None else precision.name
    return {"trt_fp16_enable": str(int(name == "fp16")), "trt_int8_enable": str(int(name == "int8"))}


def _precision(path: Path) -> Precision | None:
    """What the graph's manifest says; None for one without a manifest."""
    return Artifact.open(path).manifest.precision if METADATA_KEY in read_metadata(path) else None
