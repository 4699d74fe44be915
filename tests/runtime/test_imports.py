"""The runtime stands alone: every module loads where torch and its friends cannot be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import tks_edge_runtime

FOLDER = Path(tks_edge_runtime.__file__).parent
FORBIDDEN = ("torch", "torchvision", "onnx", "onnxscript", "sklearn", "tks_edge", "tks_edge_export", "tks_edge_models")
BACKENDS_LIBRARIES = ("onnxruntime", "openvino", "tensorrt", "cuda", "polygraphy")
HEAVY = ("numpy", *BACKENDS_LIBRARIES, "PIL", "matplotlib", "jinja2", "pynvml")


def python(code: str) -> None:
    environment = {"PYTHONPATH": str(FOLDER.parent)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def modules() -> list[str]:
    paths = (path.relative_to(FOLDER.parent).with_suffix("") for path in FOLDER.rglob("*.py"))
    return sorted(".".join(path.parts) for path in paths if path.name != "__main__")


def test_every_module_loads_without_torch() -> None:
    python(
        f"import sys, importlib\n"
        f"for name in {FORBIDDEN}: sys.modules[name] = None\n"
        f"for name in {modules()}: importlib.import_module(name.removesuffix('.__init__'))\n"
    )


def test_the_command_line_loads_nothing_heavy() -> None:
    python(
        "import sys, tks_edge_runtime.cli\n"
        f"loaded = [name for name in {(*HEAVY, *FORBIDDEN)} if name in sys.modules]\n"
        "sys.exit(f'loaded: {loaded}' if loaded else 0)\n"
    )


def test_pillow_and_the_backends_libraries_are_loaded_only_when_used() -> None:
    python(
        "import sys, tks_edge_runtime.session, tks_edge_runtime.images, tks_edge_runtime.measure\n"
        f"loaded = [name for name in {('PIL', 'pynvml', *BACKENDS_LIBRARIES)} if name in sys.modules]\n"
        "sys.exit(f'loaded: {loaded}' if loaded else 0)\n"
    )
