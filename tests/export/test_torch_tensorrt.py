"""Networks as torch-exported programs: exact before TensorRT, and compared with the network after it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.export.conftest import MakeSource, calibrated
from tests.export.fake_torch_tensorrt import FAKE_GPU, FakeTorchTensorRT, install
from tests.export.plain_networks import Plain
from tks_edge.data.digits import open_digits
from tks_edge_export import ExportError, Source, VerificationError
from tks_edge_export.program import Unrolled, unrolled_program
from tks_edge_export.torch_tensorrt import ProgramExporter, require
from tks_edge_models import LIFParameters, Network, create
from tks_edge_runtime.errors import InputError, MissingError, TksEdgeError

STEM = "net-t2-fp32-torch-trt"
FILES = {f"{STEM}.pt2", f"{STEM}.json", f"{STEM}.golden.npz"}


@pytest.fixture(scope="module")
def digits() -> Tensor:
    """Real images, uint8 `[64, 1, 16, 16]`."""
    images, _ = open_digits().test.evenly_spaced(64).stacked()
    return torch.from_numpy(images)


def adapted(network: Network, images: Tensor) -> Network:
    """The network, its batch norms with the statistics of these images, so that every layer fires."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None
    with torch.no_grad():
        network(images, 1 if network.lif is None else 2)
    return network.eval()


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> FakeTorchTensorRT:
    return install(monkeypatch)


@pytest.fixture(scope="module")
def source(make_source: MakeSource) -> Source:
    return make_source()


@pytest.mark.parametrize(
    ("name", "neuron", "timesteps"),
    [
        *(("tiny", "lif", t) for t in (1, 2, 4)),
        *(("sew_resnet18", "lif", t) for t in (1, 2, 4)),
        ("tiny", "relu", 1),
        ("sew_resnet18", "relu", 1),
    ],
)
def test_the_program_is_the_network_to_the_bit(name: str, neuron: str, timesteps: int, digits: Tensor) -> None:
    torch.manual_seed(1)
    made = create(name, num_classes=10, in_channels=1, image_size=16, neuron=neuron, mean=[0.3], std=[0.35])
    network = adapted(made, digits)
    images = digits[:8]
    program = unrolled_program(Unrolled(network, timesteps), images)
    with torch.inference_mode():
        expected = network(images, timesteps).mean(0)
        assert torch.equal(program.module()(images), expected)
        other = digits[8:16]
        assert torch.equal(program.module()(other), network(other, timesteps).mean(0))
    assert expected.std(0).min() > 0


@pytest.mark.parametrize(
    "lif", [LIFParameters(tau=3.0, v_reset=None), LIFParameters(tau=3.0, v_reset=-0.1, decay_input=False)]
)
def test_other_neurons_are_the_same_to_the_bit(lif: LIFParameters) -> None:
    network = calibrated("tiny", lif=lif)
    pixels = torch.randint(0, 256, (4, 2, 16, 16), dtype=torch.uint8)
    program = unrolled_program(Unrolled(network, 3), pixels)
    with torch.inference_mode():
        assert torch.equal(program.module()(pixels), network(pixels, 3).mean(0))


def test_a_program_takes_raw_pixels_by_the_contracts_name_and_keeps_nothing_of_training(source: Source) -> None:
    pixels = torch.from_numpy(source.samples.inputs[:3])
    program = unrolled_program(Unrolled(source.network, 2), pixels)
    (taken,) = program.graph_signature.user_inputs
    assert taken == "input"
    assert not any(parameter.requires_grad for parameter in program.module().parameters())
    with torch.inference_mode():
        logits = program.module()(pixels)
    assert (logits.dtype, tuple(logits.shape)) == (torch.float32, (3, 4))
    assert all(parameter.requires_grad for parameter in source.network.parameters())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Unrolled(Plain(), 2), r"the network is a Plain; torch-exported programs are made of the networks"),
        (lambda: Unrolled(calibrated("tiny"), 65), r"timesteps is 65; a program is made for 1 to 64"),
        (lambda: Unrolled(calibrated("tiny", neuron="relu"), 2), r"the ReLU network has no state"),
        (
            lambda: unrolled_program(Unrolled(calibrated("tiny"), 2), torch.zeros(1, 3, 16, 16)),
            r"the input has shape \[1, 3, 16, 16\]",
        ),
    ],
)
def test_what_cannot_be_a_program_is_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ExportError, match=said):
        make()


def test_a_program_is_written_with_what_it_is(
    source: Source, library: FakeTorchTensorRT, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[int] = []
    exporter = ProgramExporter(source, FAKE_GPU, batch_size=5)
    written = exporter.write(2, tmp_path, verify_samples=12, on_progress=seen.append)
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert seen == [5, 10, 12]
    document = json.loads(written.sidecar.read_text())
    assert (document["format"], document["file"], document["timesteps"]) == ("torch-trt", f"{STEM}.pt2", 2)
    assert document["input"]["shape"] == [5, 2, 16, 16]
    assert document["gpu"] == {
        "device": "cpu",
        "name": "FakeGPU",
        "compute_capability": "8.9",
        "multiprocessors": 24,
    }
    assert document["tools"]["tensorrt"] == "11.1.0+fake"
    assert document["verification"]["spikes"] is None
    assert (written.comparison.samples, written.comparison.agreeing, written.comparison.within) == (12, 12, 12)
    assert written.comparison.golden_difference == 0.0
    golden = np.load(tmp_path / document["golden_file"])
    loaded = torch.export.load(written.path).module()
    with torch.inference_mode():
        np.testing.assert_array_equal(loaded(torch.from_numpy(golden["input"])).numpy(), golden["logits"])
        expected = source.network(torch.from_numpy(golden["input"]), 2).mean(0)
    np.testing.assert_array_equal(golden["logits"], expected.numpy())
    assert capsys.readouterr().out == ""  # standard output is for the command's own document


def test_a_program_that_is_not_the_network_gets_no_name(
    source: Source, library: FakeTorchTensorRT, tmp_path: Path
) -> None:
    exporter = ProgramExporter(source, FAKE_GPU)
    exporter.write(2, tmp_path, verify_samples=2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    library.wrong = True
    with pytest.raises(VerificationError, match=rf"{STEM}.pt2 is not the network it was made from: .* golden logits"):
        exporter.write(2, tmp_path, verify_samples=2)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (
            AssertionError("the model is not fully supported\nmore"),
            ExportError,
            "cannot compile the network: the model",
        ),
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), MissingError, "the memory of the GPU does not suffice"),
    ],
)
def test_what_the_library_raises_is_explained(
    error: Exception, kind: type[TksEdgeError], said: str, source: Source, library: FakeTorchTensorRT, tmp_path: Path
) -> None:
    library.error = error
    with pytest.raises(kind, match=said) as raised:
        ProgramExporter(source, FAKE_GPU).write(2, tmp_path)
    assert "more" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_dtype_is_refused(source: Source) -> None:
    with pytest.raises(InputError, match=r"unknown input dtype 'int8'. Did you mean 'uint8'"):
        ProgramExporter(source, FAKE_GPU, input_dtype="int8")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_what_a_machine_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tks_edge_export.torch_tensorrt.find_spec", lambda name: None)
    with pytest.raises(MissingError) as raised:
        require()
    assert "torch-tensorrt is not installed (in a checkout of tks-edge: pip install '.[torch-trt]')" in str(
        raised.value
    )
    assert "NVIDIA GPU" in str(raised.value) or "without CUDA" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_a_library_that_cannot_be_loaded_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "torch_tensorrt.py").write_text(
        "print('make sure tensorrt lib is there')\nraise Exception('Could not find libnvinfer.so.11')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(MissingError, match=r"installed and cannot be loaded \(Could not find libnvinfer.so.11\)"):
        require()
    assert capsys.readouterr().out == ""
