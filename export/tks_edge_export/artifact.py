"""A trained network as an artifact on disk: the verified graph, its manifest, a golden pair and an evaluation set."""

from __future__ import annotations

import datetime
import hashlib
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from tks_edge_export.capture import OPSET
from tks_edge_export.compiler import Compiler
from tks_edge_export.errors import ExportError, VerificationError
from tks_edge_export.options import Options
from tks_edge_export.unroll import LOGITS, LOGITS_PER_STEP
from tks_edge_export.values import static_shape
from tks_edge_export.verify import Comparison, compare
from tks_edge_models import Network
from tks_edge_runtime.artifact import (
    METADATA_KEY,
    SCHEMA_VERSION,
    Accuracy,
    Artifact,
    EvaluationSpec,
    Manifest,
    NetworkSpec,
    NeuronSpec,
    Precision,
    Preprocessing,
    TensorSpec,
    Verification,
    artifact_stem,
)
from tks_edge_runtime.errors import unknown
from tks_edge_runtime.files import replacing, sha256_of

Array = npt.NDArray[Any]
_OUTPUTS = {
    LOGITS: ("NK", "mean of the logits over the timesteps"),
    LOGITS_PER_STEP: ("TNK", "logits of every timestep"),
}
PRECISIONS = {"fp32": Precision("fp32", weights="float32", spikes="float32", membrane="float32")}
INPUT_DTYPES = ("uint8", "float32")
_TOOLS = ("tks-edge", "torch", "onnx", "onnx-ir", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class Samples:
    """Labelled samples of a split, raw pixels: `inputs` uint8 `[M, C, H, W]`, `labels` int64 `[M]`."""

    dataset: str
    split: str
    inputs: Array
    labels: Array


@dataclass(frozen=True)
class Source:
    """A trained network and what its artifacts say about it.

    Attributes:
        name: what artifacts are called after.
        network: with its trained weights.
        train_timesteps: T of the training.
        classes: names, in the order of the logits.
        preprocessing: how an image file becomes an input.
        weights_sha256: of the checkpoint.
        samples: what the accuracies were taken on; the golden pair and the comparison are drawn from them.
        accuracies: of the network in PyTorch, over the whole of `samples`.
    """

    name: str
    network: Network
    train_timesteps: int
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    weights_sha256: str
    samples: Samples
    accuracies: tuple[Accuracy, ...]


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
    return EvaluationSpec(samples.dataset, samples.split, len(samples.labels), digest, file)


def _holds(path: Path, samples: Samples) -> bool:
    """Whether the file at `path` holds exactly these samples."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            pairs = ((archive["inputs"], samples.inputs), (archive["labels"], samples.labels))
            return all(np.array_equal(there, wanted) for there, wanted in pairs)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return False


def export(
    source: Source,
    timesteps: int,
    folder: Path,
    *,
    precision: str = "fp32",
    batch_size: int = 1,
    input_dtype: str = "uint8",
    per_step: bool = False,
    verify_samples: int = 128,
    evaluation: EvaluationSpec | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Exported:
    """Unroll `source` at T, compare the graph with the network, and write the artifact.

    The graph is compared before it gets its name: one that fails is left as `<stem>.onnx.rejected` for inspection, and
    an artifact of that name from before stays as it was, as it does when the disk is full.

    Args:
        source: the trained network.
        timesteps: T of the graph.
        folder: where the files go.
        precision: a key of `PRECISIONS`.
        batch_size: N, the static batch of the graph.
        input_dtype: "uint8" or "float32"; raw pixels 0..255 either way.
        per_step: whether the graph also gives the logits of every step.
        verify_samples: how many samples are compared spike by spike.
        evaluation: what `record_evaluation_set` gave, or None where the artifact shall not name its samples.
        on_progress: called with the number of samples compared.

    Raises:
        ExportError: the network cannot be exported so.
        VerificationError: the graph is not the network.
    """
    exporter = Exporter(source, batch_size=batch_size, input_dtype=input_dtype)
    return exporter.write(
        timesteps,
        folder,
        precision=precision,
        per_step=per_step,
        verify_samples=verify_samples,
        evaluation=evaluation,
        on_progress=on_progress,
    )


class Exporter:
    """Writes artifacts of one network at several T; the network is captured once for all of them.

    Args:
        source: as for `export`.
        batch_size: as for `export`.
        input_dtype: as for `export`.

    Raises:
        ExportError: the network cannot be captured.
    """

    def __init__(self, source: Source, *, batch_size: int = 1, input_dtype: str = "uint8") -> None:
        if input_dtype not in INPUT_DTYPES:
            raise unknown("input dtype", input_dtype, INPUT_DTYPES)
        self._source = source
        self._example = _first_batch(source.samples.inputs, batch_size).astype(input_dtype)
        self._compiler = Compiler(source.network, torch.from_numpy(self._example))

    def write(
        self,
        timesteps: int,
        folder: Path,
        *,
        precision: str = "fp32",
        per_step: bool = False,
        verify_samples: int = 128,
        evaluation: EvaluationSpec | None = None,
        on_progress: Callable[[int], None] | None = None,
    ) -> Exported:
        """Unroll at T, compare, and write; arguments, result and errors are those of `export`."""
        if precision not in PRECISIONS:
            raise unknown("precision", precision, PRECISIONS)
        source, stem = self._source, artifact_stem(self._source.name, timesteps, precision)
        compiled = self._compiler.compile(Options(timesteps, per_step=per_step))
        model, passes = compiled.model, compiled.passes
        compared = _evenly_spaced(source.samples.inputs, verify_samples).astype(self._example.dtype)
        with tempfile.TemporaryDirectory(prefix="tks-edge-") as scratch:
            candidate = Path(scratch) / "graph.onnx"
            _save(model, candidate)
            rejected = folder / f"{stem}.onnx.rejected"
            try:
                comparison = compare(candidate, source.network, compared, timesteps, on_progress)
                comparison.check(rejected)
            except VerificationError:
                _save(model, rejected)
                raise
        golden, target = folder / f"{stem}.golden.npz", folder / f"{stem}.onnx"
        manifest = _manifest(
            source, model, timesteps, PRECISIONS[precision], passes, evaluation, golden.name, comparison
        )
        model.metadata_props[METADATA_KEY] = manifest.to_json()
        # Both are written before either gets its name: an old artifact never stands beside a new golden pair.
        with replacing(golden) as golden_file, replacing(target) as graph_file:
            logits = _logits(source.network, self._example, timesteps)
            np.savez_compressed(golden_file, input=self._example, logits=logits)
            ir.save(model, graph_file)
        return Exported(Artifact.open(target), comparison)


def _first_batch(inputs: Array, size: int) -> Array:
    """One static batch of real samples; too few are repeated."""
    if size < 1:
        raise ExportError(f"batch size is {size}; at least 1 is needed.")
    return inputs[np.arange(size) % len(inputs)]


def _evenly_spaced(inputs: Array, count: int) -> Array:
    """At most `count` samples: a set that is sorted by class would otherwise show its first classes alone."""
    return inputs[np.linspace(0, len(inputs) - 1, min(count, len(inputs)), dtype=int)]


def _save(model: ir.Model, path: Path) -> None:
    with replacing(path) as temporary:
        ir.save(model, temporary)


def _logits(network: Network, example: Array, timesteps: int) -> Array:
    with torch.inference_mode():
        logits: Array = network(torch.from_numpy(example), timesteps).mean(0).numpy()
    return logits


def _manifest(
    source: Source,
    model: ir.Model,
    timesteps: int,
    precision: Precision,
    passes: tuple[str, ...],
    evaluation: EvaluationSpec | None,
    golden_file: str,
    comparison: Comparison,
) -> Manifest:
    network = source.network
    (graph_input,) = model.graph.inputs
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name=source.name,
        network=NetworkSpec(
            name=network.spec["name"],
            neuron=network.spec["neuron"],
            options=network.spec,
            parameters=sum(parameter.numel() for parameter in network.parameters()),
        ),
        train_timesteps=source.train_timesteps,
        timesteps=timesteps,
        neuron=_neuron(network),
        encoding="direct",
        readout="mean",
        precision=precision,
        input=_tensor_spec(graph_input, "NCHW", "raw pixels, 0 to 255"),
        outputs=tuple(_tensor_spec(value, *_OUTPUTS[str(value.name)]) for value in model.graph.outputs),
        preprocessing=source.preprocessing,
        classes=source.classes,
        accuracies=source.accuracies,
        evaluation=evaluation,
        golden_file=golden_file,
        weights_sha256=source.weights_sha256,
        opset=OPSET,
        tools={tool: version(tool) for tool in _TOOLS},
        passes=passes,
        verification=Verification(
            samples=comparison.samples,
            spikes=comparison.decisions,
            borderline=comparison.borderline,
            max_logit_difference=comparison.max_logit_difference,
            logit_tolerance=comparison.logit_tolerance,
        ),
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )


def _neuron(network: Network) -> NeuronSpec | None:
    lif = network.lif
    return None if lif is None else NeuronSpec(lif.tau, lif.v_threshold, lif.v_reset, lif.decay_input)


def _tensor_spec(value: ir.Value, layout: str, meaning: str) -> TensorSpec:
    shape = static_shape(value)
    if shape is None or value.dtype is None:
        raise ExportError(f"the graph's {value.name!r} has no static shape; export with images of one size.")
    return TensorSpec(str(value.name), shape, value.dtype.numpy().name, layout, meaning)
