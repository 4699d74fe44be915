"""What every command has in common."""

from __future__ import annotations

import shlex
from io import StringIO

from rich.console import Console

from tks_edge_runtime.command import Output


def test_the_next_command_can_be_pasted_into_a_shell() -> None:
    text = StringIO()
    Output(Console(file=text, width=40), as_json=False).next("profile", "my runs/[red]it's-t1-fp32.onnx", "--json")
    (line,) = text.getvalue().splitlines()
    assert shlex.split(line.removeprefix("next: "))[1:] == ["profile", "my runs/[red]it's-t1-fp32.onnx", "--json"]
