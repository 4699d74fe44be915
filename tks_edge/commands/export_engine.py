"""The TensorRT engines of `tks-edge export --format trt`: built where this machine can, and else how a device does."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from tks_edge_runtime.errors import MissingError
from tks_edge_runtime.files import read_json, replacing

if TYPE_CHECKING:
    from tks_edge_runtime.artifact import Artifact
    from tks_edge_runtime.command import Output

_BOARD = "USER@BOARD"


class Engines:
    """Builds the engine of every artifact of an export, or collects what to type on the device that has to.

    Args:
        required: whether it is an error that this machine cannot.
        low_memory: whether they are built as on a board with little memory.
    """

    def __init__(self, *, required: bool, low_memory: bool) -> None:
        from tks_edge_runtime.engine_build import require

        self._required = required
        self._low_memory = low_memory
        self._files: dict[Path, None] = {}
        self._commands: list[str] = []
        self._missing: str | None = None
        try:
            require()
        except MissingError as error:
            self._missing = str(error)

    def files(self, graph: Path) -> list[Path]:
        """What would be laid beside a graph: its engine and what is known of it, where one can be built here."""
        return [] if self._missing is not None else [_engine_path(graph), graph.with_suffix(".json")]

    def build(self, artifact: Artifact, out: Output) -> dict[str, Any]:
        """Build, check and keep the engine of an artifact, and lay a copy beside it.

        Returns:
            `engine`, `engine_missing` and `build_command` for the artifact's row of the JSON document.

        Raises:
            ArtifactError: TensorRT cannot build it.
            CheckError: the engine has another precision than the artifact, or gives other golden logits.
            MissingError: the memory of this machine does not suffice.
        """
        from tks_edge_runtime.engine_build import build_command

        path = artifact.path
        command = build_command(path)
        if self._missing is not None:
            self._files |= dict.fromkeys(_files(artifact))
            self._commands.append(command)
            _warn_of_stale(path, out)
            return {"engine": None, "engine_missing": self._missing, "build_command": command}
        row = self._built(path, out)
        _show(row, out)
        return {"engine": row, "engine_missing": None, "build_command": command}

    def _built(self, graph: Path, out: Output) -> dict[str, Any]:
        """Build the engine of a graph, lay a copy beside it, and say what there is to know about it."""
        from tks_edge_runtime.engine_build import BuildOptions, build_engine

        with out.progress() as bar:
            task = bar.add_task(f"building the engine of {graph.name}", total=100)
            built = build_engine(
                graph,
                BuildOptions(low_memory=self._low_memory),
                on_progress=lambda what, done: bar.update(task, description=what, completed=round(100 * done)),
            )
        engine, sidecar = _copy_beside(graph, built.path, built.sidecar)
        return {
            "path": str(engine),
            "sidecar": str(sidecar),
            "cached": str(built.path),
            "key": built.key,
            "bytes": engine.stat().st_size,
            "seconds": built.seconds,
            "reused": built.reused,
            "layers": dict(built.layers),
            "golden": read_json(sidecar).get("golden"),
            "notes": list(built.notes),
        }

    def conclude(self, out: Output) -> None:
        """Say what is left to do where no engine could be built here.

        Raises:
            MissingError: engines were required.
        """
        if self._missing is None:
            return
        said = "Build the engine on the device:"
        if not self._required:
            said = (
                f"No engine was built here: {self._missing} An engine belongs to the GPU, the TensorRT version and the "
                "system that it is built on; what travels is the ONNX file, which is written and verified. Copy it to "
                "the device and build there:"
            )
        copy = shlex.join(["scp", *map(str, self._files), f"{_BOARD}:"])
        for line in (said, *(f"  {command}" for command in (copy, *self._commands))):
            out.say(line)
        if self._required:
            raise MissingError(
                f"no engine can be built here, and --require-engine asks for one: {self._missing} The ONNX file is "
                "written and verified; the commands above build its engine on the device."
            )


def _files(artifact: Artifact) -> list[Path]:
    """What the device gets: the graph, and what it tests itself and measures its accuracy with."""
    evaluation = artifact.manifest.evaluation
    beside = [artifact.manifest.golden_file, evaluation.file if evaluation is not None else None]
    return [artifact.path, *(artifact.path.with_name(name) for name in beside if name is not None)]


def _engine_path(graph: Path) -> Path:
    return graph.with_suffix(".engine")


def _copy_beside(graph: Path, engine: Path, sidecar: Path) -> tuple[Path, Path]:
    """Copy an engine, as TensorRT wrote it, and what is known of it beside its graph: both or neither."""
    copies = _engine_path(graph), graph.with_suffix(".json")
    with replacing(copies[0]) as engine_file, replacing(copies[1]) as sidecar_file:
        shutil.copyfile(engine, engine_file)
        shutil.copyfile(sidecar, sidecar_file)
    return copies


def _warn_of_stale(graph: Path, out: Output) -> None:
    engine = _engine_path(graph)
    if engine.exists():
        out.warn(f"{engine} is of an earlier {graph.name}, not of the one that was written now.")


def _show(row: dict[str, Any], out: Output) -> None:
    """One line on the engine for people, and what is worth knowing about its build."""
    made = "built here before" if row["reused"] else f"built in {row['seconds']:.3g} s"
    layers = ", ".join(f"{count} {precision}" for precision, count in row["layers"].items() if count)
    golden = row["golden"]
    checked = (
        "golden pair not there to check with"
        if golden is None
        else f"golden logits within {golden['max_difference']:.1e} (allowed {golden['tolerance']:.1e})"
    )
    out.console.print(
        f"[bold]{escape(row['path'])}[/]  {made}; layers: {layers}; {checked}", highlight=False, soft_wrap=True
    )
    for note in row["notes"]:
        out.console.print(f"  {escape(note)}", highlight=False, soft_wrap=True)
