"""Small real artifacts, built with the onnx package: one matrix multiplication over raw pixels, or two LIF layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from tests.runtime.fake_gpu import FakeGpu, fake_gpu
from tests.runtime.spiking import SAMPLE, SpikingNetwork
from tks_edge_runtime.artifact import (
    DIRECT,
    FRAMES,
    METADATA_KEY,
    SCHEMA_VERSION,
    STATIC,
    STEP,
    Accuracy,
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
from tks_edge_runtime.backends import BACKENDS, Engine, open_engine
from tks_edge_runtime.files import sha256_of

Array = npt.NDArray[Any]
CLASSES = ("zero", "one", "two", "three")
CPU_BACKENDS = tuple(name for name, backend in BACKENDS.items() if "cpu" in backend.devices)
"""What runs on any machine."""
LABELLED_AT = 4
"""The T at which a spiking network makes no mistake on its evaluation set."""


@dataclass(frozen=True)
class BuiltArtifact:
    """An artifact on disk, and what it must compute."""

    path: Path
    manifest: Manifest
    weights: Array
    inputs: Array
    labels: Array

    def logits(self, images: Array) -> Array:
        """What the graph must give, by NumPy."""
        result: Array = (images.reshape(len(images), -1).astype(np.float32) / np.float32(255)) @ self.weights
        return result


Build = Callable[..., BuiltArtifact]


@dataclass(frozen=True)
class SpikingArtifact:
    """An artifact of a spiking network on disk, and what it was made from."""

    path: Path
    manifest: Manifest
    network: SpikingNetwork
    inputs: Array
    labels: Array

    def mean(self, samples: Array, timesteps: int) -> Array:
        """The mean of the logits that NumPy gives for still images or frames: exact, see `SpikingNetwork`."""
        frames = [samples[:, t] for t in range(timesteps)] if samples.ndim == 5 else [samples] * timesteps
        logits = self.network.logits(frames)
        result: Array = logits.sum(axis=0) / np.float32(timesteps)
        return result


BuildSpiking = Callable[..., SpikingArtifact]


def open_on_one_thread(path: Path, backend: str) -> Engine:
    """An engine of a backend, on one thread where it computes on threads at all."""
    return open_engine(path, backend, threads=1 if backend in CPU_BACKENDS else None)


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Writes an artifact; `changes` replace fields of its manifest."""

    def build_artifact(
        *,
        folder: Path = tmp_path / "artifacts",
        name: str = "small",
        timesteps: int = 2,
        batch: int = 1,
        samples: int = 10,
        wrong: int = 2,
        **changes: Any,
    ) -> BuiltArtifact:
        generator = np.random.default_rng(timesteps)
        weights = generator.normal(size=(int(np.prod(SAMPLE)), len(CLASSES))).astype(np.float32)
        inputs = generator.integers(0, 256, (samples, *SAMPLE), dtype=np.uint8)
        folder.mkdir(exist_ok=True)
        stem = artifact_stem(name, timesteps, "fp32")
        built = BuiltArtifact(
            folder / f"{stem}.onnx", _manifest(name, timesteps, batch, samples), weights, inputs, inputs
        )
        expected = built.logits(inputs)
        labels = expected.argmax(axis=1).astype(np.int64)
        labels[:wrong] = (labels[:wrong] + 1) % len(CLASSES)
        np.savez(folder / f"{stem}.eval.npz", inputs=inputs, labels=labels)
        golden = inputs[np.arange(batch) % samples]
        np.savez(folder / f"{stem}.golden.npz", input=golden, logits=built.logits(golden))
        evaluation = EvaluationSpec(
            "digits", "test", samples, sha256_of(folder / f"{stem}.eval.npz"), f"{stem}.eval.npz"
        )
        fields = {"golden_file": f"{stem}.golden.npz", "evaluation": evaluation, **changes}
        manifest = dataclasses.replace(built.manifest, **fields)
        onnx.save(_model(weights, batch, {METADATA_KEY: manifest.to_json()}), built.path)
        return dataclasses.replace(built, manifest=manifest, labels=labels)

    return build_artifact


@pytest.fixture
def build_spiking(tmp_path: Path) -> BuildSpiking:
    """Writes the artifact of a spiking network in one of its forms; `changes` replace fields of its manifest."""

    def build_artifact(
        *,
        folder: Path = tmp_path / "artifacts",
        form: str = STEP,
        timesteps: int = 4,
        batch: int = 1,
        samples: int = 12,
        seed: int = 0,
        encoding: str = DIRECT,
        **changes: Any,
    ) -> SpikingArtifact:
        network = SpikingNetwork.random(seed)
        manifest = dataclasses.replace(
            _manifest("spiking", timesteps, batch, samples),
            form=form,
            encoding=encoding,
            **{"states": network.states(batch) if form == STEP else (), **changes},
        )
        stem = artifact_stem("spiking", timesteps, manifest.precision.name, form=form, target=manifest.target)
        shape = (samples, timesteps, *SAMPLE) if encoding == FRAMES else (samples, *SAMPLE)
        inputs = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        folder.mkdir(exist_ok=True)
        built = SpikingArtifact(folder / f"{stem}.onnx", manifest, network, inputs, inputs)
        labels = built.mean(inputs, LABELLED_AT).argmax(axis=1).astype(np.int64)
        np.savez(folder / "spiking.eval.npz", inputs=inputs, labels=labels)
        golden = inputs[np.arange(batch) % samples]
        np.savez(folder / f"{stem}.golden.npz", input=golden, logits=built.mean(golden, timesteps))
        sha256 = sha256_of(folder / "spiking.eval.npz")
        evaluation = EvaluationSpec("digits", "test", samples, sha256, "spiking.eval.npz")
        fields = {"golden_file": f"{stem}.golden.npz", "evaluation": evaluation, **changes}
        manifest = dataclasses.replace(manifest, **fields)
        metadata = {METADATA_KEY: manifest.to_json()}
        graph = (
            network.static_graph(batch, timesteps, metadata) if form == STATIC else network.step_graph(batch, metadata)
        )
        onnx.save(graph, built.path)
        return dataclasses.replace(built, manifest=manifest, labels=labels)

    return build_artifact


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGpu]:
    """A machine with a fake GPU and TensorRT, and an empty cache of engines; nothing may be left on the GPU."""
    with fake_gpu(monkeypatch, tmp_path / "cache") as machine:
        yield machine
        assert machine.left() == []


def _model(weights: Array, batch: int, metadata: dict[str, str]) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Cast", ["input"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["pixels", "scale"], ["scaled"]),
        helper.make_node("Flatten", ["scaled"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("input", TensorProto.UINT8, [batch, *SAMPLE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, len(CLASSES)])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.float32(255), "scale")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, metadata)
    return onnx.shape_inference.infer_shapes(model)


def _manifest(name: str, timesteps: int, batch: int, samples: int) -> Manifest:
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name=name,
        network=NetworkSpec("tiny", "lif", {"num_classes": len(CLASSES), "in_channels": 1}, 256),
        train_timesteps=8,
        timesteps=timesteps,
        neuron=NeuronSpec(tau=2.0, v_threshold=0.5, v_reset=None, decay_input=True),
        encoding="direct",
        readout="mean",
        precision=Precision("fp32", "float32", "float32", "float32"),
        input=TensorSpec("input", (batch, *SAMPLE), "uint8", "NCHW", "raw pixels, 0 to 255"),
        outputs=(TensorSpec("logits", (batch, len(CLASSES)), "float32", "NK", "mean over the timesteps"),),
        preprocessing=Preprocessing("L", None, SAMPLE[1:]),
        classes=CLASSES,
        accuracies=(Accuracy(8, samples, samples), Accuracy(timesteps, samples - 2, samples)),
        evaluation=None,
        golden_file="",
        weights_sha256="0" * 64,
        opset=18,
        tools={"tks-edge": "0.1.0"},
        passes=("fold-batch-norm",),
        verification=Verification(10, 1000, 0, 1e-6, 1e-4),
        created="2025-01-01T00:00:00+00:00",
    )


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image[1].png"
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(path)
    return path


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without an NVIDIA driver, whatever this one has; all else is real."""
    monkeypatch.setattr("tks_edge_runtime.machine.nvidia_driver", lambda *_: None)
