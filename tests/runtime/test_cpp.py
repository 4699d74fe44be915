"""The C++ program of the examples: compiled here, it gives the logits that Python gives."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.conftest import Build, BuildSpiking
from tks_edge_runtime.artifact import STATIC
from tks_edge_runtime.session import load

ROOT = Path(__file__).parent.parent.parent
SOURCE = ROOT / "examples/cpp/classify.cpp"
HEADER = "onnxruntime_cxx_api.h"
PLACES = (
    Path(os.environ.get("ONNXRUNTIME_INCLUDE", ROOT / "build/cpp/include")),
    ROOT / "build/cpp/include",
    Path("/usr/include/onnxruntime"),
    Path("/usr/local/include/onnxruntime"),
    Path("/usr/local/include"),
)


def headers() -> Path | None:
    return next((place for place in PLACES if (place / HEADER).is_file()), None)


def library() -> Path:
    """The library of the installed wheel."""
    spec = importlib.util.find_spec("onnxruntime")
    assert spec is not None
    assert spec.origin is not None
    (found,) = (Path(spec.origin).parent / "capi").glob("libonnxruntime.so.*")
    return found


def why_not() -> str | None:
    """Why the program cannot be compiled here; headers that are newer than the library do not fit it."""
    include = headers()
    if shutil.which("g++") is None:
        return "there is no g++"
    if include is None:
        return "ONNX Runtime's C++ headers are missing: examples/cpp/get_headers.sh, or set ONNXRUNTIME_INCLUDE"
    version = re.search(r"#define ORT_API_VERSION (\d+)", (include / "onnxruntime_c_api.h").read_text())
    assert version is not None
    if int(version[1]) > int(library().name.split(".")[3]):
        return f"the headers in {include} are of version 1.{version[1]}, the library is {library().name}"
    return None


REASON = why_not()
if REASON is not None and "TKS_EDGE_REQUIRE_CPP" in os.environ:
    pytest.fail(REASON)
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled with the library of the wheel, under the names that a linker and a loader look for."""
    folder = tmp_path_factory.mktemp("cpp")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).symlink_to(library())
    command: list[str | Path] = [
        "g++",
        "-std=c++17",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        SOURCE,
        "-isystem",
        str(headers()),
    ]
    link: list[str | Path] = ["-L", folder, "-lonnxruntime", f"-Wl,-rpath,{folder}", "-o", folder / "classify"]
    subprocess.run([*command, *link], check=True)
    return folder / "classify"


def test_its_logits_are_those_of_python(program: Path, build: Build, build_spiking: BuildSpiking) -> None:
    for built in (build(), build_spiking(form=STATIC)):
        with load(built.path, threads=1) as session:
            for image in built.inputs[:3]:
                pixels = built.path.with_name("image.raw")
                pixels.write_bytes(image.tobytes())
                done = subprocess.run([program, built.path, pixels], check=True, capture_output=True, text=True)
                best, *logits = done.stdout.splitlines()
                expected = session.run(image[np.newaxis])[0]
                np.testing.assert_array_equal(np.array(logits, np.float32), expected)
                assert best == f"class {expected.argmax()}"


def test_wrong_use_ends_in_a_line_and_a_code(program: Path, build: Build, tmp_path: Path) -> None:
    few = tmp_path / "few.raw"
    few.write_bytes(bytes(10))
    for arguments, code, message in (
        ([], 2, "usage: classify MODEL.onnx PIXELS.raw\n"),
        ([build().path, few], 2, f"{few}: 10 bytes; the graph takes 64 pixels\n"),
        ([few, few], 1, "few.raw failed"),
    ):
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == code, done
        assert message in done.stderr


def test_it_has_forty_lines() -> None:
    lines = [line for line in SOURCE.read_text().splitlines() if line and not line.startswith("//")]
    assert len(lines) <= 40


def test_the_text_shows_it_whole() -> None:
    assert f"```cpp\n{SOURCE.read_text()}```" in (ROOT / "docs/jetson.md").read_text()
