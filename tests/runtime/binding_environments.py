"""Environments with the real Python bindings of TensorRT and CUDA, on a machine that has neither library nor GPU.

The bindings are wheels of about a megabyte each. Their extension module wants some ten functions of TensorRT's
libraries: three libraries that are compiled here, in which each of these returns null, let it be imported, with every
class, method, enumeration and docstring.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
REQUIRED = "TKS_EDGE_REQUIRE_TENSORRT_BINDINGS"
_LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
_FUNCTIONS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getInferLibVersion",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)
_USED_WITH_THEM = ("numpy", "onnx", "onnxruntime", "polygraphy", "pytest", "rich", "typer")
"""What another Python than this one needs besides; this one has it."""


@dataclass(frozen=True)
class Bindings:
    """One version of TensorRT's bindings, with the CUDA bindings of the JetPack that it comes with.

    `pythons` are those that both have wheels for.
    """

    version: str
    package: str
    cuda: str
    pythons: tuple[str, ...] = ("3.10", "3.11", "3.12", "3.13")

    @property
    def major(self) -> str:
        """The number in the names of the libraries."""
        return self.version.partition(".")[0]


VERSIONS = (
    Bindings("10.3.0", "tensorrt-cu12-bindings==10.3.0", "cuda-bindings==12.9.*", ("3.10", "3.11", "3.12")),
    Bindings("10.13.3.9", "tensorrt-cu13-bindings==10.13.3.9.post1", "cuda-bindings==13.0.*"),
    Bindings("11.4.0.106", "tensorrt-cu13-bindings==11.4.0.106", "cuda-bindings==13.2.*"),
)
"""JetPack 6.1 and 6.2, JetPack 7.0 and 7.1, JetPack 7.2.2 and later."""


class CannotPrepareError(Exception):
    """Why the real bindings cannot be had here."""


@dataclass(frozen=True)
class Environment:
    """Where one version of the bindings is: run `python` with `variables`."""

    python: str
    variables: dict[str, str]


def prepare(bindings: Bindings, folder: Path) -> Environment:
    """Install the bindings below `folder`, or take what was installed there before.

    Raises:
        CannotPrepareError: there is no compiler, no Python that has wheels, or no package index.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise CannotPrepareError("there is no C compiler")
    python, own = _python(bindings)
    place = folder / f"tensorrt-bindings-{bindings.version}"
    with _locked(place):
        if not (place / "prepared").exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            _compile(compiler, place, bindings.major)
            _install(python, place, [bindings.package, bindings.cuda, *(() if own else _USED_WITH_THEM)])
            (place / "prepared").touch()
    paths = [place, ROOT, ROOT / "runtime", *(_own_packages() if own else [])]
    variables = {"LD_LIBRARY_PATH": str(place), "PYTHONPATH": ":".join(map(str, paths))}
    return Environment(python, {**os.environ, **variables})


def _python(bindings: Bindings) -> tuple[str, bool]:
    """A Python that there are wheels for: this one where it can be, and whether it is."""
    if f"{sys.version_info.major}.{sys.version_info.minor}" in bindings.pythons:
        return sys.executable, True
    for version in reversed(bindings.pythons):
        found = shutil.which(f"python{version}")
        # A name on the path may be a stand-in for a version that is not installed.
        if found is not None and subprocess.run([found, "-c", "import pip"], capture_output=True).returncode == 0:
            return found, False
    raise CannotPrepareError(
        f"the bindings {bindings.version} are for Python {', '.join(bindings.pythons)}: none is here"
    )


def _own_packages() -> list[Path]:
    """Where this Python has what is used with the bindings: perhaps in several places."""
    specs = [importlib.util.find_spec(name) for name in _USED_WITH_THEM]
    return list(dict.fromkeys(Path(spec.origin).parents[1] for spec in specs if spec is not None and spec.origin))


def _compile(compiler: str, place: Path, major: str) -> None:
    source = place / "nothing.c"
    source.write_text(
        "#include <stddef.h>\n" + "\n".join(f"void *{name}(void) {{ return NULL; }}" for name in _FUNCTIONS)
    )
    for library in _LIBRARIES:
        name = f"lib{library}.so.{major}"
        command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(place / name), str(source)]
        subprocess.run(command, check=True, capture_output=True)


def _install(python: str, place: Path, packages: list[str]) -> None:
    options = ["--quiet", "--disable-pip-version-check", "--only-binary=:all:", "--target", str(place)]
    command = [python, "-m", "pip", "install", *options, *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise CannotPrepareError(f"pip cannot install {', '.join(packages)}: {' '.join(lines)[:300]}")


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[None]:
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(f".{place.name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
