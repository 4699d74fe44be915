"""How a training computes: what each option changes, and what it must not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.tks_edge.short_training import Watched, outcome, short
from tks_edge import training
from tks_edge.checkpoint import CONFIG, LAST
from tks_edge.data.loading import training_batches
from tks_edge.recomputation import recompute
from tks_edge.settings import TrainSettings, changed, resolve
from tks_edge.tensors import read_tensors
from tks_edge.trainer import build_network, train
from tks_edge_models import LIF, create
from tks_edge_runtime.errors import CheckError, InputError, MissingError

pytestmark = pytest.mark.usefixtures("few_digits")


def test_the_defaults_change_nothing_and_all_is_recorded(tmp_path: Path, whole: dict[str, Any]) -> None:
    assert outcome(train(short(compute={"accumulate": 1}), tmp_path / "run").path) == whole
    recorded = json.loads((tmp_path / "run" / CONFIG).read_text())["train"]["compute"]
    assert recorded == {
        "precision": "32",
        "channels_last": False,
        "compile": False,
        "accumulate": 1,
        "checkpoint": "none",
        "lif_kernel": "torch",  # what `short` asks for
        "sync_batchnorm": False,
        "strategy": "ddp",
    }
    assert resolve({}).to_json()["compute"] == recorded | {"lif_kernel": "auto"}


@pytest.mark.parametrize(
    ("compute", "said"),
    [
        ({"precision": "16"}, "unknown precision '16'. Did you mean 'bf16'? Allowed: 32, bf16"),
        ({"strategy": "dpp"}, "unknown strategy 'dpp'. Did you mean 'ddp'?"),
        ({"lif_kernel": "tritn"}, "unknown LIF kernel 'tritn'. Did you mean 'triton'?"),
        ({"accumulate": 0}, "accumulate is 0; allowed is at least 1"),
        ({"accumulate": 3}, "a batch of 16 samples does not divide into 3 equal parts"),
        ({"compile": True, "checkpoint": "blocks"}, "Give one of them"),
        ({"channels_last": True, "strategy": "fsdp"}, "Leave --channels-last out"),
    ],
)
def test_what_cannot_be_computed(compute: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        short(compute=compute)
    assert said in str(error.value)


def test_settings_survive_json_and_differences_are_named() -> None:
    settings = resolve({"compute": {"precision": "bf16", "accumulate": 2}})
    assert TrainSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings
    other = changed(settings, {"compute": {"accumulate": 4, "checkpoint": "blocks"}})
    assert settings.differences(other) == ["compute.accumulate is 2, not 4", "compute.checkpoint is none, not blocks"]
    assert other.compute.precision == "bf16"


@pytest.mark.parametrize("checkpoint", ["blocks", "compact"])
def test_activations_that_are_computed_again_give_the_same_bits(
    checkpoint: str, tmp_path: Path, whole: dict[str, Any]
) -> None:
    assert outcome(train(short(compute={"checkpoint": checkpoint}), tmp_path / "run").path) == whole


def test_the_kernel_of_the_neurons_is_chosen_and_said(tmp_path: Path) -> None:
    losses = {}
    for name in ("auto", "torch", "compiled"):
        watched = Watched()
        train(short(epochs=1, compute={"lif_kernel": name}), tmp_path / name, watcher=watched)
        losses[name] = outcome(tmp_path / name)["history"][0]["train_loss"]
        (said,) = watched.notes
        assert said.startswith("LIF kernel: " + ("compiled" if name == "auto" else name))
    # Spikes are equal to the bit, gradients to rounding.
    assert losses["torch"] == pytest.approx(losses["compiled"], rel=1e-5)
    assert losses["auto"] == losses["compiled"]


def test_a_run_goes_on_with_the_kernel_that_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = short(compute={"lif_kernel": "auto"})
    with pytest.raises(KeyboardInterrupt):
        train(settings, tmp_path / "run", watcher=Watched(stop=2))
    assert json.loads((tmp_path / "run" / CONFIG).read_text())["kernel"] == "compiled"
    with monkeypatch.context() as patch:
        patch.setattr("tks_edge_models.lif_compiled.problem", lambda _: "there is no compiler.")
        missing = "LIF kernel 'compiled', with which the run began, cannot be used: there is no compiler. Resume it"
        with pytest.raises(MissingError, match=missing):
            train(settings, tmp_path / "run", resume=True)
    resumed = Watched()
    train(settings, tmp_path / "run", resume=True, watcher=resumed)
    assert resumed.notes == ["LIF kernel: compiled (the run began with it)"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"neuron": "relu", "timesteps": None, "loss": "mean"}, "the ReLU network has none"),
        ({"compute": {"compile": True}}, "--compile makes it"),
    ],
)
def test_a_kernel_that_changes_nothing_is_refused(given: dict[str, Any], said: str) -> None:
    compute = {"lif_kernel": "torch", **given.get("compute", {})}
    with pytest.raises(InputError, match=said):
        short(**{**given, "compute": compute})


def test_a_kernel_that_cannot_run_here_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"LIF kernel 'triton' cannot be used.*Or choose the kernel 'torch'"):
        train(short(compute={"lif_kernel": "triton"}), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def _kept_for_backward(network: nn.Module, x: Tensor, timesteps: int) -> int:
    """Bytes that the forward pass keeps for the backward pass, each storage once."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(x, timesteps=timesteps).sum()
    return sum(kept.values())


def test_activations_that_are_computed_again_are_not_kept() -> None:
    x = torch.randint(0, 256, (4, 1, 32, 32), dtype=torch.uint8)
    plain, sparing = (create("sew_resnet18", num_classes=10, in_channels=1) for _ in range(2))
    recompute(sparing.body)
    assert _kept_for_backward(sparing, x, 4) < _kept_for_backward(plain, x, 4) / 3


def test_bfloat16_trains_and_keeps_weights_and_membranes_in_float32(
    tmp_path: Path, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[tuple[str, torch.dtype]] = set()
    real_lif, real_linear = LIF.forward, nn.Linear.forward

    def lif(self: LIF, x: Tensor) -> Tensor:
        seen.add(("lif", x.dtype))
        return real_lif(self, x)

    def linear(self: nn.Linear, x: Tensor) -> Tensor:
        result = real_linear(self, x)
        seen.add((f"linear {'trains' if self.training else 'evaluates'}", result.dtype))
        return result

    monkeypatch.setattr(LIF, "forward", lif)
    monkeypatch.setattr(nn.Linear, "forward", linear)
    run = train(short(epochs=20, loss="mean", compute={"precision": "bf16"}), tmp_path / "run")
    assert seen == {
        ("lif", torch.float32),
        ("linear trains", torch.bfloat16),
        ("linear evaluates", torch.float32),
    }
    history = json.loads((run.path / "metrics.json").read_text())["epochs_done"]
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert (history, lines[-1]["train_loss"] < 0.7 * lines[0]["train_loss"]) == (20, True)
    tensors, _ = read_tensors(run.path / LAST)
    assert {t.dtype for name, t in tensors.items() if name.endswith(("weight", "exp_avg"))} == {torch.float32}
    assert outcome(run.path)["model"] != whole["model"]


def test_channels_last_trains_to_the_same_up_to_rounding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {"neuron": "relu", "timesteps": None, "loss": "mean"}
    plain = outcome(train(short(**given), tmp_path / "plain").path)["history"]
    seen = []
    real = nn.Conv2d.forward

    def forward(self: nn.Conv2d, x: Tensor) -> Tensor:
        result = real(self, x)
        seen.append(result.is_contiguous(memory_format=torch.channels_last))
        return result

    monkeypatch.setattr(nn.Conv2d, "forward", forward)
    run = train(short(**given, compute={"channels_last": True}), tmp_path / "run")
    assert any(seen)
    for line, other in zip(outcome(run.path)["history"], plain, strict=True):
        assert line["train_loss"] == pytest.approx(other["train_loss"], rel=1e-5)


@pytest.fixture
def twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches whose second half repeats the first, so that batch norm sees the same in both."""
    real = training_batches

    def batches(*arguments: Any, **options: Any) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in real(*arguments, **options):
            half = len(labels) // 2
            yield torch.cat([images[:half]] * 2), torch.cat([labels[:half]] * 2)

    monkeypatch.setattr(training, "training_batches", batches)


@pytest.mark.usefixtures("twice")
def test_a_batch_in_parts_has_the_loss_and_gradient_of_the_whole(tmp_path: Path) -> None:
    # The weights are held still, as in the test of several processes.
    whole, parts = (train(short(lr=1e-12, epochs=1, compute={"accumulate": n}), tmp_path / str(n)).path for n in (1, 2))
    assert outcome(parts)["history"][0]["train_accuracy"] == outcome(whole)["history"][0]["train_accuracy"]
    assert outcome(parts)["history"][0]["train_loss"] == pytest.approx(outcome(whole)["history"][0]["train_loss"])
    one, other = read_tensors(whole / LAST)[0], read_tensors(parts / LAST)[0]
    for name in one:
        if name.endswith("exp_avg"):
            scale = float(one[name].abs().max())
            torch.testing.assert_close(other[name], one[name], rtol=1e-4, atol=1e-5 * scale)


def test_parts_take_the_memory_of_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = set()
    real = training.Training._forward

    def forward(self: training.Training, images: Tensor, labels: Tensor) -> Any:
        sizes.add(len(images))
        return real(self, images, labels)

    monkeypatch.setattr(training.Training, "_forward", forward)
    train(short(epochs=1, compute={"accumulate": 4}), tmp_path / "run")
    assert sizes == {4}


def test_compile_trains_to_the_same_up_to_rounding(tmp_path: Path) -> None:
    given: dict[str, Any] = {"neuron": "relu", "timesteps": None, "loss": "mean"}
    plain = outcome(train(short(**given), tmp_path / "plain").path)["history"]
    run = train(short(**given, compute={"compile": True}), tmp_path / "run")
    for line, other in zip(outcome(run.path)["history"], plain, strict=True):
        assert line["train_loss"] == pytest.approx(other["train_loss"], rel=1e-5)
    assert run.network.state_dict().keys() == build_network(short(**given), run.dataset()).state_dict().keys()


def test_without_a_compiler_compile_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(MissingError, match="needs a C\\+\\+ compiler, and there is no no-such-compiler here"):
        train(short(compute={"compile": True}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_network_that_cannot_be_compiled_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._dynamo.exc

    def failing(*_: Any) -> None:
        raise torch._dynamo.exc.InternalTorchDynamoError("this cannot be\ncompiled")

    monkeypatch.setattr(training.Training, "_step", failing)
    with pytest.raises(CheckError, match=r"torch.compile fails here: this cannot be\. Leave --compile out"):
        train(short(compute={"compile": True}), tmp_path / "run")


def test_waiting_is_a_share_of_the_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train(short(epochs=1), tmp_path / "run")
    line = json.loads((run.path / "metrics.jsonl").read_text())
    assert 0.0 < line["waiting"] < 1.0
