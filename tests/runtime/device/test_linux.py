"""Facts and states of any Linux computer, from a recorded one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.runtime.device.trees import tree
from tests.runtime.recorded import FILES, record
from tks_edge_runtime.device import facts, state
from tks_edge_runtime.device.tree import Tree


def test_the_facts_of_a_recorded_machine(tmp_path: Path) -> None:
    found = facts(record(tmp_path))
    assert found == {
        "cpu": "Test CPU 9000",
        "board": None,
        "architecture": None,
        "cores_logical": 4,
        "cores_physical": 2,
        "cores_usable": None,
        "virtual_machine": False,
        "memory_bytes": 16_384_000_000,
        "swap_bytes": None,
        "os": "Test Linux 1",
        "kernel": "6.1.0-test",
        "python": None,
        "governors": ["performance", "powersave"],
        "turbo": True,
        "clock_limit_mhz": 4200.0,
    }


def test_the_state_of_a_recorded_machine(tmp_path: Path) -> None:
    found = state(record(tmp_path))
    del found["time"]
    assert found == {
        "load": [0.5, 0.4, 0.3],
        "memory_available_bytes": 8_192_000_000,
        "clock_mhz": {"min": 1000.0, "mean": 2500.0, "max": 4000.0},
        "governors": ["performance", "powersave"],
        "temperatures_c": {"x86_pkg_temp": 45.5, "acpitz": -3.0, "acpitz (thermal_zone2)": 30.0},
        "throttle_counts": {"core": 6, "package": 20},
    }


def test_clocks_come_from_cpuinfo_where_cpufreq_is_missing(tmp_path: Path) -> None:
    record(tmp_path, {"proc/cpuinfo": FILES["proc/cpuinfo"]})
    assert state(tmp_path)["clock_mhz"] == {"min": 1000.5, "mean": 1002.0, "max": 1003.5}


def test_what_cannot_be_read_is_none_and_never_an_error(tmp_path: Path) -> None:
    for found in (facts(tmp_path), state(tmp_path)):
        assert {name for name, value in found.items() if value is not None} <= {"time"}


@pytest.mark.parametrize("text", ["", "\0\0", "no number", "::::\n=\n", "é" * 99, "-", "1.2.3"])
def test_nonsense_in_any_file_is_no_error(tmp_path: Path, text: str) -> None:
    record(tmp_path, dict.fromkeys(FILES, text))
    json.dumps([facts(tmp_path), state(tmp_path)], allow_nan=False)


def test_this_machine_can_be_read() -> None:
    found = facts()
    json.dumps([found, state()], allow_nan=False)
    assert found["python"] is not None
    assert found["architecture"] is not None


def test_a_pc_and_an_arm_processor_are_named_by_what_they_have() -> None:
    pc, thor = facts(tree("x86-pc")), facts(tree("thor"))
    assert (pc["board"], pc["architecture"], pc["cores_physical"]) == ("ASUS PRIME H610M-K D4", "x86_64", 4)
    assert (thor["cpu"], thor["architecture"], thor["cores_logical"]) == ("Arm Neoverse V3AE", "aarch64", 14)


def test_numbers_are_sorted_by_their_size(tmp_path: Path) -> None:
    record(tmp_path, {f"sys/n/cpu{n}/x": "" for n in (10, 9, 1)})
    assert Tree(tmp_path).paths("sys/n/cpu*") == ["sys/n/cpu1", "sys/n/cpu9", "sys/n/cpu10"]


def test_a_file_of_the_kernels_is_read_anew_through_the_handle_that_stays_open(tmp_path: Path) -> None:
    record(tmp_path, {"proc/loadavg": "1 2 3", "sys/a": "5", "etc/b": "old", "sys/label": "VDD_IN"})
    machine = Tree(tmp_path)
    assert (machine.text("proc/loadavg"), machine.integer("sys/a"), machine.text("etc/b")) == ("1 2 3", 5, "old")
    assert machine.constant("sys/label") == "VDD_IN"
    (tmp_path / "proc/loadavg").write_text("4 5 6")
    (tmp_path / "sys/a").write_text("-7\n")
    (tmp_path / "sys/label").write_text("other")
    # What is not the kernel's may be replaced: the handle to the old file would show the old text.
    (tmp_path / "etc/b.new").write_text("new")
    (tmp_path / "etc/b.new").rename(tmp_path / "etc/b")
    assert (machine.text("proc/loadavg"), machine.integer("sys/a"), machine.text("etc/b")) == ("4 5 6", -7, "new")
    assert machine.constant("sys/label") == "VDD_IN"
    machine.close()
    assert machine.integer("sys/a") == -7


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "sys/folder").mkdir(parents=True)
    os.mkfifo(tmp_path / "sys/pipe")
    machine = Tree(tmp_path)
    assert [machine.text(f"sys/{name}") for name in ("folder", "pipe", "missing", "\0")] == [None] * 4
