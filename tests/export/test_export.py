"""What an export leaves on the disk, and what it leaves alone."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from tests.export.conftest import MakeSource, write
from tks_edge_export import ExportError, Reference, VerificationError, artifact, compare, record_evaluation_set
from tks_edge_models import LIFParameters
from tks_edge_runtime.artifact import Artifact
from tks_edge_runtime.errors import InputError, MissingError


def test_an_artifact_says_all_about_itself(make_source: MakeSource, tmp_path: Path) -> None:
    source = make_source()
    evaluation = record_evaluation_set(source.samples, tmp_path)
    write(source, 2, tmp_path, evaluation=evaluation, verify_samples=4, batch_size=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "net-t2-fp32.golden.npz",
        "net-t2-fp32.onnx",
        evaluation.file,
    ]
    opened = Artifact.open(tmp_path / "net-t2-fp32.onnx")
    manifest = opened.manifest
    assert (manifest.timesteps, manifest.train_timesteps, manifest.precision.name) == (2, 4, "fp32")
    assert (manifest.input.shape, manifest.input.dtype) == ((3, 2, 16, 16), "uint8")
    assert manifest.neuron is not None
    assert (manifest.neuron.tau, manifest.neuron.v_reset) == (2.0, 0.0)
    assert manifest.accuracy_at(2) == source.accuracies[0]
    assert manifest.accuracy_at(4) is None
    assert manifest.network.options == source.network.spec
    assert "unroll" in manifest.passes
    assert manifest.tools["torch"] == torch.__version__.split("+")[0]
    inputs, labels = opened.evaluation_set()
    assert np.array_equal(inputs, source.samples.inputs)
    assert np.array_equal(labels, source.samples.labels)
    pixels, logits = opened.golden()
    with torch.inference_mode():
        expected = source.network(torch.from_numpy(pixels), 2).mean(0).numpy()
    np.testing.assert_array_equal(logits, expected)


def test_samples_may_be_named_and_not_written(make_source: MakeSource, tmp_path: Path) -> None:
    evaluation = record_evaluation_set(make_source().samples, tmp_path, write=False)
    assert (evaluation.file, evaluation.samples) == (None, 12)
    assert list(tmp_path.iterdir()) == []


def test_samples_that_are_there_are_left_and_damaged_ones_replaced(make_source: MakeSource, tmp_path: Path) -> None:
    samples = make_source().samples
    first = record_evaluation_set(samples, tmp_path)
    path = tmp_path / str(first.file)
    written = path.stat().st_ino
    assert record_evaluation_set(samples, tmp_path) == first
    assert path.stat().st_ino == written
    path.write_bytes(path.read_bytes()[:-20])
    assert record_evaluation_set(samples, tmp_path) == first
    assert path.stat().st_ino != written


def test_a_full_disk_leaves_the_old_artifact_and_its_golden_pair(
    make_source: MakeSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_source()
    write(source, 1, tmp_path, verify_samples=2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(model: ir.Model, path: Path) -> None:
        if path.parent == tmp_path:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(model, path)

    save = ir.save
    monkeypatch.setattr(ir, "save", full)
    other = make_source("tiny", lif=LIFParameters(tau=4.0))
    with pytest.raises(MissingError, match="no room left"):
        write(other, 1, tmp_path, verify_samples=2)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_every_graph_is_small_and_whole(make_source: MakeSource, tmp_path: Path) -> None:
    source = make_source()
    sizes = [write(source, t, tmp_path, verify_samples=2).artifact.path.stat().st_size for t in (1, 4)]
    weights = 4 * sum(p.numel() for p in source.network.parameters())
    assert sizes[1] - sizes[0] < weights / 2  # nodes, not weights


def test_float_pixels_on_request(make_source: MakeSource, tmp_path: Path) -> None:
    source = make_source()
    evaluation = record_evaluation_set(source.samples, tmp_path)
    made = write(source, 2, tmp_path, input_dtype="float32", verify_samples=4, evaluation=evaluation).artifact
    assert made.manifest.input.dtype == "float32"
    assert made.evaluation_set()[0].dtype == np.float32


def test_a_rejected_graph_gets_no_name_and_harms_no_other(
    make_source: MakeSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_source()
    good = write(source, 2, tmp_path, verify_samples=2).artifact.path
    before = good.read_bytes()
    slower = make_source("tiny", lif=LIFParameters(tau=4.0)).network
    monkeypatch.setattr(
        artifact,
        "compare",
        lambda graph, _, *arguments, **options: compare(graph, Reference(slower), *arguments, **options),
    )
    with pytest.raises(VerificationError, match=r"first in layer 'body.0' at timestep 1"):
        write(source, 2, tmp_path, verify_samples=2)
    assert good.read_bytes() == before
    onnx.checker.check_model(tmp_path / "net-t2-fp32.onnx.rejected")
    assert [path.name for path in tmp_path.glob(".*")] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "fp31"}, "unknown precision 'fp31'. Did you mean 'fp32'?"),
        ({"input_dtype": "int8"}, "unknown input dtype 'int8'. Did you mean 'uint8'?"),
        ({"batch_size": 0}, "batch size is 0"),
        ({"timesteps": 65}, "timesteps is 65"),
    ],
)
def test_impossible_exports_are_refused(
    make_source: MakeSource, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises((ExportError, InputError)) as error:
        write(make_source(), **{"timesteps": 2, "folder": tmp_path, **options})  # type: ignore[arg-type]
    assert message in str(error.value)
    assert list(tmp_path.iterdir()) == []
