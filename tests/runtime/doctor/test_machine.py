"""What doctor finds on a recorded machine, and the advice that fits that kind of machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.runtime.device.trees import copied, tree
from tests.runtime.recorded import record
from tks_edge_runtime.doctor import Finding, examine


def findings(root: Path) -> dict[str, Finding]:
    return {finding.subject: finding for finding in examine(root).findings}


def test_a_recorded_pc(tmp_path: Path) -> None:
    found = findings(record(tmp_path))
    assert found["processor"] == Finding("processor", "ok", "Test CPU 9000 (-), 2 cores, 4 threads")
    assert found["memory"].found == "8.2 of 16.4 GB available"
    assert found["load"].status == "ok"
    assert not {"Python", "tks-edge", "training", "disk"} & set(found), "these are not that machine's"


def test_a_recorded_tree_has_no_backends_of_its_own() -> None:
    examination = examine(tree("x86-pc"))
    assert (examination.backends, examination.devices) == ((), {})
    assert examination.facts["python"] is None


def test_a_governor_that_follows_the_load_is_warned_of(tmp_path: Path) -> None:
    governor = findings(record(tmp_path))["CPU governor"]
    assert (governor.status, governor.found) == ("warning", "performance, powersave")
    assert "cpupower frequency-set -g performance" in str(governor.advice)


def test_a_busy_machine_is_warned_of(tmp_path: Path) -> None:
    (record(tmp_path) / "proc/loadavg").write_text("3.9 1 1 1/1 1\n")
    assert findings(tmp_path)["load"].status == "warning"


def test_a_machine_that_says_nothing_is_no_error(tmp_path: Path) -> None:
    found = findings(tmp_path)
    assert {found[name].status for name in ("CPU governor", "load", "memory", "swap", "GPU", "energy")} == {"absent"}


EXPECTED = {
    "orin-nano": (
        {
            "board": "Orin Nano 8GB",
            "JetPack": "6.2.2, L4T 36.5.0",
            "TensorRT": "10.3.0",
            "CUDA": "12.6",
            "power mode": "15W (id 0)",
            "memory": "5.6 of 8.0 GB available",
            "swap": "4.0 GB",
            "tensorrt on the GPU": "TensorRT 10.3.0",
        },
        ("build", "artifacts/NAME.onnx", "--low-memory"),
    ),
    "orin-nx": (
        {
            "board": "Orin NX 16GB",
            "JetPack": "6.2, L4T 36.4.3",
            "TensorRT": "10.3.0",
            "power mode": "MAXN_SUPER (id 0)",
            "memory": "13.5 of 16.4 GB available",
            "tensorrt on the GPU": "TensorRT 10.3.0",
        },
        ("report", "artifacts/", "--backend", "tensorrt"),
    ),
    "thor": (
        {
            "board": "T5000",
            "JetPack": "7.1, L4T 38.4.0",
            "TensorRT": "10.13.3",
            "power mode": "120W (id 1)",
            "memory": "124.6 of 131.9 GB available",
            "GPU": "NVIDIA Thor",
            "energy": "board input VIN, not wall",
        },
        ("report", "artifacts/", "--backend", "tensorrt"),
    ),
    "x86-pc": (
        {
            "board": "ASUS PRIME H610M-K D4",
            "GPU": "NVIDIA GeForce RTX 3060, driver 570.133.07",
            "memory": "28.8 of 33.5 GB available",
            "onnxruntime on cpu": "can run",
            "tensorrt on the GPU": "no TensorRT",
        },
        ("report", "artifacts/"),
    ),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_each_recorded_machine_is_told_what_it_is_and_what_comes_next(name: str) -> None:
    examination = examine(tree(name))
    found = {finding.subject: finding.found for finding in examination.findings}
    texts, command = EXPECTED[name]
    for subject, text in texts.items():
        assert text in found[subject]
    assert examination.next == command


def test_the_advice_is_the_command_for_that_board(tmp_path: Path) -> None:
    nano, nx, thor = (findings(tree(name)) for name in ("orin-nano", "orin-nx", "thor"))
    assert nano["power mode"].advice == "the fastest is MAXN_SUPER: sudo nvpmodel -m 2, then sudo jetson_clocks"
    assert thor["power mode"].advice == "the fastest is MAXN: sudo nvpmodel -m 0, then sudo jetson_clocks"
    assert (nx["power mode"].advice, nx["clocks"].status) == (None, "ok")
    assert "sudo jetson_clocks" in str(nano["clocks"].advice)
    assert "--low-memory" in str(nano["memory"].advice)
    assert nx["memory"].advice is None
    assert not any("cpupower" in str(finding.advice) for finding in nano.values()), "a Jetson has jetson_clocks"
    meminfo = copied("orin-nano", tmp_path) / "proc/meminfo"
    meminfo.write_text(meminfo.read_text().replace("SwapTotal:       3894976", "SwapTotal:       0"))
    swap = findings(tmp_path / "orin-nano")["swap"]
    assert swap.status == "warning"
    assert "sudo swapon /swapfile" in str(swap.advice)


def test_an_unknown_release_and_what_is_not_installed_are_dashes(tmp_path: Path) -> None:
    root = copied("orin-nx", tmp_path)
    (root / "etc/nv_tegra_release").write_text("# R41 (release), REVISION: 1.0, GCID: 1\n")
    (root / "var/lib/dpkg/status").unlink()
    (root / "usr/local/cuda/version.json").unlink()
    examination = examine(root)
    found = {finding.subject: finding for finding in examination.findings}
    assert examination.refusal is None
    assert found["JetPack"].found == "of unknown version, L4T 41.1.0"
    assert (found["TensorRT"].status, found["TensorRT"].advice) == ("absent", "sudo apt install nvidia-jetpack")
    assert found["CUDA"].status == "absent"
    assert examination.next == ("report", "artifacts/")


def test_a_tensorrt_that_is_too_old_is_named(tmp_path: Path) -> None:
    root = copied("orin-nano", tmp_path)
    library = root / "usr/lib/aarch64-linux-gnu/libnvinfer.so.10.3.0"
    library.rename(library.with_name("libnvinfer.so.8.6.2"))
    found = findings(root)
    assert (found["TensorRT"].status, found["TensorRT"].found) == ("warning", "8.6.2")
    assert found["tensorrt on the GPU"].found == "TensorRT 8.6.2 is older than 10.3"


NANO = {
    "proc/device-tree/model": "NVIDIA Jetson Nano Developer Kit\0",
    "proc/device-tree/compatible": "nvidia,p3449-0000-b00+p3448-0000-b00\0nvidia,jetson-nano\0nvidia,tegra210\0",
    "etc/nv_tegra_release": "# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref, EABI: aarch64\n",
}
ORIN_WITH_JETPACK_5 = {
    "proc/device-tree/compatible": "nvidia,p3737-0000+p3701-0005\0nvidia,tegra234\0",
    "etc/nv_tegra_release": "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64\n",
}


def test_an_original_nano_is_out_of_scope_and_is_told_so(tmp_path: Path) -> None:
    examination = examine(record(tmp_path, NANO))
    found = {finding.subject: finding for finding in examination.findings}
    assert (found["JetPack"].status, found["JetPack"].found) == ("missing", "JetPack 4.6.1 (L4T 32.7.1)")
    assert examination.refusal == found["JetPack"].advice
    assert "Jetson Nano has no JetPack later than 5" in str(examination.refusal)
    assert "out of scope" in str(examination.refusal)
    assert examination.next == ()


def test_jetpack_5_on_an_orin_is_told_to_be_flashed(tmp_path: Path) -> None:
    refusal = examine(record(tmp_path, ORIN_WITH_JETPACK_5)).refusal
    assert "Jetson AGX Orin 64GB runs JetPack 5.1.2 (L4T 35.4.1)" in str(refusal)
    assert "needs JetPack 6.1 or later" in str(refusal)
    assert "https://developer.nvidia.com/embedded/jetpack" in str(refusal)


def test_a_counter_that_only_root_may_read_says_how_to_open_it(tmp_path: Path) -> None:
    counter = "sys/class/powercap/intel-rapl:0/energy_uj"
    energy = findings(record(tmp_path, {counter: "", "sys/class/powercap/intel-rapl:0/name": "package-0"}))["energy"]
    assert energy.status == "absent"
    assert f"sudo chmod a+r /{counter}" in str(energy.advice)


def test_the_gpu_of_this_machine_is_looked_for_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    found = {finding.subject: finding for finding in examine().findings}
    assert found["GPU"].status in ("ok", "absent")
