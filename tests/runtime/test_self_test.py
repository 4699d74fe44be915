"""`self-test`: every artifact of a folder against its golden pair."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.runtime.command_line import document, fails, invoke
from tests.runtime.conftest import CPU_BACKENDS, Build


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_every_artifact_of_a_folder_is_tested(build: Build, backend: str) -> None:
    build(timesteps=1)
    folder = build(timesteps=2).path.parent
    found = document(invoke("self-test", folder, "--backend", backend, "--json"))
    assert [(row["file"], row["passed"]) for row in found["artifacts"]] == [
        ("small-t1-fp32.onnx", True),
        ("small-t2-fp32.onnx", True),
    ]
    assert (found["backend"], found["device"]) == (backend, "cpu")
    assert "passed" in invoke("self-test", folder, "--backend", backend).stdout


def test_auto_chooses_one_engine_for_all_and_a_device_is_honoured(build: Build, no_gpu: None) -> None:
    build(timesteps=1)
    folder = build(timesteps=2, target="openvino").path.parent
    found = document(invoke("self-test", folder, "--backend", "auto", "--json"))
    assert (found["backend"], found["device"], len(found["artifacts"])) == ("openvino", "cpu", 2)
    said = invoke("self-test", folder, "--backend", "auto").stdout
    assert "backend: openvino on cpu, since the graph is lowered for openvino" in said
    fails(invoke("self-test", folder, "--device", "cuda"), 3, "cannot compute on the device cuda here")
    fails(invoke("self-test", folder, "--device", "npu"), 2, "unknown device of the backend onnxruntime 'npu'")


def test_one_that_computes_something_else_fails_and_the_others_are_tested(build: Build) -> None:
    first, second = build(timesteps=1), build(timesteps=2)
    golden = first.path.with_name(first.manifest.golden_file)
    with np.load(golden) as pair:
        np.savez(golden, input=pair["input"], logits=pair["logits"] + 1)
    result = invoke("self-test", first.path.parent, "--json")
    assert result.exit_code == 1
    assert "the self-test failed for small-t1-fp32.onnx" in result.stderr
    rows = json.loads(result.stdout)["artifacts"]
    assert {row["file"]: row["passed"] for row in rows} == {first.path.name: False, second.path.name: True}
    assert rows[0]["max_difference"] == pytest.approx(1, rel=1e-5)
    golden.unlink()
    fails(invoke("self-test", first.path.parent), 2, "small-t1-fp32.golden.npz is missing")
