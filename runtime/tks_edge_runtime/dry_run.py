"""`--dry-run`: what a command would compute, write and send, in one form for all commands, and none of it done."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from tks_edge_runtime.command import Output

DryRunFlag = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be computed, written and sent, and do none of it.")
]
Fate = Literal["new", "replaced", "kept", "removed"]
"""What becomes of a path: it is not there yet, or what stands there goes, stays, or is taken away."""
_VERBS: dict[Fate, str] = {"new": "write", "replaced": "write", "kept": "keep", "removed": "remove"}


@dataclass(frozen=True)
class Written:
    """A file or folder and what would become of it."""

    path: str
    fate: Fate


@dataclass(frozen=True)
class Sent:
    """What would go to another machine, in bytes."""

    host: str
    path: str
    bytes: int


@dataclass(frozen=True)
class Intent:
    """What a command would do.

    Attributes:
        computes: in sentences, without an end.
        writes: each file or folder, as far as it is known before anything is computed.
        sends: each file; empty where nothing leaves this machine.
        runs: commands that would be run in turn.
    """

    computes: Sequence[str] = ()
    writes: Sequence[Written] = ()
    sends: Sequence[Sent] = ()
    runs: Sequence[str] = ()


def written(paths: Iterable[Path], *, kept: bool = False) -> list[Written]:
    """What would become of these paths: what is there is replaced, or `kept`; all else is new."""
    there: Fate = "kept" if kept else "replaced"
    return [Written(str(path), there if path.exists() else "new") for path in paths]


def show_intent(intent: Intent, out: Output) -> None:
    """Print it, and under `--json` as the command's document."""
    for text in intent.computes:
        out.say(f"would {text}")
    for write in intent.writes:
        out.say(f"would {_VERBS[write.fate]}: {write.path} ({write.fate})")
    for send in intent.sends:
        out.say(f"would send to {send.host}: {send.path} ({send.bytes:,} bytes)")
    if intent.sends:
        total = sum(send.bytes for send in intent.sends)
        out.say(f"{len(intent.sends)} files, {total / 1e6:.1f} MB; of these, what is there already is not sent again")
    for command in intent.runs:
        out.say(f"would run: {command}")
    out.say("dry run: nothing was computed, written or sent.")
    out.document({"dry_run": True, **dataclasses.asdict(intent)})
