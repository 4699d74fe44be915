"""What every command has in common: `--json`, `--debug`, where text goes, how errors end it, and the next command."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TaskID

from tks_edge_runtime.errors import TksEdgeError
from tks_edge_runtime.program import INTERRUPTED, print_error
from tks_edge_runtime.progress import counting_bars, waiting_bars

if TYPE_CHECKING:
    from tks_edge_runtime.backends.choice import Choice

JsonFlag = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output, all else on standard error.")
]
DebugFlag = Annotated[bool, typer.Option("--debug", help="Show the traceback when something fails.")]
NOTHING_WRITTEN = "nothing was written."
_PROGRAMS = ("tks-edge", "tks-edge-runtime")
_OF_TRAINING = frozenset(
    {
        "hatchling",
        "lightning_fabric",
        "onnx",
        "onnx_ir",
        "onnxscript",
        "packaging",
        "safetensors",
        "scipy",
        "sklearn",
        "tomli",
        "torch",
        "torchvision",
        "zstandard",
    }
)
"""What the extra `train` brings, as it is imported; this distribution needs none of it."""
_PACKAGES = {"PIL": "pillow"}
"""What is installed by another name than it is imported by."""


@dataclass(frozen=True)
class Output:
    """Where a running command writes.

    Attributes:
        console: text and tables for people; standard output, or standard error under `--json`.
        as_json: whether `--json` was given.
    """

    console: Console
    as_json: bool

    def document(self, result: Any) -> None:
        """Print `result` as the one JSON document of this command, where `--json` asked for it."""
        if self.as_json:
            sys.stdout.write(json.dumps(result, indent=2, allow_nan=False) + "\n")

    def next(self, *arguments: str) -> None:
        """Name the command that most people run after this one, under the program's own name, as a shell reads it."""
        command = shlex.join((_program_name(Path(sys.argv[0])), *arguments))
        self.console.print(f"[dim]next:[/] {escape(command)}", soft_wrap=True, highlight=False)

    def say(self, message: str) -> None:
        """Print a sentence as it stands."""
        self.console.print(message, markup=False, highlight=False, soft_wrap=True)

    def say_choice(self, chosen: Choice) -> None:
        """Print what runs the artifacts and why, where nobody asked for it by name."""
        if chosen.reason is not None:
            self.say(str(chosen))

    def warn(self, message: str) -> None:
        """Print a warning that does not end the command."""
        self.console.print(f"[yellow]warning:[/] {escape(message)}", soft_wrap=True, highlight=False)

    def progress(self) -> Progress:
        """A progress bar on standard error that leaves nothing behind, and is silent where that is no terminal."""
        return counting_bars()

    @contextlib.contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """A bar without an end, while the block does what does not say how far it is."""
        with waiting_bars() as progress:
            progress.add_task(what, total=None)
            yield

    @contextlib.contextmanager
    def stages(self) -> Iterator[Callable[[str, float], None]]:
        """Progress bars for stages of work, each of which appears with the first word of it.

        Yields:
            what is told the stage, in words, and the fraction of it that is done, 0 to 1.
        """
        with self.progress() as progress:
            bars: dict[str, TaskID] = {}

            def show(stage: str, fraction: float) -> None:
                if stage not in bars:
                    bars[stage] = progress.add_task(stage, total=100)
                progress.update(bars[stage], completed=round(100 * fraction))

            yield show


def _program_name(path: Path) -> str:
    """Name the program that `path` (the script, or the `__main__.py` of a package) belongs to."""
    name = path.parent.name.replace("_", "-") if path.name == "__main__.py" else path.name
    return name if name in _PROGRAMS else _PROGRAMS[0]


@contextlib.contextmanager
def running(as_json: bool, debug: bool, kept: str = NOTHING_WRITTEN) -> Iterator[Output]:
    """The frame around a command's work: an error becomes one clear message and an exit code.

    The exit code is the error's own (1 failed, 2 wrong use, 3 something missing on this machine); 130 after Ctrl-C.

    Args:
        as_json: whether there is to be a JSON document.
        debug: whether errors show their traceback.
        kept: what there is after Ctrl-C, and how to go on, as a sentence.
    """
    try:
        yield Output(Console(stderr=as_json), as_json)
    except TksEdgeError as error:
        _fail(str(error), error.exit_code, debug)
    except KeyboardInterrupt:
        _fail(f"interrupted; {kept}", INTERRUPTED, debug)
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except ModuleNotFoundError as error:
        _fail(*_missing_library(error), debug)
    except OSError as error:
        _fail(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""), 1, debug)
    except Exception as error:  # the last frame: whatever it is, the user gets two lines, not a traceback
        _fail(_fault(error), 1, debug)


def _missing_library(error: ModuleNotFoundError) -> tuple[str, int]:
    """What to say, and the exit code, where a command's own library is not installed."""
    library = (error.name or "").partition(".")[0]
    if not library or library.startswith("tks_edge"):
        return _fault(error), 1
    from tks_edge_runtime.machine import pip

    if library in _OF_TRAINING:
        advice = "In a checkout of tks-edge, install what training needs: " + pip("install '.[train]'")
    else:
        advice = "Install it: " + pip(f"install {_PACKAGES.get(library, library)}")
    return f"this command needs {library}, which is not installed. {advice}", 3


def _fault(error: Exception) -> str:
    return f"{type(error).__name__}: {error}. This is a fault in tks-edge; run again with --debug and report it."


def _fail(message: str, exit_code: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    print_error(message)
    raise typer.Exit(exit_code)
