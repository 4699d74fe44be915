"""The interface of TensorRT that the runtime uses is there in every version that it is for: the real bindings say so.

Built and run is on the fakes, through the real classes of TensorRT 10.3, 10.13 and 11.4 and the real functions of CUDA
12 and 13. That nothing is called that one of them lacks is checked here; that it computes on a GPU is not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from tests.runtime import checked_bindings
from tests.runtime.binding_environments import (
    REQUIRED,
    ROOT,
    VERSIONS,
    Bindings,
    CannotPrepareError,
    Environment,
    prepare,
)
from tests.runtime.conftest import Build, BuildSpiking
from tests.runtime.precisions import in_precision
from tks_edge_runtime.artifact import STATIC, STEP


@pytest.fixture(params=VERSIONS, ids=lambda bindings: bindings.version)
def environment(request: pytest.FixtureRequest) -> Environment:
    bindings: Bindings = request.param
    own = ROOT / ".venv"
    folder = own if own.is_dir() else request.config.cache.mkdir("tensorrt-bindings")
    try:
        return prepare(bindings, folder)
    except CannotPrepareError as error:
        if os.environ.get(REQUIRED):
            pytest.fail(f"the bindings {bindings.version} cannot be had: {error}")
        pytest.skip(f"the bindings {bindings.version} cannot be had: {error}")


def python(environment: Environment, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [environment.python, "-W", "error", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment.variables, cwd=ROOT)


@pytest.fixture
def artifacts(build: Build, build_spiking: BuildSpiking, tmp_path: Path) -> Path:
    folder = tmp_path / "artifacts"
    build_spiking(folder=folder, form=STEP, samples=2)
    build_spiking(folder=folder, form=STATIC, samples=2)
    built = build(folder=folder, samples=2, wrong=0)
    in_precision(built, "int8")
    model = onnx.load(built.path)
    model.graph.node[0].op_type = "Spike"
    (folder / "refused").mkdir()
    onnx.save(model, folder / "refused" / "spike.onnx")
    built.path.unlink()
    return folder


def test_nothing_is_used_that_this_version_lacks(environment: Environment, artifacts: Path) -> None:
    done = python(environment, "-m", "tests.runtime.checked_bindings", artifacts)
    assert done.returncode == 0, done.stderr
    used = set(json.loads(done.stdout)["used"])
    # All that matters went through the real classes: a check that looks at nothing finds nothing.
    assert used >= {
        "Builder.create_network",
        "OnnxParser.parse_from_file",
        "OnnxParser.get_error",
        "Builder.build_serialized_network",
        "IBuilderConfig.set_memory_pool_limit",
        "IBuilderConfig.set_tactic_sources",
        "IBuilderConfig.builder_optimization_level",
        "IBuilderConfig.max_aux_streams",
        "IBuilderConfig.progress_monitor",
        "IBuilderConfig.profiling_verbosity",
        "IBuilderConfig.set_timing_cache",
        "ITimingCache.combine",
        "ITimingCache.serialize",
        "INetworkDefinition.get_layer",
        "ILayer.get_input",
        "ITensor.dtype",
        "Runtime.deserialize_cuda_engine",
        "ICudaEngine.num_io_tensors",
        "ICudaEngine.get_tensor_name",
        "ICudaEngine.get_tensor_mode",
        "ICudaEngine.get_tensor_shape",
        "ICudaEngine.get_tensor_dtype",
        "ICudaEngine.get_tensor_location",
        "ICudaEngine.create_execution_context",
        "EngineInspector.get_engine_information",
        "IExecutionContext.set_tensor_address",
        "IExecutionContext.execute_async_v3",
        "IExecutionContext.profiler",
        "cudaGraphInstantiate",
        "cudaGraphLaunch",
        "cudaMallocHost",
        "cudaMemcpyAsync",
        "cudaEventElapsedTime",
    }


WRONG_USE = """
import pytest
from cuda.bindings import runtime
from tests.runtime import checked_bindings as c
from tests.runtime.fake_cuda import FakeCuda

api = c.real_api()
trt = c.checked_tensorrt(api)
class Log(api.ILogger):
    def __init__(self): api.ILogger.__init__(self)
    def log(self, severity, msg): pass
builder = trt.Builder(Log())
config = builder.create_builder_config()
new = api.__version__.startswith("11")
with pytest.raises(AttributeError): builder.build_engine
with pytest.raises(AttributeError): config.max_workspace_size = 1
with pytest.raises(AttributeError): trt.HardwareCompatibilityLevel.EVERYTHING
with pytest.raises(TypeError): builder.create_network(strongly_typed=True)
with pytest.raises(TypeError): builder.create_network("STRONGLY_TYPED")
with pytest.raises(TypeError): config.set_memory_pool_limit(0, 1 << 20)
with pytest.raises(TypeError): config.set_memory_pool_limit(api.MemoryPoolType.WORKSPACE)
with pytest.raises(TypeError): trt.Builder("no logger")
with pytest.raises(TypeError): config.set_flag(api.MemoryPoolType.WORKSPACE)
assert hasattr(trt.BuilderFlag, "FP16") is not new
assert hasattr(config, "int8_calibrator") is False
assert hasattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH") is not new
cuda = FakeCuda()
c.checked_cuda(cuda, runtime)
with pytest.raises(TypeError): cuda.cudaMalloc(1, 2)
with pytest.raises(TypeError): cuda.cudaGraphInstantiate(None)
with pytest.raises(AssertionError): cuda.cudaMemcpyAsync(1, 2, 3, 1.5, None)
"""


def test_the_check_finds_what_a_version_lacks(environment: Environment) -> None:
    done = python(environment, "-c", WRONG_USE)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("docstring", "arguments", "problem"),
    [
        ("f(self: a.B, size: int = 0) -> None", (None,), None),
        ("f(self: a.B, size: int = 0) -> None", (None, 3), None),
        ("f(self: a.B, size: int) -> None", (None,), "missing a required argument: 'size'"),
        ("f(self: a.B, size: int) -> None", (None, "3"), "size is '3', not int"),
        ("f(self: a.B, kind: a.K = <K.STATIC: 0>) -> nvonnxparser::IParserError", (None,), None),
        ("f(self: a.B, data: typing_extensions.Buffer) -> None", (None, b""), None),
    ],
)
def test_signatures_are_read_from_docstrings(docstring: str, arguments: tuple[object], problem: str | None) -> None:
    (overload,) = checked_bindings.overloads(docstring)
    assert overload.problem(None, arguments, {}) == problem


def test_bindings_that_cannot_be_had_are_a_failure_where_they_are_required(tmp_path: Path) -> None:
    name = f"{Path(__file__).relative_to(ROOT)}::test_the_check_finds_what_a_version_lacks"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", name]
    # Without a compiler.
    variables = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST") and key != REQUIRED}
    variables["PATH"] = str(tmp_path)
    required = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env={**variables, REQUIRED: "1"}
    )
    assert "cannot be had: there is no C compiler" in required.stdout
    assert required.returncode == 1
    allowed = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=variables)
    assert "3 skipped" in allowed.stdout
    assert allowed.returncode == 0
