"""The command line of a board, called in this process, and what is expected of how it ends."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner, Result

from tks_edge_runtime import cli


def invoke(*arguments: object, columns: int = 200) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], env={"COLUMNS": str(columns)})


def fails(result: Result, exit_code: int, *words: str) -> None:
    """One clear error of a line or two on standard error, and nothing else."""
    assert result.exit_code == exit_code, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) <= 2
    for word in words:
        assert word in result.stderr


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)
