"""From an artifact to a checked engine in the cache: to be read from top to bottom."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from time import perf_counter

from tks_edge_runtime import device
from tks_edge_runtime.artifact import METADATA_KEY, Artifact
from tks_edge_runtime.backends import cuda
from tks_edge_runtime.backends.base import BuildProgress, EngineOptions
from tks_edge_runtime.backends.tensorrt import TensorRtEngine
from tks_edge_runtime.backends.tensorrt_library import Plan
from tks_edge_runtime.engine_build import builder, cache
from tks_edge_runtime.engine_build.cache import Entry, Golden, Sidecar
from tks_edge_runtime.engine_build.layers import check_layers, count, engine_layers
from tks_edge_runtime.engine_build.origin import BuildOptions, Origin, origin_of
from tks_edge_runtime.engine_build.requirements import require
from tks_edge_runtime.engine_build.timing_cache import timing_cache_path
from tks_edge_runtime.errors import ArtifactError, CheckError, InputError
from tks_edge_runtime.graph_check import check_graph
from tks_edge_runtime.onnx_metadata import read_metadata
from tks_edge_runtime.session import Session

LEAST_WORKSPACE = 1 << 20
_SHARE, _LOW_SHARE = 0.5, 0.25
_LOW_AT_MOST = 256 << 20
_PROGRAM = "tks-edge-runtime"


@dataclass(frozen=True)
class BuiltEngine:
    """An engine that was built on this machine and checked.

    Attributes:
        path: the engine, as TensorRT wrote it.
        sidecar: the `.json` beside it.
        key: the SHA-256 of what it belongs to.
        seconds: how long its build took.
        reused: whether it was there already.
        layers: how many of its layers compute in each precision ("int8", "fp16", "fp32", "other").
        notes: what is worth knowing about the build, in sentences.
    """

    path: Path
    sidecar: Path
    key: str
    seconds: float
    reused: bool
    layers: dict[str, int]
    notes: tuple[str, ...]


def build_command(path: Path) -> str:
    """The command that builds the engine on the board, to be typed where the artifact is."""
    return shlex.join([_PROGRAM, "build", path.name])


def build_engine(
    path: Path,
    options: BuildOptions = BuildOptions(),  # noqa: B008
    *,
    on_progress: BuildProgress | None = None,
    force: bool = False,
) -> BuiltEngine:
    """Build the engine of the artifact at `path`, or take the one that was built here before.

    Before an engine gets its name in the cache, its layers are compared with the precision that the artifact promises,
    and its logits with the golden pair beside it.

    Args:
        path: the `.onnx` file.
        options: how to build it.
        on_progress: told what is being done, and how far it is.
        force: build it even where it is there.

    Raises:
        ArtifactError: the file is damaged, or not one that TensorRT can build.
        CheckError: the engine does not compute what the artifact promises; it is not kept.
        InputError: an option makes no sense, or the cache cannot be written to.
        MissingError: TensorRT, the GPU, or memory is missing.
    """
    path = Path(path)
    artifact, origin = _examined(path, options)
    tell = on_progress or (lambda *_: None)
    target = cache.engine_path(path.stem, origin)
    with cache.locked(target, on_wait=lambda: tell(f"waiting for another build of {path.name}", 0.0)):
        cache.remove_unfinished(target)
        found = cache.look_up(path.stem, origin)
        if isinstance(found, Entry) and not force:
            return _built(found, reused=True)
        why = (f"{found}; rebuilding.",) if isinstance(found, str) else ()
        for note in why:
            tell(note, 0.0)
        return _built(_build(path, artifact, origin, tell), reused=False, why=why)


def planned_engine(
    path: Path,
    options: BuildOptions = BuildOptions(),  # noqa: B008
    *,
    force: bool = False,
) -> tuple[Path, bool]:
    """Where `build_engine` would leave the engine, and whether it would build it; arguments and errors are its own."""
    path = Path(path)
    _, origin = _examined(path, options)
    return cache.engine_path(path.stem, origin), force or not isinstance(cache.look_up(path.stem, origin), Entry)


def _examined(path: Path, options: BuildOptions) -> tuple[Artifact | None, Origin]:
    """The artifact and what its engine belongs to, checked as far as it can be before it is built."""
    artifact = _opened(path)
    if artifact is not None:
        check_graph(path)
    if options.workspace_bytes is not None and options.workspace_bytes < LEAST_WORKSPACE:
        raise InputError(f"the workspace is {options.workspace_bytes} bytes; allowed are {LEAST_WORKSPACE} and more.")
    require()
    return artifact, origin_of(path, options)


def find_engine(path: Path) -> BuiltEngine | None:
    """The engine that was built here last for the artifact at `path`, with whatever options; None where none was.

    Raises:
        ArtifactError: the file is damaged.
        MissingError: TensorRT or the GPU is missing.
    """
    path = Path(path)
    _opened(path)
    require()
    found = cache.newest(path.stem, origin_of(path, BuildOptions()))
    return None if found is None else _built(found, reused=True)


def read_engine(engine: BuiltEngine) -> bytes:
    """The bytes of an engine, which are those that were checked; ArtifactError where the file was changed since."""
    return cache.read(engine.path)


def _opened(path: Path) -> Artifact | None:
    """The artifact; None for an ONNX file without a manifest, of which nothing is promised."""
    if path.suffix == ".engine":
        raise ArtifactError(
            f"{path} is an engine: it belongs to the machine it was built on, and is not loaded from elsewhere. Give "
            "the .onnx file."
        )
    if path.suffix == ".onnx" and METADATA_KEY not in read_metadata(path):
        return None
    return Artifact.open(path)


def _built(entry: Entry, *, reused: bool, why: tuple[str, ...] = ()) -> BuiltEngine:
    """The entry as callers get it; `why` it was built is news once, and not part of what is kept."""
    known = entry.sidecar
    notes = (*why, *known.notes)
    return BuiltEngine(entry.path, entry.sidecar_path, known.key, known.seconds, reused, dict(known.layers), notes)


def _build(path: Path, artifact: Artifact | None, origin: Origin, tell: BuildProgress) -> Entry:
    start = perf_counter()
    workspace = origin.workspace_bytes or workspace_size(origin.low_memory)
    built = builder.build(
        path,
        workspace_bytes=workspace,
        low_memory=origin.low_memory,
        timings=timing_cache_path(origin),
        on_progress=tell,
    )
    seconds = perf_counter() - start
    tell(f"checking {path.name}", 1.0)
    plan = Plan(built.plan, path.name)
    layers = engine_layers(plan.layers())
    manifest = None if artifact is None else artifact.manifest
    notes = (*built.notes, *check_layers(manifest, built.asked, layers, path.name))
    golden, unchecked = _golden(artifact, plan)
    sidecar = Sidecar(
        cache.SCHEMA_VERSION,
        path.name,
        origin.key,
        origin,
        path.stat().st_size,
        built.plan.nbytes,
        cache.checksum(built.plan),
        datetime.now(timezone.utc).isoformat(),
        round(seconds, 3),
        workspace,
        count(layers),
        golden,
        (*notes, *unchecked),
    )
    return cache.store(cache.engine_path(path.stem, origin), built.plan, sidecar)


def workspace_size(low_memory: bool, root: Path = Path("/")) -> int:
    """What a tactic may use beside its tensors, in bytes: a share of the memory that is free now.

    On a board the GPU's memory is the host's, of which more can be had than counts as free: the kernel gives back what
    it only caches. The other half is for the weights, the tensors and the libraries.
    """
    free = cuda.free_memory()
    if cuda.gpu().integrated:
        free = device.state(root)["memory_available_bytes"] or free
    size = min(int(_LOW_SHARE * free), _LOW_AT_MOST) if low_memory else int(_SHARE * free)
    return max(LEAST_WORKSPACE, size)


def _golden(artifact: Artifact | None, plan: Plan) -> tuple[Golden | None, tuple[str, ...]]:
    """Run the golden input through the engine; CheckError where its logits are not those of the network."""
    if artifact is None:
        return None, ("the file has no manifest: what it must compute is not known, and not checked.",)
    name = artifact.path.name
    pair = artifact.path.with_name(artifact.manifest.golden_file)
    if not pair.exists():
        return None, (f"{pair.name} is not beside {name}: the engine's logits are not checked.",)
    engine = TensorRtEngine(plan, EngineOptions("cuda"))
    timesteps = artifact.manifest.timesteps
    with Session(artifact, engine, backend="tensorrt", device="cuda", timesteps=timesteps, load_ms=0.0) as session:
        found = session.self_test()
    if not found.passed:
        raise CheckError(
            f"the engine of {name} does not compute what the network does: its logits for the golden input differ by "
            f"{found.max_difference:.2g}, allowed are {found.tolerance:.2g}. It is not kept. Export it with --target "
            "tensorrt, or in another --precision; the backend onnxruntime tells whether the file itself is right."
        )
    return Golden(found.max_difference, found.tolerance), ()
