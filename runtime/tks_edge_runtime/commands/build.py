"""`build`: TensorRT engines from artifacts, on the machine that will run them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tks_edge_runtime import completion
from tks_edge_runtime.command import DebugFlag, JsonFlag, Output, running
from tks_edge_runtime.dry_run import DryRunFlag
from tks_edge_runtime.errors import InputError

if TYPE_CHECKING:
    from tks_edge_runtime.engine_build import BuildOptions, BuiltEngine

_UNITS = {"": 1, "B": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_KEPT = "the engines named above are kept; the same command goes on with the others."


def build(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL",
            help=".onnx files written by `tks-edge export`.",
            show_default=False,
            autocompletion=completion.artifact,
        ),
    ],
    low_memory: Annotated[
        bool,
        typer.Option("--low-memory", help="For boards of 4 and 8 GB: the build takes less memory, and may find less."),
    ] = False,
    workspace: Annotated[
        str | None,
        typer.Option(
            "--workspace",
            help="What a tactic may use beside its tensors: 512MiB, 2GB.",
            show_default="a share of the free memory",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Build anew what was built before.")] = False,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Build TensorRT engines for this machine, check them, and keep them for every later run."""
    with running(as_json, debug, kept=_KEPT) as out:
        from tks_edge_runtime.engine_build import BuildOptions, build_engine

        options = BuildOptions(low_memory, None if workspace is None else _bytes(workspace))
        if dry_run:
            _show_intent(models, options, out, force=force)
            return
        documents = []
        for model in models:
            with out.progress() as progress:
                bar = progress.add_task(f"building {model.name}", total=100)
                engine = build_engine(
                    model,
                    options,
                    force=force,
                    on_progress=lambda what, done, progress=progress, bar=bar: progress.update(  # type: ignore[misc]
                        bar, description=what, completed=round(100 * done)
                    ),
                )
            _show(model, engine, out)
            documents.append(_document(model, engine))
        out.document({"engines": documents})
        out.next("profile", str(models[0]), "--backend", "tensorrt")


def _show_intent(models: list[Path], options: BuildOptions, out: Output, *, force: bool) -> None:
    """Say which engines would be built and where they would go."""
    from tks_edge_runtime.dry_run import Intent, Written, show_intent, written
    from tks_edge_runtime.engine_build import planned_engine

    builds: list[str] = []
    writes: list[Written] = []
    for model in models:
        engine, is_built = planned_engine(model, options, force=force)
        builds += [f"build and check the engine of {model}"] if is_built else []
        writes += written([engine, engine.with_suffix(".json")], kept=not is_built)
    show_intent(Intent(builds, writes), out)


def _bytes(text: str) -> int:
    """A size with its unit, in bytes; InputError for what is none."""
    found = re.fullmatch(r"(\d+)\s*([a-z]*)", text.strip(), re.IGNORECASE)
    if found is None or found[2].upper() not in _UNITS:
        raise InputError(f"{text!r} is no size. Allowed are whole numbers with a unit, such as 512MiB or 2GB.")
    return int(found[1]) * _UNITS[found[2].upper()]


def _show(model: Path, engine: BuiltEngine, out: Output) -> None:
    layers = ", ".join(f"{number} {precision}" for precision, number in engine.layers.items()) or "not told"
    how = "built before" if engine.reused else f"built and checked in {engine.seconds:.1f} s"
    out.console.print(
        f"{model}: {how}; layers: {layers}\n  {engine.path}", markup=False, highlight=False, soft_wrap=True
    )
    for note in engine.notes:
        out.warn(note)


def _document(model: Path, engine: BuiltEngine) -> dict[str, object]:
    return {
        "artifact": str(model),
        "engine": str(engine.path),
        "sidecar": str(engine.sidecar),
        "key": engine.key,
        "seconds": engine.seconds,
        "reused": engine.reused,
        "layers": engine.layers,
        "notes": list(engine.notes),
    }
