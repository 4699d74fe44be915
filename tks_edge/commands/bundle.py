"""`tks-edge bundle`: one archive for a board without network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tks_edge.commands import completion
from tks_edge.commands.board_options import ExtrasOption, RuntimeWheelOption
from tks_edge_runtime.command import DebugFlag, JsonFlag, running
from tks_edge_runtime.completion import artifact_folder
from tks_edge_runtime.dry_run import DryRunFlag


def bundle(
    artifacts: Annotated[
        Path,
        typer.Argument(
            help="The folder that `tks-edge export` wrote to.", show_default=False, autocompletion=artifact_folder
        ),
    ],
    output: Annotated[Path, typer.Option(help="The archive, by its ending .tar.zst, .tar.gz or .tgz.")] = Path(
        "board.tar.zst"
    ),
    python: Annotated[
        str,
        typer.Option(
            help="The board's Python: 3.10 on JetPack 6, 3.12 on JetPack 7.", autocompletion=completion.python
        ),
    ] = "3.10",
    platform: Annotated[
        str, typer.Option(help="The board's processor: aarch64 or x86_64.", autocompletion=completion.machine)
    ] = "aarch64",
    extras: ExtrasOption = "onnxruntime",
    runtime_wheel: RuntimeWheelOption = None,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Pack the runtime with all it needs, the artifacts, and an install script, for a board without network."""
    with running(as_json, debug) as out:
        from tks_edge.deploy.bundle import INSTALLER, ROOT, describe, planned_bundle, write_bundle
        from tks_edge.deploy.target import target
        from tks_edge_runtime.dry_run import Intent, show_intent, written

        board = target(python, platform)
        if dry_run:
            packed = planned_bundle(artifacts, output, extras=extras, runtime=runtime_wheel)
            needs = f"{packed.wheel}[{','.join(packed.extras)}]" if packed.extras else packed.wheel
            fetch = f"fetch by pip what {needs} needs for Python {python} on {platform}"
            pack = [f"pack {path}" for path in packed.artifacts]
            show_intent(Intent([fetch, *pack], written([output])), out)
            return
        with out.waiting(f"fetching the wheels for Python {python} on {platform}, and packing"):
            made = write_bundle(artifacts, output, board, extras=extras, runtime=runtime_wheel)
        held = f"{len(made.wheels)} wheels, {len(made.artifacts)} files of artifacts"
        out.say(f"written: {made.path} ({made.size / 1e6:.1f} MB): {held}")
        out.say(f"on the board: tar -xf {made.path.name} && sh {ROOT}/{INSTALLER}")
        out.document(describe(made))
