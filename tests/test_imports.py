"""Who may import whom: the table of CONTRIBUTING.md, read off the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "tks_edge_models": ROOT / "models/tks_edge_models",
    "tks_edge_runtime": ROOT / "runtime/tks_edge_runtime",
    "tks_edge_export": ROOT / "export/tks_edge_export",
    "tks_edge": ROOT / "tks_edge",
}
EXPORTER_MAY_USE = {f"tks_edge_runtime.{name}" for name in ("artifact", "errors", "files", "plugins")}
ANYWHERE = set(sys.stdlib_module_names)
ELSEWHERE = ("spikingjelly", "snntorch", "norse", "sinabs")
"""Libraries whose networks are taken over, each known to the one file of its name."""
ALLOWED = {
    "tks_edge_models": {"torch", "triton"},
    "tks_edge_runtime": {
        "numpy",
        "typer",
        "rich",
        "PIL",
        "jinja2",
        "markupsafe",
        "matplotlib",
        "onnxruntime",
        "openvino",
        "tensorrt",
        "cuda",
        "polygraphy",
        "pynvml",
    },
    "tks_edge_export": {
        "torch",
        "numpy",
        "onnx",
        "onnx_ir",
        "onnxscript",
        "onnxruntime",
        "tensorrt",
        "tks_edge_models",
        "torch_tensorrt",
        "nir",
        "h5py",
        *EXPORTER_MAY_USE,
        *ELSEWHERE,
    },
}
ONLY_THERE = {
    "onnxruntime": {"backends/onnxruntime_devices.py"},
    "openvino": {"backends/openvino.py"},
    "tensorrt": {"backends/tensorrt_library.py"},
    "cuda": {"backends/cuda.py"},
    "polygraphy": {"engine_build/builder.py"},
    "pynvml": {"device/nvml.py"},
    "PIL": {"images.py"},
    "jinja2": {"reporting/page_frame.py"},
    "matplotlib": {
        *("reporting/plots.py", "reporting/plot_forms.py", "reporting/plot_parts.py", "reporting/plot_pareto.py"),
        *("reporting/plot_timesteps.py", "reporting/plot_distributions.py", "reporting/plot_machine.py"),
        *("reporting/plot_layers.py", "reporting/plot_exits.py", "reporting/plot_compare.py"),
    },
}
"""In the runtime, a library that not every command needs has its place."""


def sources(package: str) -> list[Path]:
    return sorted(PACKAGES[package].rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The modules that a file names in its import statements, at any depth."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found.add(node.module or "")
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "importlib.import_module":
            found |= {str(argument.value) for argument in node.args if isinstance(argument, ast.Constant)}
    return found


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_what_its_row_of_the_table_allows(package: str) -> None:
    allowed = ALLOWED[package] | {package}
    for path in sources(package):
        for module in imported(path):
            names = {module, module.partition(".")[0]}
            assert names & (allowed | ANYWHERE), f"{path.relative_to(ROOT)} imports {module}"


def test_nothing_imports_the_trainer() -> None:
    for package in ALLOWED:
        for path in sources(package):
            assert not any(m == "tks_edge" or m.startswith("tks_edge.") for m in imported(path)), path


@pytest.mark.parametrize("library", ONLY_THERE)
def test_a_heavy_library_of_the_runtime_is_imported_only_in_its_place(library: str) -> None:
    users = {
        str(path.relative_to(PACKAGES["tks_edge_runtime"]))
        for path in sources("tks_edge_runtime")
        if any(module.partition(".")[0] == library for module in imported(path))
    }
    assert users == ONLY_THERE[library]


@pytest.mark.parametrize("library", ELSEWHERE)
def test_another_library_is_imported_only_in_its_file(library: str) -> None:
    root = PACKAGES["tks_edge_export"]
    users = [
        str(path.relative_to(root))
        for path in sources("tks_edge_export")
        if any(module.partition(".")[0] == library for module in imported(path))
    ]
    assert users == [f"adoption/{library}.py"]


def modules(package: str) -> list[str]:
    root = PACKAGES[package]
    names = [".".join((package, *path.relative_to(root).with_suffix("").parts)) for path in sources(package)]
    return [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]


def test_the_command_line_loads_nothing_heavy() -> None:
    heavy = ["torch", "numpy", "onnx", "onnx_ir", "onnxscript", "onnxruntime", "matplotlib", "PIL", "jinja2", "sklearn"]
    program = f"import sys, tks_edge.cli\nassert not [m for m in {heavy!r} if m in sys.modules]"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, env={"PYTHONPATH": ".:export:runtime:models"})
