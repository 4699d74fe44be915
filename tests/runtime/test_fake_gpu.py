"""The fakes catch what a GPU would punish: each rule of CUDA and TensorRT, broken once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.conftest import Build
from tests.runtime.fake_cuda import FakeCopyKind, FakeCuda, FakeError, FakeHandle, Violation
from tests.runtime.fake_gpu import FakeGpu
from tests.runtime.fake_tensorrt import FakeTensorRT
from tks_edge_runtime.engine_build import build_engine

INPUT, LOGITS = 64, 16


class Bench:
    """A context by hand, with addresses set and a stream to run it on."""

    def __init__(self, trt: FakeTensorRT, cuda: FakeCuda, plan: bytes) -> None:
        self.trt, self.cuda, self.plan = trt, cuda, plan
        self.runtime = trt.Runtime(None)
        self.engine = self.runtime.deserialize_cuda_engine(plan)
        self.context = self.engine.create_execution_context()
        self.stream: Any = cuda.cudaStreamCreateWithFlags(1)[1]
        self.input, self.logits = (int(cuda.cudaMalloc(size)[1] or 0) for size in (INPUT, LOGITS))
        self.context.set_tensor_address("input", self.input)
        self.context.set_tensor_address("logits", self.logits)

    def run(self) -> None:
        assert self.context.execute_async_v3(int(self.stream))
        assert self.cuda.cudaStreamSynchronize(self.stream) == (FakeError.cudaSuccess,)


@pytest.fixture
def bench(gpu: FakeGpu, build: Build) -> Iterator[Bench]:
    plan = build_engine(build().path).path.read_bytes()
    made = Bench(gpu.trt, gpu.cuda, plan)
    yield made
    # What a test left is its own business.
    gpu.cuda.__init__()  # type: ignore[misc]
    gpu.trt.alive.clear()


def broken(bench: Bench, what: str, work: Callable[[], object]) -> None:
    with pytest.raises(Violation, match=what):
        work()


def test_a_context_that_is_used_right_runs(bench: Bench) -> None:
    bench.run()
    bench.run()


def test_an_address_that_is_not_set(bench: Bench) -> None:
    bench.context = bench.engine.create_execution_context()
    bench.context.set_tensor_address("input", bench.input)
    broken(bench, "no address is set for logits", bench.run)
    broken(bench, "null pointer", lambda: bench.context.set_tensor_address("logits", 0))
    assert bench.context.set_tensor_address("nothing", bench.logits) is False


def test_memory_that_is_too_small_or_was_freed(bench: Bench) -> None:
    small = bench.cuda.cudaMalloc(INPUT - 1)[1]
    bench.context.set_tensor_address("input", small)
    broken(bench, f"the input input uses {INPUT} bytes of {INPUT - 1}", bench.run)
    bench.context.set_tensor_address("input", bench.input)
    bench.cuda.cudaFree(bench.logits)
    broken(bench, "the output logits uses device memory at 0x.*which is not allocated", bench.run)
    broken(bench, "cudaFree of 0x", lambda: bench.cuda.cudaFree(bench.logits))


def test_an_output_that_lies_in_an_input(bench: Bench) -> None:
    bench.context.set_tensor_address("logits", bench.input)
    broken(bench, "an output lies where an input", bench.run)


def test_memory_that_is_freed_while_it_is_used(bench: Bench) -> None:
    bench.context.execute_async_v3(int(bench.stream))
    broken(bench, "cudaFree while work is queued", lambda: bench.cuda.cudaFree(bench.logits))
    broken(bench, "a stream with work in it", lambda: bench.cuda.cudaStreamDestroy(bench.stream))


def test_a_stream_that_does_not_exist(bench: Bench) -> None:
    bench.cuda.cudaStreamDestroy(bench.stream)
    broken(bench, "a stream that does not exist", bench.run)
    broken(bench, "a stream that does not exist", lambda: bench.context.execute_async_v3(0))


def test_results_are_there_only_after_waiting(bench: Bench) -> None:
    host = bench.cuda.cudaMallocHost(LOGITS)[1]
    before = bytes(bench.cuda.block(bench.logits, LOGITS, "a test"))
    bench.context.execute_async_v3(int(bench.stream))
    bench.cuda.cudaMemcpyAsync(host, bench.logits, LOGITS, FakeCopyKind.cudaMemcpyDeviceToHost, bench.stream)
    assert bytes(bench.cuda.block(bench.logits, LOGITS, "a test")) == before
    bench.cuda.cudaStreamSynchronize(bench.stream)
    assert bytes(bench.cuda.block(bench.logits, LOGITS, "a test")) != before


def test_host_memory_that_is_not_page_locked(bench: Bench) -> None:
    kind = FakeCopyKind.cudaMemcpyHostToDevice
    bench.cuda.cudaMemcpyAsync(bench.input, 4096, INPUT, kind, bench.stream)
    broken(bench, "which is not page-locked", lambda: bench.cuda.cudaStreamSynchronize(bench.stream))


def test_a_copy_on_the_device_stays_within_its_block(bench: Bench) -> None:
    cuda, kind = bench.cuda, FakeCopyKind.cudaMemcpyDeviceToDevice
    cuda.block(bench.input, INPUT, "a test")[:INPUT] = bytes(range(INPUT % 256)).ljust(INPUT, b"\1")
    other = cuda.cudaMalloc(INPUT)[1]
    assert other is not None
    cuda.cudaMemcpyAsync(other + 3, bench.input + 3, 2, kind, bench.stream)
    cuda.cudaStreamSynchronize(bench.stream)
    copied = cuda.block(other, INPUT, "a test")
    assert bytes(copied[2:6]) == b"\xa5" + bytes(cuda.block(bench.input, INPUT, "a test")[3:5]) + b"\xa5"
    for target in (other + INPUT - 1, bench.input - 4096 * 4096):
        cuda.cudaMemcpyAsync(target, bench.input, 2, kind, bench.stream)
        broken(bench, "a copy on the device uses", lambda: cuda.cudaStreamSynchronize(bench.stream))


def test_two_threads_in_one_context(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, go = threading.Event(), threading.Event()

    def wait(_: int) -> bool:
        inside.set()
        return go.wait(10)

    monkeypatch.setattr(bench.context, "_execute", wait)
    other = threading.Thread(target=bench.context.execute_async_v3, args=(int(bench.stream),))
    other.start()
    assert inside.wait(10)
    broken(bench, "two threads use one context", lambda: bench.context.execute_async_v3(int(bench.stream)))
    go.set()
    other.join()


@pytest.mark.parametrize("gone", ["engine", "runtime"])
def test_an_engine_that_is_gone_before_its_context(bench: Bench, gone: str) -> None:
    delattr(bench, gone)
    broken(bench, "a context is used whose engine, or the engine's runtime, is gone", bench.run)


def test_bytes_that_were_never_built_here(bench: Bench) -> None:
    broken(bench, "foreign code", lambda: bench.runtime.deserialize_cuda_engine(b"ftrt" + bench.plan))


class Recording:
    """The calls of a recording, one by one."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.cuda, self.stream = bench, bench.cuda, bench.stream
        self.cuda.cudaStreamBeginCapture(self.stream, None)

    def end(self) -> FakeHandle:
        graph = self.cuda.cudaStreamEndCapture(self.stream)[1]
        assert graph is not None
        return self.cuda.cudaGraphInstantiate(graph, 0)[1]


def test_a_recording_of_what_never_ran(bench: Bench) -> None:
    Recording(bench)
    broken(bench, "never ran with these addresses", lambda: bench.context.execute_async_v3(int(bench.stream)))


def test_what_spoils_a_recording(bench: Bench) -> None:
    bench.run()
    recording = Recording(bench)
    broken(bench, "cudaMalloc while a stream records", lambda: bench.cuda.cudaMalloc(1))
    broken(bench, "a stream that records begins", lambda: Recording(bench))
    assert bench.cuda.cudaStreamSynchronize(bench.stream) == (FakeError.cudaErrorStreamCaptureUnsupported,)
    recording.end()
    broken(bench, "does not record", lambda: bench.cuda.cudaStreamEndCapture(bench.stream))


def test_a_recording_runs_nothing_and_remembers_its_addresses(bench: Bench) -> None:
    bench.run()
    bench.cuda.block(bench.logits, LOGITS, "a test")[:] = bytes(LOGITS)
    recording = Recording(bench)
    bench.context.execute_async_v3(int(bench.stream))
    graph = recording.end()
    assert bytes(bench.cuda.block(bench.logits, LOGITS, "a test")) == bytes(LOGITS)
    bench.cuda.cudaGraphLaunch(graph, bench.stream)
    bench.cuda.cudaStreamSynchronize(bench.stream)
    assert bytes(bench.cuda.block(bench.logits, LOGITS, "a test")) != bytes(LOGITS)
    bench.cuda.cudaFree(bench.logits)
    bench.cuda.cudaGraphLaunch(graph, bench.stream)
    broken(bench, "not allocated", lambda: bench.cuda.cudaStreamSynchronize(bench.stream))
    bench.cuda.cudaGraphExecDestroy(graph)
    broken(bench, "not a living launchable graph", lambda: bench.cuda.cudaGraphLaunch(graph, bench.stream))


def test_a_network_that_is_not_strongly_typed(gpu: FakeGpu, build: Build) -> None:
    builder = gpu.trt.Builder(None)
    network, config = builder.create_network(0), builder.create_builder_config()
    assert gpu.trt.OnnxParser(network, None).parse_from_file(str(build().path))
    with pytest.raises(Violation, match="not strongly typed"):
        builder.build_serialized_network(network, config)
    network = builder.create_network(1 << int(gpu.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    assert gpu.trt.OnnxParser(network, None).parse_from_file(str(build().path))
    config.set_flag(gpu.trt.BuilderFlag.FP16)
    with pytest.raises(Violation, match="a flag of a precision"):
        builder.build_serialized_network(network, config)


def test_what_is_left_on_the_gpu_is_seen(gpu: FakeGpu, tmp_path: Path) -> None:
    address, stream = gpu.cuda.cudaMalloc(5)[1], gpu.cuda.cudaStreamCreateWithFlags(1)[1]
    assert gpu.left() == ["5 bytes of device memory", "stream"]
    assert address is not None
    gpu.cuda.cudaFree(address)
    gpu.cuda.cudaStreamDestroy(stream)
