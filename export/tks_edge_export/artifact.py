"""A trained network as an artifact on disk: the verified graph, its manifest, a golden pair and an evaluation set."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch

from tks_edge_export import lint
from tks_edge_export.activity import layer_specs
from tks_edge_export.compiler import Compiled, Compiler
from tks_edge_export.errors import ExportError, VerificationError
from tks_edge_export.manifests import manifest_of, rest_of
from tks_edge_export.options import Options
from tks_edge_export.replay import Replayed
from tks_edge_export.source import Samples, Source, evenly_spaced, first_batch
from tks_edge_export.values import Array
from tks_edge_export.verify import Comparison, compare
from tks_edge_runtime.artifact import METADATA_KEY, Artifact, EvaluationSpec
from tks_edge_runtime.errors import unknown
from tks_edge_runtime.files import replacing, sha256_of

INPUT_DTYPES = ("uint8", "float32")
_CALIBRATION_BATCH = 32


@dataclass(frozen=True)
class Exported:
    """An artifact that was written, and the comparison it passed."""

    artifact: Artifact
    comparison: Comparison


def record_evaluation_set(samples: Samples, folder: Path, *, write: bool = True) -> EvaluationSpec:
    """Say which samples an accuracy is taken on, and write them into `folder` where `write` asks for it.

    The file is called after its content, so artifacts of the same test set share one; one that is there and whole is
    left as it is, since older artifacts know it by its hash.
    """
    content = hashlib.sha256(np.ascontiguousarray(samples.inputs).data)
    content.update(np.ascontiguousarray(samples.labels).data)
    digest = content.hexdigest()
    file = f"{samples.dataset}-{samples.split}-{digest[:8]}.eval.npz" if write else None
    if file is not None:
        if not _holds(folder / file, samples):
            with replacing(folder / file) as temporary:
                np.savez_compressed(temporary, inputs=samples.inputs, labels=samples.labels)
        digest = sha256_of(folder / file)
    return EvaluationSpec(samples.dataset, samples.split, len(samples.labels), digest, file, samples.recordings)


def _holds(path: Path, samples: Samples) -> bool:
    """Whether the file at `path` holds exactly these samples."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            pairs = ((archive["inputs"], samples.inputs), (archive["labels"], samples.labels))
            return all(np.array_equal(there, wanted) for there, wanted in pairs)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return False


class Exporter:
    """Writes artifacts of one network; it is captured once for all of them.

    Args:
        source: the trained network.
        batch_size: N, the static batch of the graphs.
        input_dtype: "uint8" or "float32"; raw pixels 0..255 either way.
        frames: whether every timestep has an input of its own: samples are `[M, T, ...]`.

    Raises:
        ExportError: the network cannot be captured, or has another number of logits than there are classes.
    """

    def __init__(
        self, source: Source, *, batch_size: int = 1, input_dtype: str = "uint8", frames: bool = False
    ) -> None:
        if input_dtype not in INPUT_DTYPES:
            raise unknown("input dtype", input_dtype, INPUT_DTYPES)
        self._frames = frames
        self._example = first_batch(source.samples.inputs, batch_size).astype(input_dtype)
        if frames and self._example.ndim < 2:
            raise ExportError(f"samples are {list(source.samples.inputs.shape)}; frames [M, T, ...] are needed.")
        one_step = self._example[:, 0] if frames else self._example
        self._compiler = Compiler(source.network, torch.from_numpy(np.ascontiguousarray(one_step)))
        self._source = dataclasses.replace(source, classes=_class_names(source.classes, self._compiler.classes))

    def write(
        self,
        options: Options,
        folder: Path,
        *,
        verify_samples: int = 128,
        evaluation: EvaluationSpec | None = None,
        on_progress: Callable[[int], None] | None = None,
    ) -> Exported:
        """Lower the network, compare the graph with it, and write the artifact.

        The graph is compared before it gets its name: one that fails is left as `<stem>.onnx.rejected` for inspection,
        and an artifact of that name from before stays as it was, as it does when the disk is full.

        Args:
            options: what is asked for; `frames` is that of the exporter.
            folder: where the files go.
            verify_samples: how many samples are compared spike by spike.
            evaluation: what `record_evaluation_set` gave, or None where the artifact shall not name its samples.
            on_progress: called with the number of samples compared.

        Raises:
            ExportError: the network cannot be exported so.
            VerificationError: the graph is not the network.
        """
        source, options = self._source, dataclasses.replace(options, frames=self._frames)
        if options.frames and self._example.shape[1] != options.timesteps:
            raise ExportError(
                f"timesteps is {options.timesteps}, but every sample has {self._example.shape[1]} frames: "
                "there must be one for each timestep."
            )
        stem = source.stem(options)
        calibration = source.batches(_CALIBRATION_BATCH, self._example.dtype.name)
        compiled = self._compiler.compile(options, calibration)
        lint.check(compiled.model, options.target, options.skip)
        inputs = evenly_spaced(source.samples.inputs, verify_samples).astype(self._example.dtype)
        rest = rest_of(compiled)
        rejected = folder / f"{stem}.onnx.rejected"
        comparison = self._compared(compiled, options, rejected, inputs, rest, on_progress)
        layers = layer_specs(
            compiled.model,
            compiled.layers,
            comparison.layers,
            inputs,
            options.timesteps,
            frames=self._frames,
            rest=rest,
        )
        golden, target = folder / f"{stem}.golden.npz", folder / f"{stem}.onnx"
        manifest = manifest_of(
            source, compiled, options, comparison, layers, evaluation=evaluation, golden_file=golden.name
        )
        compiled.model.metadata_props[METADATA_KEY] = manifest.to_json()
        # Both are written before either gets its name, the artifact last: it never stands without its golden pair.
        with replacing(target) as graph_file, replacing(golden) as golden_file:
            logits = Replayed(compiled.reference, options.timesteps, frames=self._frames).run_freely(self._example)
            np.savez_compressed(golden_file, input=self._example, logits=logits.mean(0))
            ir.save(compiled.model, graph_file)
        return Exported(Artifact.open(target), comparison)

    def _compared(
        self,
        compiled: Compiled,
        options: Options,
        rejected: Path,
        inputs: Array,
        rest: Mapping[str, float],
        on_progress: Callable[[int], None] | None,
    ) -> Comparison:
        source = self._source
        with tempfile.TemporaryDirectory(prefix="tks-edge-") as scratch:
            candidate = Path(scratch) / "graph.onnx"
            _save(compiled.model, candidate)
            try:
                comparison = compare(
                    candidate,
                    compiled.reference,
                    inputs,
                    options.timesteps,
                    trained=None if compiled.reference.network is source.network else source.network,
                    frames=self._frames,
                    rest=rest,
                    on_progress=on_progress,
                )
                comparison.check(rejected)
            except VerificationError:
                _save(compiled.model, rejected)
                raise
        return comparison


def _class_names(names: tuple[str, ...], logits: int) -> tuple[str, ...]:
    """The names, or the numbers of the logits where there are no names."""
    if names and len(names) != logits:
        raise ExportError(f"there are {len(names)} names of classes, but the network gives {logits} logits.")
    return names or tuple(map(str, range(logits)))


def _save(model: ir.Model, path: Path) -> None:
    with replacing(path) as temporary:
        ir.save(model, temporary)
