"""The cache of engines: what is used again, what is not and why, and several processes at once (real ones)."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.conftest import Build
from tests.runtime.fake_gpu import FakeGpu
from tks_edge_runtime.engine_build import BuildOptions, build_engine, find_engine, read_engine
from tks_edge_runtime.engine_build.cache import cache_folder
from tks_edge_runtime.errors import ArtifactError, InputError
from tks_edge_runtime.session import load

ROOT = Path(__file__).parents[2]


def test_a_second_build_takes_the_first_ones_engine(gpu: FakeGpu, build: Build) -> None:
    path = build().path
    first, second = build_engine(path), build_engine(path)
    assert second == dataclasses.replace(first, reused=True)
    assert gpu.trt.builds == 1
    assert not build_engine(path, force=True).reused
    assert gpu.trt.builds == 2


def test_loading_builds_once_and_tells(gpu: FakeGpu, build: Build) -> None:
    told: list[str] = []
    path = build().path
    for _ in range(2):
        load(path, "tensorrt", on_build=lambda what, done: told.append(what)).close()
    assert gpu.trt.builds == 1
    assert set(told) == {f"building {path.name}", f"checking {path.name}"}


def test_loading_takes_the_engine_that_was_built_last_whatever_its_options(gpu: FakeGpu, build: Build) -> None:
    path = build().path
    small = build_engine(path, BuildOptions(low_memory=True))
    assert find_engine(path) == dataclasses.replace(small, reused=True)
    with load(path, "tensorrt") as session:
        assert session.describe()["engine"] == small.path.name
    assert gpu.trt.builds == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda gpu: setattr(gpu.trt, "__version__", "10.16.1"),
            "built for TensorRT 10.3.0; this is TensorRT 10.16.1:",
        ),
        (lambda gpu: setattr(gpu.cuda.properties, "name", b"Orin NX"), "built for FakeGPU Orin; this is Orin NX: an"),
        (
            lambda gpu: setattr(gpu.cuda.properties, "minor", 9),
            "for compute capability 8.7; this is compute capability",
        ),
        (lambda gpu: setattr(gpu.cuda.properties, "multiProcessorCount", 4), "for 8 multiprocessors; this is 4 multip"),
        (
            lambda gpu: setattr(gpu.cuda, "driver", 13000),
            "for driver for CUDA 12.6; this is driver for CUDA 13.0: what",
        ),
    ],
)
def test_another_machine_is_told_and_builds_its_own(
    gpu: FakeGpu, build: Build, change: Callable[[FakeGpu], None], words: str
) -> None:
    path = build().path
    build_engine(path)
    change(gpu)
    assert find_engine(path) is None
    engine = build_engine(path)
    assert not engine.reused
    assert words in engine.notes[0]
    assert engine.notes[0].endswith("; rebuilding.")
    # The other machine's engine stays: the folder may be shared.
    assert len(gpu.engines()) == 2
    again = build_engine(path)
    assert (again.reused, again.notes) == (True, ())


def test_another_file_of_the_same_name_is_told(gpu: FakeGpu, build: Build) -> None:
    old = build_engine(build(passes=("one",)).path)
    engine = build_engine(build(passes=("two",)).path)
    assert "was built for the .onnx file " in engine.notes[0]
    assert "the file was exported anew; rebuilding." in engine.notes[0]
    assert engine.path != old.path


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda engine: damage(engine.path), "is damaged: its bytes are not those that were built"),
        (lambda engine: engine.path.write_bytes(engine.path.read_bytes()[:-1]), "is damaged"),
        (lambda engine: engine.path.write_bytes(b""), "is damaged"),
        (lambda engine: engine.path.write_bytes(b"a foreign engine"), "is damaged"),
        (lambda engine: engine.sidecar.unlink(), "beside it: who made it is not known"),
        (lambda engine: engine.sidecar.write_text("{"), "has a damaged"),
        (lambda engine: engine.sidecar.write_text("{}"), "has a damaged"),
        (lambda engine: edit(engine.sidecar, tensorrt="10.16.1"), "contradicts itself"),
    ],
)
def test_what_is_not_the_engine_that_was_built_is_never_loaded(
    gpu: FakeGpu, build: Build, spoil: Callable[[Any], None], words: str
) -> None:
    path = build().path
    engine = build_engine(path)
    good = engine.path.read_bytes()
    spoil(engine)
    assert find_engine(path) is None
    with pytest.raises(ArtifactError, match="was changed since it was looked up, and is not loaded"):
        read_engine(engine)
    again = build_engine(path)
    assert not again.reused
    assert words in again.notes[0]
    assert again.path.read_bytes() == good
    assert build_engine(path).reused


def edit(sidecar: Path, **origin: Any) -> None:
    document = json.loads(sidecar.read_text())
    document["origin"].update(origin)
    sidecar.write_text(json.dumps(document))


def test_an_engine_under_anothers_name_is_rebuilt(gpu: FakeGpu, build: Build) -> None:
    path = build().path
    ordinary, small = build_engine(path), build_engine(path, BuildOptions(low_memory=True))
    for target, source in ((ordinary.path, small.path), (ordinary.sidecar, small.sidecar)):
        target.write_bytes(source.read_bytes())
    again = build_engine(path)
    assert f"{ordinary.path.name} was built for low_memory True; this is low_memory False" in again.notes[0]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_an_engine_of_another_user_is_not_loaded(gpu: FakeGpu, build: Build) -> None:
    path = build().path
    os.chown(build_engine(path).path, 12345, -1)
    assert "belongs to another user" in build_engine(path).notes[0]


def test_the_folder_is_where_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TKS_EDGE_CACHE", "/some/where")
    assert cache_folder() == Path("/some/where")
    monkeypatch.delenv("TKS_EDGE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder() == Path("/caches/tks-edge/engines")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder() == Path("/home/somebody/.cache/tks-edge/engines")


def test_a_folder_that_cannot_be_written_to_is_named(
    gpu: FakeGpu, build: Build, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TKS_EDGE_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="Set TKS_EDGE_CACHE to a folder that can be written to"):
        build_engine(build().path)


def test_others_cannot_look_into_the_folder(gpu: FakeGpu, build: Build) -> None:
    build_engine(build().path)
    assert gpu.cache.stat().st_mode & 0o077 == 0


# A process that builds as slowly as the file `hold` lets it.
BUILDER = """
import sys, time
from pathlib import Path
import pytest
from tests.runtime.fake_gpu import fake_gpu
from tks_edge_runtime.engine_build import build_engine

path, cache, inside, hold = (Path(argument) for argument in sys.argv[1:])

def step():
    inside.touch()
    while hold.exists():
        time.sleep(0.01)

with fake_gpu(pytest.MonkeyPatch(), cache) as gpu:
    gpu.trt.on_step = step
    waiting = inside.with_name(inside.name.replace("inside", "waiting"))
    engine = build_engine(path, on_progress=lambda what, done: waiting.touch() if "waiting" in what else None)
    print(gpu.trt.builds, engine.reused, waiting.exists(), engine.path, flush=True)
"""


@dataclasses.dataclass
class Builders:
    """Processes that build the same artifact into the same cache."""

    path: Path
    folder: Path

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def start(self, name: str, *, held: bool = False) -> subprocess.Popen[str]:
        inside, hold = self.folder / f"{name}-inside", self.folder / f"{name}-hold"
        if held:
            hold.touch()
        command = [sys.executable, "-c", BUILDER, str(self.path), str(self.cache), str(inside), str(hold)]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'runtime'}"}
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    def wait_for(self, name: str) -> None:
        deadline = time.monotonic() + 60
        while not (self.folder / name).exists():
            assert time.monotonic() < deadline, f"{name} never came"
            time.sleep(0.01)

    def release(self, name: str) -> None:
        (self.folder / f"{name}-hold").unlink()


@pytest.fixture
def builders(build: Build, tmp_path: Path) -> Builders:
    return Builders(build().path, tmp_path)


def finished(process: subprocess.Popen[str]) -> list[str]:
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return text.split()


def test_of_two_processes_the_second_waits_and_takes_the_firsts_engine(builders: Builders) -> None:
    first = builders.start("first", held=True)
    builders.wait_for("first-inside")
    second = builders.start("second")
    builders.wait_for("second-waiting")
    builders.release("first")
    built, taken = finished(first), finished(second)
    assert built[:3] == ["1", "False", "False"]
    assert taken[:3] == ["0", "True", "True"]
    assert built[3] == taken[3]
    assert len(list(builders.cache.glob("*.engine"))) == 1


def test_a_builder_that_is_killed_blocks_nobody_and_leaves_nothing(builders: Builders) -> None:
    killed = builders.start("killed", held=True)
    builders.wait_for("killed-inside")
    killed.send_signal(signal.SIGKILL)
    assert killed.wait(60) == -signal.SIGKILL
    assert killed.stdout is not None
    killed.stdout.close()
    # As if it had died while it wrote: `replacing` names its temporary file so.
    stem = next(builders.cache.glob("small*.lock")).stem
    (builders.cache / f".{stem}-abc.partial.engine").write_bytes(b"half")
    assert finished(builders.start("next"))[:3] == ["1", "False", "False"]
    assert not list(builders.cache.glob(".*"))
    assert finished(builders.start("last"))[:3] == ["0", "True", "False"]
