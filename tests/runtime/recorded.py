"""A recorded machine: the files of /proc and /sys that a two-core laptop with four threads shows."""

from __future__ import annotations

from pathlib import Path

CPUINFO = "".join(
    f"processor\t: {n}\nmodel name\t: Test CPU 9000\ncpu MHz\t\t: {1000 + n}.500\nflags\t\t: fpu sse2\n\n"
    for n in range(4)
)

FILES = {
    "proc/cpuinfo": CPUINFO,
    "proc/meminfo": "MemTotal:       16000000 kB\nMemFree:  1 kB\nMemAvailable:    8000000 kB\n",
    "proc/loadavg": "0.50 0.40 0.30 1/234 5678\n",
    "proc/sys/kernel/osrelease": "6.1.0-test\n",
    "etc/os-release": 'NAME="Test"\nPRETTY_NAME="Test Linux 1"\n',
    "sys/devices/system/cpu/intel_pstate/no_turbo": "0\n",
    "sys/class/thermal/thermal_zone0/type": "x86_pkg_temp\n",
    "sys/class/thermal/thermal_zone0/temp": "45500\n",
    "sys/class/thermal/thermal_zone1/type": "acpitz\n",
    "sys/class/thermal/thermal_zone1/temp": "-3000\n",
    "sys/class/thermal/thermal_zone2/type": "acpitz\n",
    "sys/class/thermal/thermal_zone2/temp": "30000\n",
} | {
    f"sys/devices/system/cpu/cpu{n}/{name}": text
    for n in range(4)
    for name, text in {
        "cpufreq/scaling_cur_freq": f"{1000000 * (n + 1)}\n",
        "cpufreq/scaling_max_freq": "4200000\n",
        "cpufreq/scaling_governor": "powersave\n" if n else "performance\n",
        "topology/thread_siblings_list": f"{n % 2},{n % 2 + 2}\n",
        "thermal_throttle/core_throttle_count": f"{n}\n",
        "thermal_throttle/package_throttle_count": "5\n",
    }.items()
}


def record(root: Path, files: dict[str, str] = FILES) -> Path:
    """Write the files below `root`, and return it."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root
