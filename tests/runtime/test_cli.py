"""The command line of a board: what it prints where, and how it ends."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer import Typer
from typer.testing import CliRunner, Result

from tests.runtime.conftest import CLASSES, CPU_BACKENDS, Build, BuildSpiking
from tests.runtime.device.trees import NAMES, tree
from tests.runtime.recorded import record
from tks_edge_runtime import cli
from tks_edge_runtime.artifact import Precision
from tks_edge_runtime.backends import BACKENDS
from tks_edge_runtime.commands import options
from tks_edge_runtime.commands.early_exit import too_few_runs
from tks_edge_runtime.exit_measures import ExitRule
from tks_edge_runtime.exit_rule import CalibratedRule, write_exit_rule
from tks_edge_runtime.files import sha256_of
from tks_edge_runtime.measure import PRESETS
from tks_edge_runtime.session import DEFAULT_BACKEND, load
from tks_edge_runtime.traces import unpack
from tks_edge_runtime.version import __version__


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def fails(result: Result, exit_code: int, *words: str) -> None:
    """One clear error of a line or two on standard error, and nothing else."""
    assert result.exit_code == exit_code, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) <= 2
    for word in words:
        assert word in result.stderr


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image[1].png"
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(path)
    return path


def test_help_names_every_command() -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    for command in ("build", "run", "profile", "report", "compare", "info", "doctor"):
        assert f" {command} " in result.stdout


@pytest.mark.parametrize("command", ["build", "run", "profile", "compare", "info", "doctor"])
def test_every_command_has_json_and_debug(command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert "--json" in result.stdout
    assert "--debug" in result.stdout


def test_the_version_is_printed() -> None:
    assert invoke("--version").stdout == f"tks-edge-runtime {__version__}\n"


def test_another_app_gets_the_verbs_that_need_no_torch() -> None:
    app = Typer()
    cli.register(app)
    names = {info.callback.__name__ for info in app.registered_commands if info.callback is not None}
    assert names == {"build", "run", "profile", "report", "compare", "pick", "doctor"}


def test_the_help_of_options_says_what_is_there() -> None:
    assert options.DEFAULT_BACKEND == DEFAULT_BACKEND
    text = " ".join(invoke("profile", "--help").stdout.replace("│", " ").split())
    assert all(f"{name} {seconds:g} s" in text for name, seconds in PRESETS.items())
    *first, last = BACKENDS
    assert f"What runs the graph: {', '.join(first)} or {last}; auto chooses" in text
    for name in {device for backend in BACKENDS.values() for device in backend.devices}:
        assert re.search(rf"Where it computes: .*\b{name}\b", text)


def test_run_names_the_classes(build: Build, image: Path) -> None:
    built = build()
    result = invoke("run", built.path, image)
    assert result.exit_code == 0
    assert "image[1].png" in result.stdout
    assert sum(f" {name} " in result.stdout for name in CLASSES) == 3
    assert result.stdout.endswith(f"next: tks-edge profile {built.path}\n")


def test_run_gives_one_json_document(build: Build, image: Path) -> None:
    built = build()
    found = document(invoke("run", built.path, image, image, "--top-k", "2", "--json"))
    pixels = np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8)
    best = int(built.logits(pixels).argmax())
    assert [entry["image"] for entry in found["predictions"]] == [str(image)] * 2
    assert [len(entry["classes"]) for entry in found["predictions"]] == [2, 2]
    assert found["predictions"][0]["classes"][0]["index"] == best


def test_run_shows_all_classes_where_there_are_fewer(build: Build, image: Path) -> None:
    found = document(invoke("run", build().path, image, "--top-k", "99", "--json"))
    assert len(found["predictions"][0]["classes"]) == 4


def test_info_shows_the_manifest(build: Build) -> None:
    built = build()
    text = invoke("info", built.path).stdout
    for words in (
        "small",
        "2 (trained at 8)",
        "LIF: tau 2",
        "reset by subtraction",
        "80.00% (8 of 10)",
        "digits, test split",
    ):
        assert words in text
    assert document(invoke("info", built.path, "--json"))["manifest"]["timesteps"] == 2
    built.path.with_name(built.manifest.golden_file).unlink()
    assert "missing beside the artifact" in invoke("info", built.path).stdout


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_profile_measures_and_writes_the_trace(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setitem(PRESETS, "quick", 0.001)
    built, output = build(batch=2), tmp_path / "new" / "latency.json"
    result = invoke("profile", built.path, "--threads", "1", "--backend", backend, "--output", output)
    assert result.exit_code == 0, result.output
    for words in (
        "end to end",
        "compute",
        "p50",
        "throughput",
        "n/a (needs",
        "Single stream",
        f"written: {output}",
        "next: tks-edge report",
    ):
        assert words in result.stdout
    written = json.loads(output.read_text())
    assert written["batch_size"] == 2
    for name, part in (("e2e", "summary"), ("compute", "compute")):
        assert len(unpack(written["latency"]["traces"][name])) == written["latency"][part]["n"]
    assert len(written["device_states"]) >= 2
    assert (written["engine"]["library"], written["engine"]["threads"]) == (backend, "1")
    assert document(invoke("profile", built.path, "--json"))["engine"]["library"] == "onnxruntime"


def test_a_step_artifact_is_run_for_as_many_steps_as_asked(
    build_spiking: BuildSpiking, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build_spiking(timesteps=4)
    pixels = np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8)
    for asked, timesteps in (((), 4), (("--steps", "2"), 2)):
        found = document(invoke("run", built.path, image, "--top-k", "4", "--json", *asked))
        assert (found["form"], found["target"], found["timesteps"]) == ("step", "generic", timesteps)
        shifted = np.exp(built.mean(pixels, timesteps)[0].astype(np.float64))
        confidences = [entry["confidence"] for entry in found["predictions"][0]["classes"]]
        assert confidences == pytest.approx(sorted(shifted / shifted.sum(), reverse=True))
    fails(invoke("run", built.path, image, "--steps", "5"), 2, "steps is 5", "was exported for 1 to 4")
    fails(invoke("run", built.path, image, "--steps", "0"), 2, "steps is 0")


def test_a_static_artifact_is_not_run_for_other_steps(build: Build, image: Path) -> None:
    path = build(timesteps=2).path
    assert document(invoke("run", path, image, "--json", "--steps", "2"))["form"] == "static"
    fails(invoke("run", path, image, "--steps", "1"), 2, "static graph of T=2", "--form step")
    fails(invoke("profile", path, "--steps", "1"), 2, "static graph of T=2")


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_a_step_artifact_is_profiled_over_all_its_steps(
    build_spiking: BuildSpiking, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setitem(PRESETS, "quick", 0.001)
    path = build_spiking(timesteps=4, target="openvino").path
    text = invoke("profile", path, "--backend", backend, "--threads", "1").stdout
    assert ("warning: lowered for openvino and run by onnxruntime" in text) == (backend == "onnxruntime")
    assert "spiking, T=4, fp32 step openvino" in text
    assert "A step graph ran all its timesteps for each inference" in text
    found = document(invoke("profile", path, "--steps", "3", "--json", "--backend", backend))
    assert (found["precision"], found["form"], found["target"], found["timesteps"]) == ("fp32", "step", "openvino", 3)


def keep_rule(artifact: Path, rule: ExitRule, timesteps: int = 4) -> None:
    sha256 = sha256_of(artifact)
    chosen = CalibratedRule(
        sha256, rule.measure, rule.threshold, timesteps, "digits", "validation", 20, 0.5, 20, 19, 1.5
    )
    write_exit_rule(artifact, chosen)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_a_step_artifact_is_profiled_with_early_exit(
    build_spiking: BuildSpiking, monkeypatch: pytest.MonkeyPatch, backend: str, batch: int
) -> None:
    monkeypatch.setitem(PRESETS, "quick", 0.05)
    built, rule = build_spiking(batch=batch, samples=30), ExitRule("confidence", 0.5)
    keep_rule(built.path, rule)
    asked = ("profile", built.path, "--early-exit", "--backend", backend, "--threads", "1")
    text = invoke(*asked).stdout
    for words in ("spiking, T<=4, fp32 step", "confidence >= 0.5", "20 samples of digits, validation split", "p50"):
        assert words in text
    assert "With early exit a step graph ran from rest" in text
    assert "warning: latency" not in text
    found = document(invoke(*asked, "--json"))
    exits = found["early_exit"]
    with load(built.path, backend) as session, session.anytime(rule) as anytime:
        expected = anytime.evaluate()
    assert exits["stopped"] == list(expected.stopped)
    assert sum(count > 0 for count in exits["stopped"]) > 1
    assert (exits["correct"], exits["total"]) == (expected.correct, 30)
    assert exits["mean_steps"] == expected.mean_steps
    assert f"{expected.correct} of 30" in text
    assert exits["rule"]["threshold"] == 0.5
    assert document(invoke(*asked[:2], "--json"))["early_exit"] is None


def test_early_exit_needs_a_rule_that_fits(build_spiking: BuildSpiking, build: Build) -> None:
    path = build_spiking(timesteps=4).path
    fails(invoke("profile", path, "--early-exit"), 2, "no spiking-step-fp32.exit.json", "calibrate-exit", "--run RUN")
    fails(invoke("profile", build().path, "--early-exit"), 2, "static graph, which cannot stop", "--form step")
    keep_rule(path, ExitRule("margin", 0.5), timesteps=3)
    fails(invoke("profile", path, "--early-exit", "--steps", "2"), 2, "at most 3", "--timesteps 2")
    path = build_spiking(evaluation=None).path
    keep_rule(path, ExitRule("margin", 0.5))
    fails(invoke("profile", path, "--early-exit"), 2, "without an evaluation set")


def test_too_few_runs_for_the_mix_of_steps_are_mentioned() -> None:
    assert too_few_runs(10, 10) is None
    assert str(too_few_runs(9, 10)).startswith("9 runs are fewer than the 10 batches in rotation")


def test_info_shows_the_states_of_a_step_artifact(build_spiking: BuildSpiking) -> None:
    text = invoke("info", build_spiking(skipped_passes=("fold_batch_norm",)).path).stdout
    for words in (
        "step: one timestep, its 2 states as inputs and outputs",
        "state.body.1 to state.body.1.out: float32 [1, 16], 0 at first",
        "generic",
        "fold_batch_norm",
    ):
        assert words in text


def test_an_artifact_that_takes_no_images_says_so(build: Build, image: Path) -> None:
    path = build(preprocessing=None).path
    assert "none are taken" in invoke("info", path).stdout
    fails(invoke("run", path, image), 2, "this artifact takes uint8[1, 1, 8, 8]", "not image files")


def test_doctor_says_what_is_there() -> None:
    found = document(invoke("doctor", "--json"))
    assert found["backends"] == ["onnxruntime", "openvino"]
    assert {"Python", "numpy", "training", "disk"} <= {finding["subject"] for finding in found["findings"]}
    assert invoke("doctor").stdout.endswith("next: tks-edge report artifacts/\n")


@pytest.mark.parametrize("name", NAMES)
def test_doctor_examines_a_recorded_machine(name: str) -> None:
    found = document(invoke("doctor", "--root", tree(name), "--json"))
    assert found["refusal"] is None
    lines = invoke("doctor", "--root", tree(name)).stdout.splitlines()
    assert lines[-2:] == ["on that machine:", f"next: tks-edge {' '.join(found['next'])}"]


def test_doctor_refuses_a_board_that_is_out_of_scope_and_a_folder_that_is_not_there(tmp_path: Path) -> None:
    release = "# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref\n"
    refused = invoke("doctor", "--root", record(tmp_path, {"etc/nv_tegra_release": release}))
    assert refused.exit_code == 3
    assert "it is out of scope. Use an Orin or later." in refused.stderr
    assert "next:" not in refused.stdout
    fails(invoke("doctor", "--root", tmp_path / "none"), 2, "none is no folder", "--root")


def test_doctor_goes_on_with_a_backend_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert invoke("doctor").stdout.endswith("next: tks-edge report artifacts/ --backend openvino\n")


def test_doctor_without_a_backend_ends_with_3(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in BACKENDS:
        monkeypatch.setitem(sys.modules, name, None)
    result = invoke("doctor", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["backends"] == []
    assert "error: no backend can run on this machine. Install one: pip install onnxruntime" in result.stderr


def test_wrong_use_ends_with_2(build: Build, image: Path, tmp_path: Path) -> None:
    path = build().path
    (tmp_path / "no.png").write_text("no image")
    fails(invoke("info", tmp_path / "none.onnx"), 2, "none.onnx", "No such file")
    fails(invoke("info", image), 2, "is not an .onnx file")
    fails(invoke("run", path, tmp_path / "no.png"), 2, "no.png is not an image")
    fails(invoke("run", path, tmp_path / "none.png"), 2, "none.png", "No such file")
    fails(invoke("run", path, image, "--top-k", "0"), 2, "top_k is 0")
    fails(invoke("run", path, image, "--backend", "onnx"), 2, "unknown backend 'onnx'. Did you mean 'onnxruntime'?")
    fails(
        invoke("run", path, image, "--backend", "openvin"), 2, "'openvino'? Allowed: onnxruntime, openvino, tensorrt."
    )
    fails(invoke("run", path, image, "--threads", "0"), 2, "threads is 0")
    fails(invoke("profile", path, "--preset", "fast"), 2, "unknown preset 'fast'", "long, mlperf, quick, standard")
    assert invoke("run").exit_code == 2
    assert invoke("nonsense").exit_code == 2


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_a_missing_library_ends_with_3(
    build: Build, image: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    path = build().path
    monkeypatch.setitem(sys.modules, backend, None)
    fails(invoke("run", path, image, "--backend", backend), 3, f"pip install {backend}")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without an NVIDIA driver, whatever this one has; all else is real."""
    monkeypatch.setattr("tks_edge_runtime.machine.nvidia_driver", lambda *_: None)


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_gpu_that_is_not_there_ends_with_3_and_what_helps(
    build: Build, image: Path, tmp_path: Path, no_gpu: None, device: str
) -> None:
    path = build().path
    words = (f"cannot compute on the device {device} here: there is no NVIDIA driver", "install its driver")
    fails(invoke("run", path, image, "--device", device), 3, *words)
    fails(invoke("profile", path, "--device", device, "--cuda-graph"), 3, *words)
    fails(invoke("report", path.parent, "--device", device, "--output", tmp_path / "report"), 3, *words)
    assert not (tmp_path / "report").exists()


def test_devices_and_cuda_graphs_that_do_not_exist_end_with_2(build: Build, image: Path) -> None:
    path = build().path
    fails(invoke("run", path, image, "--device", "gpu"), 2, "unknown device of the backend onnxruntime 'gpu'")
    fails(invoke("run", path, image, "--cuda-graph"), 2, "no CUDA graphs on the device cpu", "--device cuda")
    fails(invoke("run", path, image, "--backend", "auto", "--device", "npu"), 2, "unknown device 'npu'")


INT8 = Precision("int8", "int8", "int8", "float32")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "backend: onnxruntime on cpu, since no NVIDIA GPU can be used here"),
        ({"precision": INT8}, "backend: openvino on cpu, since no NVIDIA GPU can be used here, and ONNX Runtime"),
        ({"target": "openvino"}, "backend: openvino on cpu, since the graph is lowered for openvino"),
    ],
)
def test_auto_chooses_and_says_what_and_why(
    build: Build, image: Path, monkeypatch: pytest.MonkeyPatch, no_gpu: None, changes: dict[str, Any], words: str
) -> None:
    monkeypatch.setitem(PRESETS, "quick", 0.001)
    path = build(**changes).path
    backend = words.split()[1]
    assert invoke("run", path, image, "--backend", "auto").stdout.startswith(words)
    found = document(invoke("run", path, image, "--backend", "auto", "--json"))
    assert (found["backend"], found["choice"]["backend"], found["choice"]["device"]) == (backend, backend, "cpu")
    assert f"since {found['choice']['reason']}" in invoke("run", path, image, "--backend", "auto").stdout
    found = document(invoke("profile", path, "--backend", "auto", "--json"))
    assert (found["engine"]["library"], found["choice"]["backend"]) == (backend, backend)


def test_what_auto_cannot_have_ends_with_3(build: Build, image: Path, no_gpu: None) -> None:
    path = build().path
    fails(
        invoke("run", path, image, "--backend", "auto", "--device", "cuda"), 3, "with the device cuda, cannot be met."
    )
    fails(invoke("run", path, image, "--backend", "auto", "--cuda-graph"), 3, "CUDA graphs", "no NVIDIA driver")


def test_one_backend_runs_a_folder_or_the_options_are_named(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_gpu: None
) -> None:
    monkeypatch.setitem(PRESETS, "quick", 0.001)
    build(timesteps=1)
    folder = build(timesteps=2, target="openvino").path.parent
    output = tmp_path / "report"
    found = document(invoke("report", folder, "--output", output, "--backend", "auto", "--device", "cpu", "--json"))
    assert [(one["name"], one["device"]) for one in found["backends"]] == [("openvino", "cpu")]
    assert found["command"].endswith("--preset quick --backend auto --device cpu")
    chosen = "backend: openvino on cpu, since the graph is lowered for openvino."
    assert found["method"][0] == chosen
    assert chosen in (output / "report.html").read_text(encoding="utf-8")
    build(timesteps=4, target="onnxruntime-cpu")
    fails(
        invoke("report", folder, "--output", output, "--backend", "auto"),
        2,
        "lowered for different engines",
        "--backend openvino",
        "--backend onnxruntime",
    )


def test_a_file_that_cannot_be_written_ends_with_2(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "quick", 0.1)
    fails(invoke("profile", build().path, "--output", "/dev/null"), 2, "/dev/null")


def test_a_fault_of_ours_ends_with_1_and_debug_shows_where(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("tks_edge_runtime.artifact.Artifact.open", fault)
    path = build().path
    fails(invoke("info", path), 1, "ZeroDivisionError: by zero", "--debug")
    assert "Traceback" in invoke("info", path, "--debug").stderr


def test_an_interrupt_ends_with_130(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tks_edge_runtime.artifact.Artifact.open", interrupt)
    fails(invoke("info", build().path), 130, "interrupted")


def test_the_program_runs_as_a_module_and_names_itself(build: Build) -> None:
    path = build().path
    command = [sys.executable, "-m", "tks_edge_runtime", "info", str(path)]
    folders = [str(Path(cli.__file__).parents[1])]
    environment = {"PYTHONPATH": ":".join(folders), "COLUMNS": "200"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.endswith(f"next: tks-edge-runtime profile {path}\n")
    result = subprocess.run([*command, "--json"], capture_output=True, text=True, env=environment, check=False)
    assert json.loads(result.stdout)["path"] == str(path)
    assert "next: tks-edge-runtime profile" in result.stderr
