"""What the Jetsons under tests/runtime/trees say of themselves, and boards that say something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.runtime.device.trees import copied, tree
from tests.runtime.recorded import record
from tks_edge_runtime.device import facts, jetpack, power_mode, state
from tks_edge_runtime.device.power_mode import PowerMode
from tks_edge_runtime.device.tree import Tree

BOARD = ("module", "system_on_chip", "l4t", "jetpack", "tensorrt", "cuda", "power_mode", "memory_clock_limit_mhz")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "orin-nano",
            (
                "Jetson Orin Nano 8GB (developer kit)",
                "tegra234",
                "36.5.0",
                "6.2.2",
                "10.3.0",
                "12.6.11",
                {"name": "15W", "id": 0},
                2133.0,
            ),
        ),
        (
            "orin-nx",
            (
                "Jetson Orin NX 16GB",
                "tegra234",
                "36.4.3",
                "6.2",
                "10.3.0",
                "12.6.11",
                {"name": "MAXN_SUPER", "id": 0},
                3199.0,
            ),
        ),
        (
            "thor",
            (
                "Jetson T5000 (AGX Thor developer kit)",
                "tegra264",
                "38.4.0",
                "7.1",
                "10.13.3",
                "13.0.48",
                {"name": "120W", "id": 1},
                4266.0,
            ),
        ),
    ],
)
def test_the_facts_of_a_board(name: str, expected: tuple[Any, ...]) -> None:
    found = facts(tree(name))
    assert tuple(found[key] for key in BOARD) == expected


def test_a_pc_has_none_of_these() -> None:
    assert not {"module", "l4t", "jetpack", "power_mode"} & set(facts(tree("x86-pc")))
    assert not {"power_mode", "over_current_counts", "rails_mw"} & set(state(tree("x86-pc")))


def test_the_state_of_an_orin() -> None:
    found = state(tree("orin-nx"))
    assert found["gpus"] == {"17000000.gpu": {"clock_mhz": 1173.0, "load_percent": 41.2}}
    assert found["rails_mw"] == {"VDD_IN": 13499.52, "VDD_CPU_GPU_CV": 5602.688, "VDD_SOC": 2879.488}
    assert found["rails_mv"] == {"VDD_IN": 18960, "VDD_CPU_GPU_CV": 18928, "VDD_SOC": 18944}
    assert found["over_current_counts"] == {"oc1": 0, "oc2": 0, "oc3": 4}
    assert (found["fan_rpm"], found["fan_pwm"]) == ({"pwm_tach": 3810}, {"pwmfan": 176})
    assert "cv0-thermal" not in found["temperatures_c"], "its part is switched off"
    assert set(found["slowed_by"].values()) == {0}
    assert not {"pwm-fan", "hot-surface-alert"} & set(found["slowed_by"]), "these slow nothing down"


def test_the_trip_point_that_only_warns_of_a_hot_surface_is_not_taken_for_throttling() -> None:
    margins = state(tree("orin-nano"))["thermal_margins_c"]
    assert margins["cpu-thermal"] == pytest.approx(99 - 48.531)
    assert "tj-thermal" not in margins, "it has no trip point at which something is slowed down"


def test_without_bound_devices_every_passive_trip_point_counts(tmp_path: Path) -> None:
    zone = "sys/class/thermal/thermal_zone0/"
    points = [
        ("passive", "-274000"),
        ("passive", "0"),
        ("active", "40000"),
        ("passive", "95000"),
        ("critical", "105000"),
    ]
    trips = {
        f"{zone}trip_point_{n}_{name}": text
        for n, pair in enumerate(points)
        for name, text in zip(("type", "temp"), pair, strict=True)
    }
    record(tmp_path, {f"{zone}type": "x86_pkg_temp", f"{zone}temp": "41000", **trips})
    assert state(tmp_path)["thermal_margins_c"] == {"x86_pkg_temp": 54.0}


def test_a_gpu_that_is_switched_off_has_no_clock_and_the_thors_input_comes_first() -> None:
    found = state(tree("thor"))
    assert found["gpus"]["gpu-gpc-0"] == {"clock_mhz": None, "load_percent": None}
    assert list(found["rails_mw"].items()) == [
        ("VIN", 23187.0),
        ("VDD_GPU", 0.0),
        ("VDD_CPU_SOC_MSS", 6515.6),
        ("VIN_SYS_5V0", 6521.472),
    ]
    assert found["memory_clock_mhz"] == 4266.0


@pytest.mark.parametrize(
    ("text", "l4t", "version"),
    [
        ("# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic", "36.4.3", "6.2"),
        ("# R39 (release), REVISION: 2, GCID: 1", "39.2.0", "7.2"),
        ("# R41 (release), REVISION: 1.0, GCID: 1", "41.1.0", None),
        ("# R36, REVISION: 4.3", None, None),
        ("R٣٦ (release), REVISION: 4.3", None, None),
    ],
    ids=["known", "without a patch", "of the future", "no release", "other digits"],
)
def test_the_release_of_jetson_linux(tmp_path: Path, text: str, l4t: str | None, version: str | None) -> None:
    found = facts(record(tmp_path, {"etc/nv_tegra_release": text}))
    assert (found["l4t"], found["jetpack"]) == (l4t, version)


def test_the_newest_tensorrt_library_counts_and_packages_only_where_there_is_none(tmp_path: Path) -> None:
    folder = "usr/lib/aarch64-linux-gnu/libnvinfer.so"
    package = "Package: libnvinfer10\nStatus: install ok installed\nVersion: 10.1.0.27-1+cuda12.4\n"
    removed = "Package: tensorrt\nStatus: deinstall ok config-files\nVersion: 10.9.0.1-1\n"
    other = "Package: nvidia-l4t-core\nStatus: install ok installed\nVersion: 36.4.3-1\n"
    record(tmp_path, {"var/lib/dpkg/status": "\n".join((other, removed, package))})
    assert jetpack.tensorrt(Tree(tmp_path)) == "10.1.0"
    record(tmp_path, {f"{folder}.10": "", f"{folder}.10.3.0": "", f"{folder}.10.13.3": ""})
    assert jetpack.tensorrt(Tree(tmp_path)) == "10.13.3"


@pytest.mark.parametrize(
    ("compatible", "module"),
    [
        ("nvidia,p3768-0000+p3767-0000-super\0nvidia,p3767-0000\0nvidia,tegra234\0", "Jetson Orin NX 16GB"),
        ("nvidia,p3737-0000+p3701-0005\0nvidia,p3701-0005\0nvidia,tegra234\0", "Jetson AGX Orin 64GB"),
        ("nvidia,p3449-0000-b00+p3448-0000-b00\0nvidia,jetson-nano\0nvidia,tegra210\0", "Jetson Nano"),
        ("nvidia,p9999-0000\0nvidia,tegra999\0", None),
    ],
)
def test_a_module_is_known_by_its_part_number(tmp_path: Path, compatible: str, module: str | None) -> None:
    assert facts(record(tmp_path, {"proc/device-tree/compatible": compatible}))["module"] == module


def test_the_id_of_the_fastest_mode_differs_between_boards() -> None:
    found = {name: power_mode.fastest(power_mode.modes(Tree(tree(name)))) for name in ("orin-nano", "orin-nx", "thor")}
    assert found == {
        "orin-nano": PowerMode("MAXN_SUPER", 2),
        "orin-nx": PowerMode("MAXN_SUPER", 0),
        "thor": PowerMode("MAXN", 0),
    }


def test_without_an_unlimited_mode_the_most_watts_are_fastest() -> None:
    modes = (PowerMode("MODE_15W", 1), PowerMode("MODE_40W", 4), PowerMode("MODE_25W", 3))
    assert power_mode.fastest(modes) == PowerMode("MODE_40W", 4)
    assert power_mode.fastest((PowerMode("QUIET", 1),)) is None
    assert power_mode.fastest(()) is None


def test_the_mode_comes_from_nvpmodels_own_file_where_it_does_not_answer(tmp_path: Path) -> None:
    root = copied("orin-nano", tmp_path)
    (root / power_mode.RECORDED).write_text("NVPM WARN: fan mode is not set!\nNV Power Mode: 25W\n1\n")
    assert facts(root)["power_mode"] == {"name": "25W", "id": 1}
    (root / power_mode.RECORDED).write_text("NVPM ERROR: failed\n")
    assert facts(root)["power_mode"] == {"name": "15W", "id": 0}
    (root / "etc/nvpmodel.conf").unlink()
    assert facts(root)["power_mode"] == {"name": None, "id": 0}
