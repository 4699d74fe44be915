"""Frames on disk: made once, by whoever comes first, and made anew when they are damaged or outdated."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.tks_edge.event_writers import random_events, write_npz
from tks_edge.data.event_files import read_recording
from tks_edge.data.event_frames import Cutter
from tks_edge.data.frame_cache import FOLDER_VARIABLE, FrameCache, Frames, cache_folder
from tks_edge_runtime.errors import InputError, MissingError

_CUTTER = Cutter(4, "time", 16)


class Made:
    """Cuts a recording, and counts how often."""

    def __init__(self, source: Path, cutter: Cutter = _CUTTER) -> None:
        self.source = source
        self.cutter = cutter
        self.times = 0

    def __call__(self) -> Frames:
        self.times += 1
        return self.cutter.frames(read_recording(self.source).events, 128, 128)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "set" / "a" / "0.npz"
    write_npz(path, random_events(0))
    return path


def cache(root: Path, cutter: Cutter = _CUTTER, made: str = "") -> FrameCache:
    return FrameCache(root / ".frames", root, cutter, made)


def kept(root: Path) -> list[Path]:
    return [path for path in (root / ".frames").rglob("*") if path.is_file()]


def test_frames_are_made_once_and_the_same(source: Path) -> None:
    root = source.parents[1]
    make = Made(source)
    first = cache(root).get(source, make)
    again = cache(root).get(source, make)
    assert make.times == 1
    assert np.array_equal(first, again)
    assert [path.relative_to(root).as_posix() for path in kept(root)] == [".frames/t4-time-16/a/0.npz.npy.zst"]


@pytest.mark.parametrize(
    "damaged",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content[:40],
        lambda content: content[:60] + bytes([content[60] ^ 1]) + content[61:],
        lambda content: b"x" * len(content),
    ],
)
def test_a_damaged_file_is_made_anew(damaged: Callable[[bytes], bytes], source: Path) -> None:
    root = source.parents[1]
    make = Made(source)
    right = cache(root).get(source, make)
    (path,) = kept(root)
    path.write_bytes(damaged(path.read_bytes()))
    assert np.array_equal(cache(root).get(source, make), right)
    assert make.times == 2
    cache(root).get(source, make)
    assert make.times == 2


def test_a_recording_that_changed_is_cut_anew(source: Path) -> None:
    root = source.parents[1]
    make = Made(source)
    cache(root).get(source, make)
    write_npz(source, random_events(1))
    os.utime(source, (1, 1))
    frames = cache(root).get(source, make)
    assert make.times == 2
    assert np.array_equal(frames, _CUTTER.frames(random_events(1), 128, 128))
    assert len(kept(root)) == 1


@pytest.mark.parametrize(
    ("cutter", "made"),
    [
        (Cutter(2, "time", 16), ""),
        (Cutter(4, "events", 16), ""),
        (Cutter(4, "time", 8), ""),
        (_CUTTER, "a larger sensor"),
    ],
)
def test_frames_cut_in_another_way_are_not_taken(cutter: Cutter, made: str, source: Path) -> None:
    root = source.parents[1]
    cache(root).get(source, Made(source))
    make = Made(source, cutter)
    assert cache(root, cutter, made).get(source, make).shape == (cutter.timesteps, 2, *[cutter.image_size] * 2)
    assert make.times == 1


_WORKER = """
import hashlib, sys
from pathlib import Path
from tests.tks_edge.test_frame_cache import Made, cache
root = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
digest = hashlib.sha256()
for source in sorted(root.glob("a/*.npz")):
    for _ in range(3):
        digest.update(cache(root).get(source, Made(source)).tobytes())
print(digest.hexdigest())
"""


def test_processes_that_start_at_once_get_the_same(source: Path) -> None:
    root = source.parents[1]
    for index in range(1, 12):
        write_npz(source.with_name(f"{index}.npz"), random_events(index))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(3)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    results = [worker.communicate("go\n")[0] for worker in workers]
    assert len(set(results)) == 1
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert len(kept(root)) == 12


def test_the_room_is_said_before_and_too_little_is_refused(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = source.parents[1]
    said = cache(root).check_room([source])
    assert said is not None
    assert "frames of 1 recordings will be kept in" in said
    assert "at most 0.0 MB" in said
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 4096))
    with pytest.raises(MissingError, match=r"0\.0 MB are free.*\$TKS_EDGE_FRAMES"):
        cache(root).check_room([source])
    cache(root).get(source, Made(source))
    assert cache(root).check_room([source]) is None


def test_a_recording_that_is_gone_is_named(source: Path) -> None:
    root = source.parents[1]
    make = Made(source)
    source.unlink()
    with pytest.raises(InputError, match=r"cannot read .*0\.npz"):
        cache(root).get(source, make)


def test_where_the_frames_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    assert cache_folder(tmp_path) == tmp_path / ".tks-edge-frames"
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    below = cache_folder(tmp_path)
    assert below.parent == tmp_path / "cache" / "tks-edge" / "frames"
    assert below != cache_folder(tmp_path / "other")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "mine"))
    assert cache_folder(tmp_path) == tmp_path / "mine"
