"""The build itself: an ONNX file in, TensorRT's bytes out; Polygraphy configures the builder and runs it."""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tks_edge_runtime.backends.base import BuildProgress
from tks_edge_runtime.backends.tensorrt_library import MESSAGES, Said, import_library, logger, reason
from tks_edge_runtime.engine_build.layers import asked_for
from tks_edge_runtime.engine_build.monitor import Progress, interruptible, monitor
from tks_edge_runtime.engine_build.timing_cache import save_timings
from tks_edge_runtime.errors import ArtifactError, MissingError

_NO_MEMORY = ("outofmemory", "out of memory", "insufficient memory", "insuficient memory", "memory allocation")
_SKIPPED = "due to insufficient memory on requested size"
_REQUEST = re.compile(r"Tactic Device request: (\d+)MB Available: (\d+)MB")
_SILENT = 1000
_HEURISTICS_ALONE = 2


def require() -> None:
    """MissingError where Polygraphy cannot be imported."""
    try:
        importlib.import_module("polygraphy")
    except ImportError as error:
        raise MissingError(
            f"engines are built with Polygraphy, which is missing here ({error}). Install it: pip install polygraphy"
        ) from error


@dataclass(frozen=True)
class Build:
    """What a build gave.

    Attributes:
        plan: the engine's bytes, as TensorRT holds them.
        asked: the precision that the graph asks for, by multiplication; see `layers.asked_for`.
        notes: what was worth knowing, in sentences.
    """

    plan: memoryview
    asked: dict[str, str]
    notes: tuple[str, ...]


def build(
    path: Path, *, workspace_bytes: int, low_memory: bool, timings: Path, on_progress: BuildProgress | None
) -> Build:
    """Build an engine from the ONNX file at `path`, strongly typed: each tensor has the type that the file gives it.

    Args:
        path: the file.
        workspace_bytes: what a tactic may use beside its tensors.
        low_memory: see `BuildOptions`.
        timings: the file of earlier timings, which is read and added to.
        on_progress: told how far the build is.

    Raises:
        ArtifactError: TensorRT cannot read the graph, or cannot build it.
        MissingError: there is not enough memory for the build.
    """
    progress = Progress(on_progress, f"building {path.name}")
    trt = import_library()
    with MESSAGES.heard() as said, _silent():
        builder, network, parser = _parsed(trt, path, said)
        asked = asked_for(network)
        # Held until the build is over: TensorRT calls it, and does not own it.
        watching = monitor(trt, progress)
        config = _configured(trt, builder, network, workspace_bytes, low_memory, timings, watching)
        plan = _built(builder, network, parser, config, path, said, progress)
        notes = _notes(said)
        if not save_timings(timings, config):
            notes = (*notes, "TensorRT kept no timings: the next build takes as long as this one.")
    return Build(plan, asked, notes)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep Polygraphy from printing: what TensorRT says is heard by our own logger."""
    messages = importlib.import_module("polygraphy.logger").G_LOGGER
    with messages.verbosity(_SILENT):
        yield


def _parsed(trt: Any, path: Path, said: Said) -> tuple[Any, Any, Any]:
    builder = trt.Builder(logger(trt))
    # The only kind there is from 11 on; before, the flag asks for it. With it no flag of a precision is allowed.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger(trt))
    if not parser.parse_from_file(str(path)):
        errors = [_parser_error(parser.get_error(index)) for index in range(parser.num_errors)]
        why = "; ".join(errors[:2]) or reason(said)
        raise ArtifactError(f"tensorrt cannot load {path}: {why}. Export it with --target tensorrt.")
    return builder, network, parser


def _parser_error(error: Any) -> str:
    text = " ".join(str(error.desc()).split()).rstrip(". ")
    node = str(error.node_name() or "")
    return f"{text} ({error.node_operator()} {node})".replace(" )", ")") if error.node_operator() else text


def _configured(
    trt: Any, builder: Any, network: Any, workspace: int, low_memory: bool, timings: Path, watching: Any
) -> Any:
    settings: dict[str, Any] = {
        # Static shapes: there is no range of them to give.
        "profiles": [],
        "memory_pool_limits": {trt.MemoryPoolType.WORKSPACE: workspace},
        "profiling_verbosity": trt.ProfilingVerbosity.DETAILED,
        "progress_monitor": watching,
        # Off by itself in Polygraphy, said here: it rounds the inputs of float32 products to 10 bits, and spikes flip.
        "tf32": False,
    }
    if low_memory:
        settings |= {
            # Left out are tables that grow with a layer's input (EDGE_MASK_CONVOLUTIONS), and cuBLAS and cuDNN, each
            # hundreds of MB once it is loaded.
            "tactic_sources": [trt.TacticSource.JIT_CONVOLUTIONS],
            # Only the tactics that the heuristics put first are compiled and timed, so fewer are in memory at once.
            "builder_optimization_level": _HEURISTICS_ALONE,
            # Branches that run at the same time need their buffers at the same time.
            "max_aux_streams": 0,
        }
    tools = importlib.import_module("polygraphy.backend.trt")
    with contextlib.ExitStack() as stack:
        if timings.exists():
            settings["load_timing_cache"] = stack.enter_context(timings.open("rb"))
        return tools.CreateConfig(**settings)(builder, network)


def _built(
    builder: Any, network: Any, parser: Any, config: Any, path: Path, said: Said, progress: Progress
) -> memoryview:
    tools = importlib.import_module("polygraphy.backend.trt")
    failed = importlib.import_module("polygraphy.exception").PolygraphyException
    plan = None
    with interruptible(progress), contextlib.suppress(failed):
        plan = tools.EngineBytesFromNetwork((builder, network, parser), config)()
    if progress.failure is not None:
        raise progress.failure
    if plan is None:
        why = reason(said)
        if any(word in text.lower() for _, text in said for word in _NO_MEMORY):
            raise MissingError(
                f"there is not enough memory to build {path.name} ({why}). Close other programs, or build it with "
                "--low-memory."
            )
        raise ArtifactError(f"tensorrt cannot build {path}: {why}. Export it with --target tensorrt.")
    return memoryview(plan)


def _notes(said: Said) -> tuple[str, ...]:
    """What the log says about tactics that did not fit into memory."""
    texts = [text for _, text in said]
    skipped = sum(_SKIPPED in text.lower().replace("insuficient", "insufficient") for text in texts)
    if not skipped:
        return ()
    requests = [(int(found[1]), int(found[2])) for text in texts if (found := _REQUEST.search(text)) is not None]
    most = "" if not requests else " (the largest asked for {} MB where {} MB were free)".format(*max(requests))
    return (f"{skipped} tactics were skipped for memory{most}: with more of it free the engine may become faster.",)
