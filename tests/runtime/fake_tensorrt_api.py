"""FakeApi: the names of TensorRT that are no behaviour, and how the fakes write types and engines."""

from __future__ import annotations

import enum
from typing import Any

from onnx import TensorProto

MAGIC = b"FakeTensorRT engine\n"
KINDS = {
    "Conv": "CONVOLUTION",
    "ConvTranspose": "DECONVOLUTION",
    "Gemm": "MATRIX_MULTIPLY",
    "MatMul": "MATRIX_MULTIPLY",
    "DequantizeLinear": "DEQUANTIZE",
    "QuantizeLinear": "QUANTIZE",
    "Reshape": "SHUFFLE",
    "Flatten": "SHUFFLE",
}
DTYPES = {
    TensorProto.FLOAT: "FLOAT",
    TensorProto.FLOAT16: "HALF",
    TensorProto.INT8: "INT8",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.BOOL: "BOOL",
    TensorProto.UINT8: "UINT8",
}
TEXTS = {"FLOAT": "Float", "HALF": "Half", "INT8": "Int8", "UINT8": "UInt8", "BOOL": "Bool"}


def enumeration(name: str, *members: str) -> Any:
    return enum.IntEnum(name, [(member, value) for value, member in enumerate(members)])


class FakeApi:
    """The names of TensorRT that are no behaviour: enumerations, and what is derived from."""

    __version__ = "10.3.0"
    BuilderFlag = enumeration("BuilderFlag", "TF32", "FP16", "INT8")
    NetworkDefinitionCreationFlag = enumeration("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH", "STRONGLY_TYPED")
    MemoryPoolType = enumeration("MemoryPoolType", "WORKSPACE", "TACTIC_DRAM")
    TacticSource = enumeration("TacticSource", "CUBLAS", "CUDNN", "EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")
    PreviewFeature = enumeration("PreviewFeature", "PROFILE_SHARING_0806")
    DeviceType = enumeration("DeviceType", "GPU", "DLA")
    ProfilingVerbosity = enumeration("ProfilingVerbosity", "LAYER_NAMES_ONLY", "NONE", "DETAILED")
    LayerInformationFormat = enumeration("LayerInformationFormat", "ONELINE", "JSON")
    DataType = enumeration("DataType", "FLOAT", "HALF", "INT8", "INT32", "BOOL", "UINT8", "FP8", "BF16", "INT64")
    TensorIOMode = enumeration("TensorIOMode", "NONE", "INPUT", "OUTPUT")
    TensorLocation = enumeration("TensorLocation", "DEVICE", "HOST")
    LayerType = enumeration("LayerType", *dict.fromkeys([*KINDS.values(), "ELEMENTWISE"]))
    Severity = enumeration("Severity", "INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")

    class ILogger:
        """What a logger is derived from."""

    class IProgressMonitor:
        """What a progress monitor is derived from."""

    class IProfiler:
        """What a profiler is derived from."""
