"""The calls of torch-tensorrt against the real library: not a run of it, which needs TensorRT and a GPU.

Its wheel, and the real Python bindings of its TensorRT, are installed into a folder of their own; TensorRT's libraries
are replaced by ones that hold the few symbols that the bindings need and do nothing, and torch-tensorrt's own, which
need the real ones, are left out: it has a second way to do all that is looked at here, in Python.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.export.fake_torch_tensorrt import FakeTorchTensorRT

ROOT = Path(__file__).parents[2]
OLDEST = "2.9.0"
"""Of pyproject.toml's extra `torch-trt`."""
NETWORKS = [
    ("tiny", "lif", 4),
    ("tiny", "relu", 1),
    ("sew_resnet18", "lif", 2),
    ("vggsnn", "lif", 2),
]
SYMBOLS = (
    "createInferBuilder_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "getBuilderPluginRegistry",
    "getPluginRegistry",
    "getNvOnnxParserVersion",
    "initLibNvInferPlugins",
    "getInferLibVersion",
)


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that can import the torch-tensorrt that belongs to the torch that is installed."""
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler to make stand-ins for TensorRT's libraries with")
    folder = tmp_path_factory.mktemp("library")
    release = ".".join(torch.__version__.split(".")[:2])
    pip("install", "--no-deps", "--target", folder, f"torch-tensorrt=={release}.*", "dllist", "psutil")
    (metadata,) = folder.glob("torch_tensorrt-*.dist-info")
    needs = [re.split(r"\s*;", need)[0] for need in Distribution.at(metadata).requires or ()]
    (bindings,) = (need for need in needs if re.match(r"tensorrt.*-bindings", need))
    pip("install", "--no-deps", "--target", folder, bindings)
    for shared in (folder / "torch_tensorrt").glob("**/*torchtrt*.so"):
        shared.unlink()
    (folder / "tensorrt").mkdir()
    (folder / "tensorrt/__init__.py").write_text(
        "from tensorrt_bindings import *\nfrom tensorrt_bindings import __version__\n"
    )
    major = re.search(r">=(\d+)", bindings)
    assert major is not None, bindings
    _libraries(folder / "lib", major[1])
    path = os.pathsep.join(str(part) for part in (folder, ROOT, *(ROOT / p for p in ("export", "runtime", "models"))))
    return {**os.environ, "PYTHONPATH": path, "LD_LIBRARY_PATH": str(folder / "lib")}


def _libraries(folder: Path, major: str) -> None:
    folder.mkdir()
    source = folder / "nothing.c"
    source.write_text("".join(f"void *{symbol}(void) {{ return 0; }}\n" for symbol in SYMBOLS))
    for name in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        shared = f"lib{name}.so.{major}"
        command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{shared}", "-o", str(folder / shared), str(source)]
        subprocess.run(command, check=True)


def test_the_real_library_takes_every_network_whole(library: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.export.torch_tensorrt_dry_run", json.dumps(NETWORKS)]
    done = subprocess.run(command, env=library, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["version"].startswith(".".join(torch.__version__.split(".")[:2]))
    assert found["unknown"] == []
    # One engine takes the raw pixels and gives the logits: PyTorch computes nothing.
    assert found["networks"] == {f"{name} {neuron} T={t}": ["_run_on_acc_0"] for name, neuron, t in NETWORKS}


def test_the_oldest_version_has_the_parameters_that_are_given(tmp_path: Path) -> None:
    pip("download", "--no-deps", "--only-binary", ":all:", "--dest", tmp_path, f"torch-tensorrt=={OLDEST}")
    (wheel,) = tmp_path.glob("*.whl")
    asked: dict[tuple[str, str], Callable[..., Any]] = {
        ("torch_tensorrt/dynamo/_compiler.py", "compile"): FakeTorchTensorRT.compile,
        ("torch_tensorrt/_compile.py", "save"): FakeTorchTensorRT.save,
    }
    with zipfile.ZipFile(wheel) as archive:
        for (file, name), fake in asked.items():
            (function,) = (
                node
                for node in ast.parse(archive.read(file)).body
                if isinstance(node, ast.FunctionDef) and node.name == name
            )
            has = {argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)}
            assert set(inspect.signature(fake).parameters) - {"self"} <= has
