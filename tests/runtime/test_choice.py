"""What `--backend auto` takes, for each kind of artifact and each set of engines that a machine can use."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.conftest import Build
from tks_edge_runtime.artifact import Artifact, Precision
from tks_edge_runtime.backends import BACKENDS, Backend, Engine, EngineOptions
from tks_edge_runtime.backends.choice import Choice, choose
from tks_edge_runtime.errors import InputError, MissingError

INT8 = Precision("int8", "int8", "int8", "float32")
CPU = ("onnxruntime cpu", "openvino cpu")
CUDA = (*CPU, "onnxruntime cuda")
ALL = (*CUDA, "onnxruntime tensorrt", "tensorrt cuda", "openvino gpu")


@pytest.fixture
def machine_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterable[str]], None]:
    """Lets only these backends' devices be usable; TensorRT is one of the backends."""

    def set_up(usable: Iterable[str]) -> None:
        names = set(usable)

        def require(name: str) -> Callable[[str], None]:
            def check(device: str) -> None:
                if f"{name} {device}" not in names:
                    raise MissingError(f"no {name} on {device}")

            return check

        def opening(path: Path, options: EngineOptions) -> Engine:
            raise AssertionError("nothing is opened to choose")

        native = Backend(lambda: "11.4", require("tensorrt"), opening, ("cuda",), ("cuda",))
        for name, backend in {**BACKENDS, "tensorrt": native}.items():
            monkeypatch.setitem(BACKENDS, name, dataclasses.replace(backend, require=require(name)))

    return set_up


def artifact(target: str = "generic", *, build: Build, folder: Path, **changes: Any) -> Artifact:
    return Artifact.open(build(folder=folder / target, target=target, **changes).path)


@pytest.mark.parametrize(
    ("target", "precision", "usable", "expected"),
    [
        ("generic", None, CPU, "onnxruntime on cpu, since no NVIDIA GPU can be used here"),
        ("generic", INT8, CPU, "openvino on cpu, since no NVIDIA GPU can be used here, and ONNX Runtime multiplies"),
        ("generic", INT8, ("onnxruntime cpu",), "onnxruntime on cpu, since no NVIDIA GPU"),
        ("generic", None, ("openvino cpu",), "openvino on cpu, since no NVIDIA GPU"),
        ("generic", None, CUDA, "onnxruntime on cuda, since this machine has an NVIDIA GPU"),
        ("generic", INT8, CUDA, "onnxruntime on cuda, since this machine has an NVIDIA GPU"),
        ("generic", None, ALL, "tensorrt on cuda, since this machine has an NVIDIA GPU"),
        ("onnxruntime-cpu", INT8, ALL, "onnxruntime on cpu, since the graph is lowered for onnxruntime-cpu"),
        ("openvino", INT8, ALL, "openvino on cpu, since the graph is lowered for openvino"),
        ("tensorrt", INT8, ALL, "tensorrt on cuda, since the graph is lowered for tensorrt"),
        ("tensorrt", None, (*CUDA, "onnxruntime tensorrt"), "onnxruntime on tensorrt, since the graph is lowered"),
    ],
)
def test_the_rule(
    build: Build,
    tmp_path: Path,
    machine_with: Callable[[Iterable[str]], None],
    target: str,
    precision: Precision | None,
    usable: tuple[str, ...],
    expected: str,
) -> None:
    machine_with(usable)
    changes = {} if precision is None else {"precision": precision}
    chosen = choose("auto", [artifact(target, build=build, folder=tmp_path, **changes)])
    assert str(chosen).startswith(f"backend: {expected}")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"device": "cpu"}, ("onnxruntime", "cpu")),
        ({"device": "cuda"}, ("tensorrt", "cuda")),
        ({"device": "tensorrt"}, ("onnxruntime", "tensorrt")),
        ({"device": "gpu"}, ("openvino", "gpu")),
        ({"cuda_graph": True}, ("tensorrt", "cuda")),
    ],
)
def test_only_what_has_the_device_and_the_cuda_graphs_is_taken(
    build: Build,
    tmp_path: Path,
    machine_with: Callable[[Iterable[str]], None],
    options: dict[str, Any],
    expected: tuple[str, str],
) -> None:
    machine_with(ALL)
    chosen = choose("auto", [artifact(build=build, folder=tmp_path)], **options)
    assert (chosen.backend, chosen.device) == expected


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("tensorrt", {}, "with a graph lowered for tensorrt, cannot be met. tensorrt on cuda: no tensorrt on cuda"),
        ("generic", {"device": "cuda"}, "with the device cuda, cannot be met. tensorrt on cuda: no tensorrt on cuda"),
        ("generic", {"cuda_graph": True}, "with CUDA graphs, cannot be met. tensorrt on cuda: no tensorrt on cuda"),
    ],
)
def test_what_nothing_here_can_do_fails_with_what_is_missing(
    build: Build,
    tmp_path: Path,
    machine_with: Callable[[Iterable[str]], None],
    target: str,
    options: dict[str, Any],
    words: str,
) -> None:
    machine_with(CPU)
    with pytest.raises(MissingError, match=words):
        choose("auto", [artifact(target, build=build, folder=tmp_path)], **options)


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("openvino", {"device": "cuda"}, "nothing that runs a graph lowered for openvino has the device cuda"),
        ("openvino", {"cuda_graph": True}, "has CUDA graphs. Name a backend"),
        ("generic", {"device": "cpu", "cuda_graph": True}, "has the device cpu with CUDA graphs"),
        ("generic", {"device": "npu"}, "unknown device 'npu'"),
    ],
)
def test_what_does_not_exist_is_refused(
    build: Build, tmp_path: Path, target: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        choose("auto", [artifact(target, build=build, folder=tmp_path)], **options)


def test_artifacts_together_get_one_choice(
    build: Build, tmp_path: Path, machine_with: Callable[[Iterable[str]], None]
) -> None:
    machine_with(CPU)
    generic, for_openvino, for_ort = (
        artifact(target, build=build, folder=tmp_path) for target in ("generic", "openvino", "onnxruntime-cpu")
    )
    int8 = artifact(build=build, folder=tmp_path, precision=INT8, timesteps=4)
    assert choose("auto", [generic, for_openvino]).backend == "openvino"
    assert choose("auto", [generic, int8]).backend == "openvino"
    with pytest.raises(InputError, match=r"lowered for different engines: openvino \(small-t2-fp32.onnx\)") as caught:
        choose("auto", [generic, for_openvino, for_ort])
    assert "Give --backend openvino or --backend onnxruntime" in str(caught.value)


def test_a_backend_by_name_is_taken_as_it_is(build: Build, tmp_path: Path) -> None:
    found = choose("onnxruntime", [artifact("openvino", build=build, folder=tmp_path)], device="cuda")
    assert found == Choice("onnxruntime", "cuda")
    assert str(found) == "backend: onnxruntime on cuda"
    with pytest.raises(InputError, match="unknown backend"):
        choose("automatic", [])
