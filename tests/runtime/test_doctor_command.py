"""`doctor`: what is here, what of a recorded machine, and how it ends."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from tests.runtime.command_line import document, fails, invoke
from tests.runtime.device.trees import NAMES, tree
from tests.runtime.recorded import record
from tks_edge_runtime.backends import BACKENDS


def test_doctor_says_what_is_there() -> None:
    found = document(invoke("doctor", "--json"))
    assert found["backends"] == ["onnxruntime", "openvino"]
    assert {"Python", "numpy", "training", "disk"} <= {finding["subject"] for finding in found["findings"]}
    assert invoke("doctor").stdout.endswith("next: tks-edge report artifacts/\n")


def test_the_advice_stands_below_what_was_found_and_no_word_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    lines = invoke("doctor", columns=80).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    (place,) = (at for at, line in enumerate(lines) if re.match(r"(-|missing) +onnxruntime on cpu +", line))
    below = " ".join(" ".join(lines[place + 1 : place + 5]).split())
    assert "pip install onnxruntime" in below


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
