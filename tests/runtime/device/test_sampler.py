"""The sampler: snapshots from before, during and after, and every change it is there to see."""

from __future__ import annotations

import time
from pathlib import Path

from tests.runtime.device.trees import copied
from tests.runtime.recorded import record
from tks_edge_runtime.device import Sampler, instabilities


def test_the_sampler_has_a_state_from_before_during_and_after(tmp_path: Path) -> None:
    record(tmp_path)
    with Sampler(tmp_path, period=0.001) as sampler:
        before = sampler.states[0]["time"]
        while len(sampler.states) < 4:
            time.sleep(0.001)
        sampler.snapshot()
        seen = len(sampler.states)
    assert len(sampler.states) > seen
    times = [s["time"] for s in sampler.states]
    assert len(sampler.between(before, max(times))) == len(times)
    assert sampler.between(max(times) + 1, max(times) + 2) == []


def test_it_sees_a_jetson_slow_down_through_the_handles_it_holds(tmp_path: Path) -> None:
    root = copied("orin-nx", tmp_path)
    with Sampler(root, period=60) as sampler:
        (root / "sys/class/devfreq/17000000.gpu/cur_freq").write_text("612000000\n")
        (root / "sys/class/hwmon/hwmon5/oc3_event_cnt").write_text("9\n")
        (root / "sys/class/thermal/cooling_device4/cur_state").write_text("1\n")
        (root / "sys/class/thermal/thermal_zone1/temp").write_text("98000\n")
        # nvpmodel replaces its file.
        (root / "var/lib/nvpmodel/new").write_text("pmode:0002 fmode:fan_mode_cool\n")
        (root / "var/lib/nvpmodel/new").rename(root / "var/lib/nvpmodel/status")
        sampler.snapshot()
    assert instabilities(sampler.states) == [
        "the clock of GPU 17000000.gpu fell from 1173 to 612 MHz",
        "the board's over-current protection fired: oc3 5 times",
        "heat slowed the machine down: cpu-throttle-alert went from 0 to 1",
        "gpu-thermal came within 1.0 °C of where the kernel slows the machine down",
        "the power mode changed: 0 to 2",
    ]
