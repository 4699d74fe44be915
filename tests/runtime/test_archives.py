"""Archives beside an artifact: nothing is unpacked that does not have the shape it must have."""

from __future__ import annotations

import os
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.conftest import Build
from tks_edge_runtime import archives
from tks_edge_runtime.archives import read_arrays
from tks_edge_runtime.artifact import Artifact
from tks_edge_runtime.errors import ArtifactError, MissingError

SHAPES = {"a": (2, 3), "b": (4,)}


def write(path: Path, **arrays: np.ndarray) -> Path:
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    return path


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    a, b = np.arange(6, dtype=np.uint8).reshape(2, 3), np.linspace(0, 1, 4)
    found = read_arrays(write(tmp_path / "x.npz", a=a, b=b), SHAPES)
    np.testing.assert_array_equal(found["a"], a)
    np.testing.assert_array_equal(found["b"], b)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((3, 2)), r"a has the shape \[3, 2\], not \[2, 3\]"),
        (np.zeros((2, 3, 1)), r"a has the shape \[2, 3, 1\]"),
        (np.zeros((2, 3), np.complex64), "a is complex64, which are no numbers"),
        (np.zeros((2, 3), "U5"), "which are no numbers"),
        (np.zeros((2, 3), [("x", "u1")]), "which are no numbers"),
        (np.full((2, 3), np.nan), "a holds numbers that are not finite"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, wrong: np.ndarray, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        read_arrays(write(tmp_path / "x.npz", a=wrong, b=np.zeros(4)), SHAPES)
    with pytest.raises(ArtifactError, match="damaged"):
        read_arrays(write(tmp_path / "x.npz", a=np.zeros((2, 3))), SHAPES)


def bomb(path: Path, shape: tuple[int, ...]) -> None:
    """64 MiB of zeros in 64 KiB, behind a header that says that they have this shape."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(1 << 26))


@pytest.mark.parametrize("shape", [(1 << 26,), (2, 3)])
def test_a_bomb_is_not_unpacked(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = tmp_path / "x.npz"
    bomb(path, shape)
    tracemalloc.start()
    try:
        with pytest.raises(ArtifactError, match=r"has the shape|behind a there is more"):
            read_arrays(path, {"a": (2, 3)})
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
    finally:
        tracemalloc.stop()


def test_a_device_and_a_pipe_are_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "zero.npz").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.npz")
    for name in ("zero.npz", "pipe.npz"):
        with pytest.raises(ArtifactError, match="no ordinary file"):
            read_arrays(tmp_path / name, SHAPES)


def test_a_graph_that_is_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(ArtifactError, match="it is a device or a pipe"):
        Artifact.open(tmp_path / "pipe.onnx")


def test_an_evaluation_set_that_does_not_fit_into_memory_is_missing_it(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "room", lambda: 1000)
    with pytest.raises(MissingError, match=r"needs up to 0\.0 GB of memory.*fewer --eval-samples"):
        Artifact.open(build().path).evaluation_set()
