"""From an artifact to a checked engine, on FakeTensorRT with the real Polygraphy."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.runtime.conftest import Build, BuildSpiking
from tests.runtime.fake_gpu import FakeGpu
from tks_edge_runtime.engine_build import BuildOptions, build_command, build_engine
from tks_edge_runtime.engine_build.build import workspace_size
from tks_edge_runtime.engine_build.origin import system
from tks_edge_runtime.errors import ArtifactError, CheckError, InputError, MissingError


def test_an_engine_is_built_checked_and_described(gpu: FakeGpu, build: Build) -> None:
    built = build()
    engine = build_engine(built.path)
    assert not engine.reused
    assert engine.path.parent == gpu.cache
    assert engine.path.name == f"{built.path.stem}-{engine.key[:16]}.engine"
    assert engine.layers == {"fp32": 3, "other": 1}
    assert engine.notes == ()
    known = json.loads(engine.sidecar.read_text())
    assert known["key"] == engine.key
    assert known["origin"]["tensorrt"] == "10.3.0"
    assert known["origin"]["gpu"] == "FakeGPU Orin"
    assert (known["origin"]["compute_capability"], known["origin"]["multiprocessors"]) == ("8.7", 8)
    assert known["engine_bytes"] == engine.path.stat().st_size
    assert known["onnx_bytes"] == built.path.stat().st_size
    assert known["golden"]["max_difference"] <= known["golden"]["tolerance"]
    # Pure: what TensorRT gave, and nothing of ours around it.
    assert engine.path.read_bytes().startswith(b"FakeTensorRT engine")


def test_the_command_for_the_board() -> None:
    assert build_command(Path("artifacts/digits-t2-int8.onnx")) == "tks-edge-runtime build digits-t2-int8.onnx"
    assert build_command(Path("my nets/a b.onnx")) == "tks-edge-runtime build 'a b.onnx'"


def test_an_engine_with_wrong_logits_is_not_kept(gpu: FakeGpu, build: Build) -> None:
    gpu.trt.off_by = 0.5
    with pytest.raises(CheckError, match=r"does not compute what the network does: its logits .* differ by 0\.5"):
        build_engine(build().path)
    assert gpu.engines() == []


def test_a_step_artifact_is_checked_over_its_steps(gpu: FakeGpu, build_spiking: BuildSpiking) -> None:
    built = build_spiking(timesteps=4)
    assert json.loads(build_engine(built.path).sidecar.read_text())["golden"]["max_difference"] == 0
    gpu.trt.off_by = 0.5
    with pytest.raises(CheckError, match="does not compute"):
        build_engine(built.path, force=True)


def test_without_a_golden_pair_the_engine_says_so(gpu: FakeGpu, build: Build) -> None:
    built = build()
    built.path.with_name(built.manifest.golden_file).unlink()
    engine = build_engine(built.path)
    assert engine.notes == (
        f"{built.manifest.golden_file} is not beside {built.path.name}: the engine's logits are not checked.",
    )
    assert json.loads(engine.sidecar.read_text())["golden"] is None


def test_a_damaged_golden_pair_is_no_missing_one(gpu: FakeGpu, build: Build) -> None:
    built = build()
    built.path.with_name(built.manifest.golden_file).write_bytes(b"damaged")
    with pytest.raises(ArtifactError, match="is damaged"):
        build_engine(built.path)
    assert gpu.engines() == []


def test_progress_only_grows_and_ends_with_the_check(gpu: FakeGpu, build: Build) -> None:
    told: list[tuple[str, float]] = []
    path = build().path
    build_engine(path, on_progress=lambda what, done: told.append((what, done)))
    fractions = [done for _, done in told]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert len(set(fractions)) >= 2 * gpu.trt.phase_steps
    assert told[0][0] == f"building {path.name}"
    assert told[-1][0] == f"checking {path.name}"


def test_a_progress_that_fails_ends_the_build_and_is_raised(gpu: FakeGpu, build: Build) -> None:
    def fail(what: str, done: float) -> None:
        if done > 0.3:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        build_engine(build().path, on_progress=fail)
    assert gpu.trt.builds == 0
    assert gpu.engines() == []


def test_ctrl_c_ends_the_build_at_its_next_step(gpu: FakeGpu, build: Build) -> None:
    path, handler = build().path, signal.getsignal(signal.SIGINT)
    gpu.trt.on_step = lambda: signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        build_engine(path)
    assert gpu.trt.builds == 0
    assert gpu.engines() == []
    assert signal.getsignal(signal.SIGINT) is handler
    gpu.trt.on_step = lambda: None
    assert not build_engine(path).reused


def test_what_the_builder_says_ends_up_in_the_error(gpu: FakeGpu, build: Build) -> None:
    gpu.trt.fails_with = "Could not find any implementation for node {ForeignNode[node_linear]}."
    with pytest.raises(ArtifactError, match=r"tensorrt cannot build .*: Could not find any implementation for node"):
        build_engine(build().path)


def test_a_build_without_memory_names_the_option(gpu: FakeGpu, build: Build, capfd: pytest.CaptureFixture[str]) -> None:
    gpu.trt.fails_with = "[virtualMemoryBuffer.cpp::resizePhysical::145] Error Code 2: OutOfMemory (no further info)"
    with pytest.raises(MissingError, match=r"not enough memory to build.*OutOfMemory.*--low-memory"):
        build_engine(build().path)
    assert capfd.readouterr() == ("", "")


def test_tactics_that_were_skipped_for_memory_are_counted(gpu: FakeGpu, build: Build) -> None:
    gpu.trt.says = [
        ("WARNING", "Tactic Device request: 538MB Available: 166MB. Device memory is insufficient to use tactic."),
        ("WARNING", "Skipping tactic 3 due to insufficient memory on requested size of 538 detected for tactic 0x4."),
        ("WARNING", "Tactic Device request: 806MB Available: 187MB. Device memory is insufficient to use tactic."),
        ("WARNING", "Skipping tactic 8 due to insuficient memory on requested size of 806 detected for tactic 60."),
        ("INFO", "Detected 1 inputs and 1 output network tensors."),
    ]
    path = build().path
    note = (
        "2 tactics were skipped for memory (the largest asked for 806 MB where 187 MB were free): with more of it free "
        "the engine may become faster."
    )
    assert build_engine(path).notes == (note,)
    assert build_engine(path).notes == (note,)


def test_low_memory_leaves_out_what_takes_much(gpu: FakeGpu, build: Build) -> None:
    path = build().path
    ordinary = build_engine(path)
    config = gpu.config
    assert (config.builder_optimization_level, config.max_aux_streams) == (3, -1)
    small = build_engine(path, BuildOptions(low_memory=True))
    config = gpu.config
    assert (config.builder_optimization_level, config.max_aux_streams) == (2, 0)
    assert config.tactic_sources == 1 << int(gpu.trt.TacticSource.JIT_CONVOLUTIONS)
    assert small.path != ordinary.path


def test_the_workspace_is_a_share_of_what_is_free(gpu: FakeGpu, build: Build, tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 8000000 kB\nMemFree: 100000 kB\nMemAvailable: 2000000 kB\n")
    assert workspace_size(False, tmp_path) == 1024 * 1_000_000
    assert workspace_size(True, tmp_path) == 256 << 20
    gpu.cuda.properties.integrated = 0
    assert workspace_size(False, tmp_path) == gpu.cuda.memory // 2
    gpu.cuda.properties.integrated = 1
    assert workspace_size(False, tmp_path / "none") == gpu.cuda.memory // 2
    engine = build_engine(build().path, BuildOptions(workspace_bytes=3 << 20))
    assert gpu.config.limits == {"WORKSPACE": 3 << 20}
    assert json.loads(engine.sidecar.read_text())["workspace_bytes"] == 3 << 20
    with pytest.raises(InputError, match="the workspace is 1000 bytes; allowed are 1048576 and more"):
        build_engine(build().path, BuildOptions(workspace_bytes=1000))


def test_timings_are_kept_and_added_to(gpu: FakeGpu, build: Build) -> None:
    build_engine(build(name="one").path)
    (timings,) = gpu.cache.glob("*.timings")
    assert "fakegpu-orin-8.7-8-10.3.0" in timings.name
    before = set(json.loads(timings.read_text()))
    # Another process added its own in the middle of this build.
    gpu.trt.on_step = lambda: timings.write_text(json.dumps([*before, "another's"]))
    build_engine(build(name="two").path)
    assert set(json.loads(timings.read_text())) == {*before, "another's"}
    timings.write_bytes(b"damaged")
    gpu.trt.on_step = lambda: None
    build_engine(build(name="three").path)
    assert set(json.loads(timings.read_text())) == before


def test_what_is_no_artifact_is_refused_before_anything_is_built(gpu: FakeGpu, build: Build, tmp_path: Path) -> None:
    (tmp_path / "net.engine").touch()
    with pytest.raises(ArtifactError, match=r"is an engine: it belongs to the machine.*Give the \.onnx file"):
        build_engine(tmp_path / "net.engine")
    (tmp_path / "damaged.onnx").write_bytes(b"no graph at all")
    with pytest.raises(ArtifactError, match="is not an ONNX file, or is damaged"):
        build_engine(tmp_path / "damaged.onnx")
    with pytest.raises(ArtifactError, match=r"cannot read .*none\.onnx"):
        build_engine(tmp_path / "none.onnx")
    assert not gpu.cache.exists()


def test_a_graph_that_the_parser_refuses_names_the_node(gpu: FakeGpu, build: Build, monkeypatch: Any) -> None:
    path = build().path
    model = onnx.load(path)
    model.graph.node[0].op_type = "Spike"
    onnx.save(model, path)
    with pytest.raises(ArtifactError, match=r"tensorrt cannot load .*Spike.*\(Operator node\).*--target tensorrt"):
        build_engine(path)


def test_a_file_without_a_manifest_promises_nothing(gpu: FakeGpu, build: Build) -> None:
    path = build().path
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    assert build_engine(path).notes == (
        "the file has no manifest: what it must compute is not known, and not checked.",
    )


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic"}, "L4T 36.4.3"),
        (
            {"proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  560.35.03  Fri Aug 16"},
            "driver 560.35.03",
        ),
        ({"etc/nv_tegra_release": "something new"}, "driver for CUDA 12.6"),
        ({}, "driver for CUDA 12.6"),
    ],
)
def test_the_system_is_the_boards_release_or_the_driver(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert system("12.6", tmp_path) == expected
