"""What every command has in common."""

from __future__ import annotations

import re
import shlex
import sys
from io import StringIO
from pathlib import Path

import pytest
import typer
from rich.console import Console

from tks_edge_runtime.command import Output, running

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

_IMPORTED_AS = {"scikit-learn": "sklearn"}
_ROOT = Path(__file__).parents[2]


def test_the_next_command_can_be_pasted_into_a_shell() -> None:
    text = StringIO()
    Output(Console(file=text, width=40), as_json=False).next("profile", "my runs/[red]it's-t1-fp32.onnx", "--json")
    (line,) = text.getvalue().splitlines()
    assert shlex.split(line.removeprefix("next: "))[1:] == ["profile", "my runs/[red]it's-t1-fp32.onnx", "--json"]


def lacking(library: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command says that needs this library and does not find it."""
    with pytest.raises(typer.Exit) as ended, running(as_json=False, debug=False):
        raise ModuleNotFoundError(f"No module named {library!r}", name=library)
    assert ended.value.exit_code == 3
    return capsys.readouterr().err


@pytest.mark.parametrize(("library", "package"), [("matplotlib.pyplot", "matplotlib"), ("PIL", "pillow")])
def test_a_library_of_the_runtime_is_installed_by_its_own_name(
    capsys: pytest.CaptureFixture[str], library: str, package: str
) -> None:
    assert f"pip install {package}" in " ".join(lacking(library, capsys).split())


def test_what_belongs_to_training_is_installed_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    extras = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    packages = {re.split(r"[>=;]", line)[0] for line in extras["train"]} - {"onnxruntime"}
    for library in {_IMPORTED_AS.get(package, package.replace("-", "_")) for package in packages}:
        assert "pip install '.[train]'" in " ".join(lacking(library, capsys).split()), library
