"""A program of several commands: its errors are one line in the words of all others, with the nearest valid name."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from tks_edge_runtime.errors import InputError, TksEdgeError, did_you_mean, unknown

_UsageError: Any = typer.BadParameter.__base__
"""What Typer raises where a command line does not parse; where the class lives depends on Typer's version."""
INTERRUPTED = 130
VersionFlag = Annotated[
    bool, typer.Option("--version", help="Show the version, and those of what matters on this machine.")
]
VersionJsonFlag = Annotated[bool, typer.Option("--json", help="With --version: as one JSON document.")]


class Program(TyperGroup):
    """The commands of a program, whose wrong use ends with one line and exit code 2."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Without any argument, show the help; exit code 2."""
        if not args and not ctx.resilient_parsing:
            self.get_help(ctx)
            ctx.exit(InputError.exit_code)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that is named first; InputError with the nearest one for a name that is none."""
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and self.get_command(ctx, name) is None:
            raise unknown("command", name, self.list_commands(ctx))
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line that is given, or that of the process, and end the process with its exit code."""
        ends_process = kwargs.get("standalone_mode", True)
        kwargs["standalone_mode"] = False  # so that it raises what went wrong rather than print it
        if not ends_process:
            return super().main(*args, **kwargs)
        try:
            code = super().main(*args, **kwargs)
        except TksEdgeError as error:
            code = _failed(str(error), error.exit_code)
        except _UsageError as error:
            code = _failed(_in_one_line(error), error.exit_code)
        except (KeyboardInterrupt, typer.Abort):  # before a command began; in a command, its frame has the word
            code = _failed("interrupted; nothing was written.", INTERRUPTED)
        sys.exit(code if isinstance(code, int) else 0)


def print_error(message: str) -> None:
    """Print the one line with which something ends."""
    Console(stderr=True).print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True, highlight=False)


def show_version(name: str, libraries: tuple[str, ...], *, as_json: bool) -> None:
    """Print the version of the program and then those of what matters here, or all of it as a JSON document.

    Args:
        name: the program; its name and version are the first line.
        libraries: the distributions that are named where they are installed.
        as_json: whether it is JSON.
    """
    from tks_edge_runtime.version import __version__
    from tks_edge_runtime.versions import versions

    found = versions(libraries)
    if as_json:
        typer.echo(json.dumps({"name": name, "version": __version__, "versions": found}, indent=2))
        return
    typer.echo(f"{name} {__version__}")
    width = max(map(len, found))
    for what, version in found.items():
        typer.echo(f"{what:{width}}  {version}")


def begin(context: typer.Context, name: str, libraries: tuple[str, ...], *, version: bool, as_json: bool) -> None:
    """What every call of a program begins with: `--version`, alone or with `--json`.

    Raises:
        InputError: `--json` stands before the command, where it is of `--version` alone.
    """
    if version:
        show_version(name, libraries, as_json=as_json)
        raise typer.Exit
    if as_json:
        raise InputError(f"--json before a command is of --version alone. Write it behind: {name} COMMAND --json")
    if context.invoked_subcommand is None:
        raise InputError(f"no command is named. See {name} --help.")


def _failed(message: str, code: int) -> int:
    print_error(message)
    return code


def _in_one_line(error: Any) -> str:
    """What is wrong with a command line, and where to read what is right."""
    context = error.ctx
    see = "" if context is None else f" See {context.command_path} --help."
    option = getattr(error, "option_name", None)
    if option is not None and hasattr(error, "possibilities"):
        known = [] if context is None else [name for one in context.command.get_params(context) for name in one.opts]
        return f"unknown option {option!r}.{did_you_mean(option, known)}{see}"
    message = " ".join(error.format_message().split()).rstrip(".")
    return f"{message[:1].lower()}{message[1:]}.{see}"
