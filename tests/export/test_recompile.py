"""An artifact is lowered anew with what its manifest says, and nothing that was asked for is forgotten."""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tks_edge_export import MEMBRANES, PRECISIONS, TARGETS, Options, compare, export
from tks_edge_export.manifests import options_of
from tks_edge_export.options import FORMS
from tks_edge_export.passes import PASSES, needed
from tks_edge_export.recompile import recompile
from tks_edge_models import LIF, LIFParameters
from tks_edge_runtime.artifact import Artifact


@st.composite
def asked(draw: st.DrawFn) -> Options:
    """Everything that can be asked for, in any combination that there is."""
    precision, form = draw(st.sampled_from(PRECISIONS)), draw(st.sampled_from(FORMS))
    is_int8 = precision == "int8"
    options = Options(
        draw(st.integers(1, 3)),
        form=form,
        precision=precision,
        membrane=draw(st.sampled_from(MEMBRANES)) if precision == "fp16" else "fp32",
        target=draw(st.sampled_from([*TARGETS])),
        frames=draw(st.booleans()),
        per_step=form == "static" and draw(st.booleans()),
        quantize_ends=is_int8 and draw(st.booleans()),
        keep_float=draw(st.sampled_from(((), ("middle",), ("other",)))) if is_int8 else (),
    )
    left_out = draw(st.frozensets(st.sampled_from(PASSES), max_size=2))
    return Options(**{**vars(options), "skip": left_out - needed(options)})


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """Two layers between spikes."""
    torch.manual_seed(2)
    layers = {"first": nn.Linear(6, 8), "neuron": LIF(), "middle": nn.Linear(8, 8), "second": LIF()}
    module = nn.Sequential(OrderedDict(layers | {"other": nn.Linear(8, 8), "third": LIF(), "last": nn.Linear(8, 3)}))
    with torch.no_grad():
        for path in ("middle", "other"):
            module.get_parameter(f"{path}.weight").mul_(3)
    return module.eval()


def written(network: nn.Module, options: Options, folder: Path) -> tuple[Artifact, Tensor]:
    """The artifact, and what it was verified on."""
    samples = torch.randn((4, options.timesteps, 6) if options.frames else (4, 6)) * 2
    how = {**vars(options), "keep_float": options.keep_float, "skip_passes": tuple(options.skip)}
    del how["skip"]
    return export(network, samples[:2], samples=samples, output=folder, **how).artifact, samples


def check_recompiled(network: nn.Module, options: Options) -> None:
    with tempfile.TemporaryDirectory() as folder:
        artifact, samples = written(network, options, Path(folder))
        manifest = artifact.manifest
        assert options_of(manifest) == options
        made = recompile(manifest, network)
        found = compare(
            artifact.path,
            made.reference,
            samples.numpy(),
            options.timesteps,
            trained=network,
            frames=options.frames,
            rest={state.input: state.zero for state in manifest.states},
        )
        on_disk = onnx.load(artifact.path)
    assert found.problem() is None
    assert found.total.fired > 0
    assert made.options == options
    del on_disk.metadata_props[:]
    anew = made.compiler.compile(made.options, made.calibration)
    assert ir.to_proto(anew.model).SerializeToString() == ir.to_proto(ir.from_proto(on_disk)).SerializeToString()


ARTIFACTS = {
    "plain": Options(2),
    "membrane in fp16": Options(2, precision="fp16", membrane="fp16"),
    "membrane in fp32": Options(2, form="step", precision="fp16"),
    "keep_float": Options(2, precision="int8", keep_float=("middle",)),
    "quantize_ends": Options(2, precision="int8", quantize_ends=True),
    "both": Options(2, precision="int8", target="openvino", quantize_ends=True, keep_float=("first", "last")),
    "coded membranes": Options(2, form="step", precision="int8", target="onnxruntime-cpu"),
    "per_step": Options(2, per_step=True),
    "frames": Options(3, frames=True, precision="int8", target="onnxruntime-cpu", per_step=True),
    "skip": Options(2, skip=frozenset({"first_step", "merge_time"})),
}


@pytest.mark.parametrize("name", ARTIFACTS)
def test_an_artifact_is_verified_by_one_that_is_lowered_anew(network: nn.Module, name: str) -> None:
    check_recompiled(network, ARTIFACTS[name])


@settings(deadline=None, max_examples=3)
@given(options=asked())
def test_whatever_was_asked_for_is_read_back(network: nn.Module, options: Options) -> None:
    check_recompiled(network, options)


def test_calibration_is_read_back_to_the_bit(network: nn.Module, tmp_path: Path) -> None:
    options = Options(2, precision="int8", target="onnxruntime-cpu", quantize_ends=True)
    artifact, samples = written(network, options, tmp_path)
    found = recompile(artifact.manifest, network).calibration
    assert {*found.inputs} == {"first"}
    assert {*found.zeros} == {"neuron", "second", "third"}
    largest = float(np.abs(samples.numpy()).max())
    assert found.inputs["first"].decode(torch.tensor([0.0, float(found.inputs["first"].zero)]))[1] == 0.0
    assert found.inputs["first"].scale * 255 >= largest


class OwnWeight(nn.Module):
    """Multiplies spikes by a parameter that belongs to no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.neurons = nn.ModuleList(LIF(LIFParameters(v_threshold=0.2)) for _ in range(3))
        self.weight = nn.Parameter(torch.randn(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.neurons[1](self.middle(self.neurons[0](self.first(x))))
        logits: Tensor = self.last(self.neurons[2](torch.einsum("ij,nj->ni", self.weight, spikes)))
        return logits


def test_what_int8_cannot_cover_is_left_in_float_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = OwnWeight().eval()
    artifact, samples = written(network, Options(2, precision="int8"), tmp_path)
    (kept,) = artifact.manifest.precision.kept_float
    assert kept not in ("first", "middle", "last")
    made = recompile(artifact.manifest, network)
    assert compare(artifact.path, made.reference, samples.numpy(), 2, trained=network).problem() is None
