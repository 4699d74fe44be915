"""`tks-edge import` as a user meets it: from code and from NIR to a run directory that every other command takes."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import safetensors.torch
import torch
import typer
from torch import nn
from typer.testing import CliRunner

from tests.export.nir.files import chain, lif, linear, values
from tests.few_plots import DRAW, few_plots
from tks_edge.checkpoint import CONFIG, load_run
from tks_edge.data.dataset import Dataset
from tks_edge.data.facts import PLUGINS, DatasetEntry, Facts
from tks_edge.imports.importing import Target
from tks_edge_runtime import presets
from tks_edge_runtime.errors import InputError

pytestmark = [
    pytest.mark.usefixtures("few_digits", "elsewhere", "network_code"),
    pytest.mark.filterwarnings("ignore"),  # of the other libraries
]
CODE = """
import torch
from torch import nn
from spikingjelly.activation_based import functional, layer, neuron

def network(channels=1, size=16):
    torch.manual_seed(0)
    made = nn.Sequential(
        layer.Conv2d(channels, 4, 3, padding=1), neuron.LIFNode(), layer.AvgPool2d(2),
        layer.Conv2d(4, 8, 3, padding=1), neuron.LIFNode(decay_input=False), layer.AvgPool2d(2),
        layer.Flatten(), layer.Linear(8 * (size // 4) ** 2, 10),
    )
    with torch.no_grad():
        for module in made:
            if hasattr(module, "weight"):
                module.weight *= 3.0
    return made

def guessing():
    made = network()
    nn.init.zeros_(made[-1].weight)
    return made

def sequence():
    made = network()
    functional.set_step_mode(made, "m")
    return made

def vector():
    torch.manual_seed(1)
    return nn.Sequential(layer.Linear(256, 20), neuron.LIFNode(v_threshold=0.1), layer.Linear(20, 10))

def events():
    return network(2, 24)

def nine():
    return nn.Sequential(layer.Flatten(), layer.Linear(256, 9), neuron.LIFNode(v_threshold=0.1))

def number():
    return 3

def failing():
    raise KeyError("weights")

def fully():
    return nn.Sequential(nn.Flatten(), nn.Linear(256, 10))

constant = 3
"""
TASK = ("--dataset", "digits", "--timesteps", "4", "--mean", "0.3", "--std", "0.3")
TOLD = ("--dt", "1e-4", "--leak", "euler", "--decay-input", "--fires", "at", "--reset", "hard")
FEW = ("--verify-samples", "4")


@pytest.fixture
def network_code(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the user's in the current folder, which is found there and nowhere else."""
    (in_folder / "mynet.py").write_text(CODE)
    (in_folder / "broken.py").write_text("import not_installed_here\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("mynet", "broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def invoke(app: typer.Typer, *arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def done(app: typer.Typer, *arguments: str) -> Any:
    """What a command that must succeed says in JSON."""
    result = invoke(app, *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def code(name: str) -> nn.Module:
    import importlib

    sys.path.insert(0, str(Path.cwd()))
    made: nn.Module = getattr(importlib.import_module("mynet"), name)()
    return made


def test_a_network_from_code_goes_through_every_command(app: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(code("network").state_dict(), "weights.pt")
    told = done(app, "import", "mynet:network", *TASK, "--weights", "weights.pt", "--output", "runs/a")
    assert len(told["validation_accuracy_by_timesteps"]) == 4
    assert told["library"] == "spikingjelly 2.0.0"
    run = load_run("runs/a")
    assert run.config.origin is not None
    assert (run.config.origin.source, run.config.origin.name) == ("python", "mynet:network")
    assert run.config.train.epochs == 0
    assert run.best.validation_accuracy == told["validation_accuracy"]

    rows = done(app, "eval", "runs/a", "--timesteps", "1,2,4,6")["accuracies"]
    assert [row["timesteps"] for row in rows] == [1, 2, 4, 6]
    wanted = ("--timesteps", "2", "--precision", "fp32,fp16,int8", "--form", "static,step")
    for row in done(app, "export", "runs/a", *wanted, *FEW)["artifacts"]:
        assert row["spikes_compared"] > 0
        result = invoke(app, "verify", row["file"], "--against", "runs/a", "--samples", "4")
        assert result.exit_code == 0, result.stderr
    assert done(app, "info", "runs/a")["origin"]["library"] == "spikingjelly 2.0.0"
    assert "conv2d of input" in invoke(app, "info", "runs/a").stdout

    monkeypatch.setitem(presets.PRESETS, "quick", 0.02)
    monkeypatch.setattr(DRAW, few_plots)
    swept = invoke(app, "sweep", "runs/a", "--timesteps", "1,2", *FEW, "--threads", "1", "--json")
    assert swept.exit_code == 0, swept.stderr
    assert {row["status"] for row in json.loads(swept.stdout)["rows"]} == {"ok"}
    assert "tks-edge finetune runs/a --neuron relu" in swept.stderr.replace("\n", " ")
    resumed = invoke(app, "train", "--resume", "--output", "runs/a")
    assert resumed.exit_code == 2
    assert "was imported" in resumed.stderr


def test_the_run_computes_what_the_network_does_on_normalised_pixels(app: typer.Typer) -> None:
    from spikingjelly.activation_based import functional

    done(app, "import", "mynet:network", *TASK, "--output", "runs/a")
    run, theirs = load_run("runs/a"), code("network").eval()
    samples = torch.stack([run.dataset().test[index][0] for index in range(6)])
    functional.reset_net(theirs)
    with torch.no_grad():
        expected = torch.stack([theirs((samples.float() / 255 - 0.3) / 0.3) for _ in range(4)])
        assert torch.allclose(run.network(samples, timesteps=4), expected, atol=1e-5)


def test_an_accuracy_of_guessing_is_warned_of(app: typer.Typer) -> None:
    assert "no better than guessing" not in invoke(app, "import", "mynet:network", *TASK).stdout
    imported = invoke(app, "import", "mynet:guessing", *TASK)
    assert "warning: that is no better than guessing among 10 classes" in imported.stdout


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sequence", ("--input-axes", "TB")),
        ("vector", ("--example-shape", "256")),
        ("network", ("--example", "one.npy")),
    ],
)
def test_the_forms_that_a_forward_takes(app: typer.Typer, name: str, options: tuple[str, ...]) -> None:
    np.save("one.npy", np.random.default_rng(0).random((2, 1, 16, 16)))
    told = done(app, "import", f"mynet:{name}", *TASK, *options)
    assert told["run"] == "runs/mynet"
    assert load_run("runs/mynet").network.input_shape == (1, 16, 16)


def test_recordings_are_shown_as_counts_and_in_fewer_frames(app: typer.Typer, few_digits_dvs: object) -> None:
    done(app, "import", "mynet:events", "--dataset", "digits-dvs", "--timesteps", "2", "--output", "runs/e")
    run = load_run("runs/e")
    frames = torch.randint(0, 5, (2, 3, 2, 24, 24)).float()
    assert torch.equal(run.network.normalize(frames), frames)
    ways = {row["frames"] for row in done(app, "eval", "runs/e", "--timesteps", "1,2")["accuracies"]}
    assert ways == {"first", "rebin"}
    assert done(app, "export", "runs/e", "--timesteps", "2", *FEW)["artifacts"][0]["spikes_compared"] > 0


def test_from_nir_and_back(app: typer.Typer) -> None:
    chain(Path("model.nir"), linear(256, 12), lif(12), linear(12, 10), lif(10), shape=(256,), outputs=(10,))
    intent = done(app, "import", "model.nir", *TASK, *TOLD, "--dry-run")
    assert not Path("runs").exists()
    told = done(app, "import", "model.nir", *TASK, *TOLD)
    assert told["run"] == "runs/model"
    assert {one["path"] for one in intent["writes"]} == {str(path) for path in Path("runs/model").iterdir()}
    run = load_run("runs/model")
    assert run.config.origin is not None
    assert run.config.origin.options == {
        "dt": 1e-4, "leak": "euler", "decay_input": True, "fires": "at", "reset": "hard"
    }  # fmt: skip
    export = ("export", "runs/model", "--format", "nir", "--output", "out", "--verify-samples", "8")
    assert done(app, *export, "--dry-run")["writes"] == [{"path": "out/model.nir", "fate": "new"}]
    assert not Path("out").exists()
    written = done(app, *export)
    assert written["spikes_compared"] == 8 * 4 * 22
    assert written["spikes_differing"] == 0
    assert written["told"] == ["--dt", "0.0001", *TOLD[2:]]
    ways: list[list[str]] = [[], written["told"]]
    for extra in ways:
        again = done(app, *written["import"], *extra, "--output", "runs/again", "--overwrite")
        assert again["validation_accuracy_by_timesteps"] == told["validation_accuracy_by_timesteps"]
    samples = torch.stack([run.dataset().test[index][0] for index in range(6)])
    with torch.no_grad():
        assert torch.equal(load_run("runs/again").network(samples, timesteps=4), run.network(samples, timesteps=4))


def test_what_nir_leaves_open_is_asked_for(app: typer.Typer) -> None:
    chain(Path("model.nir"), linear(256, 10), lif(10), shape=(256,), outputs=(10,))
    result = invoke(app, "import", "model.nir", *TASK)
    assert result.exit_code == 2
    for flag in ("--dt", "--leak", "--decay-input", "--fires", "--reset"):
        assert flag in result.stderr
    assert not Path("runs").exists()


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "no reference": (("my-net", *TASK), "names no function"),
    "no module": (("nowhere:network", *TASK), "no module 'nowhere'"),
    "a module that needs another": (("broken:network", *TASK), "broken needs not_installed_here"),
    "no function": (("mynet:netwrok", *TASK), "Did you mean 'network'"),
    "no callable": (("mynet:constant", *TASK), "cannot be called"),
    "no network": (("mynet:number", *TASK), "returns int"),
    "a function that fails": (("mynet:failing", *TASK), "KeyError: 'weights'"),
    "no neurons": (("mynet:fully", *TASK), "no neurons"),
    "other classes": (("mynet:nine", *TASK), "9 values for each sample, and digits has 10"),
    "another size": (("mynet:events", *TASK), "fails on the example"),
    "no file": (("model.nir", *TASK), "there is no file model.nir"),
    "weights alone": (("weights.pt", *TASK), "import package.module:factory --weights weights.pt"),
    "a pickle of a network": (("mynet:network", *TASK, "--weights", "whole.pt"), "whole.pt is a pickle of more than"),
    "a checkpoint": (("mynet:network", *TASK, "--weights", "checkpoint.pt"), "holds net, epoch"),
    "missing weights": (("mynet:network", *TASK, "--weights", "fewer.safetensors"), "lacks '7.weight'"),
    "other weights": (("mynet:network", *TASK, "--weights", "more.safetensors"), "has 'extra'"),
    "weights of another shape": (
        ("mynet:network", *TASK, "--weights", "other.safetensors"),
        "size mismatch for 7.bias",
    ),
    "damaged weights": (("mynet:network", *TASK, "--weights", "damaged.pt"), "damaged.pt is damaged"),
    "another ending": (("mynet:network", *TASK, "--weights", "mynet.py"), "has the ending '.py'"),
    "no such weights": (("mynet:network", *TASK, "--weights", "none.pt"), "there is no file none.pt"),
    "pixels of unknown scale": (("mynet:network", *TASK[:4]), "--mean and --std of the images must be given"),
    "half a scale": (("mynet:network", *TASK[:6]), "--std of the images must be given"),
    "means of three channels": (("mynet:network", *TASK[:4], "--mean", "0,0,0", "--std", "1"), "has 3 numbers"),
    "a mean of words": (("mynet:network", *TASK[:4], "--mean", "a", "--std", "1"), "numbers with commas"),
    "no deviation": (("mynet:network", *TASK[:4], "--mean", "0", "--std", "0"), "std above 0"),
    "no data set": (("mynet:network", "--dataset", "mnist", *TASK[2:]), "unknown dataset 'mnist'"),
    "a T of 0": (("mynet:network", *TASK[:2], "--timesteps", "0", *TASK[4:]), "timesteps is 0"),
    "a cut of images": (("mynet:network", *TASK, "--cut", "time"), "--cut changes nothing"),
    "options of NIR for code": (("mynet:network", *TASK, "--dt", "1e-4"), "--dt changes nothing"),
    "options of code for NIR": (("model.nir", *TASK, "--weights", "weights.pt"), "--weights changes nothing"),
    "odd axes": (("mynet:network", *TASK, "--input-axes", "CHW"), "unknown order of axes"),
    "a shape of words": (("mynet:network", *TASK, "--example-shape", "a"), "whole numbers with commas"),
    "another shape": (("mynet:network", *TASK, "--example-shape", "255"), "another number of values"),
    "an example of words": (("mynet:network", *TASK, "--example", "mynet.py"), "no array"),
    "an output that is not there": (("mynet:network", *TASK, "--result", "3"), "output is 3"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_one_message_and_nothing_is_written(app: typer.Typer, mistake: str) -> None:
    arguments, message = WRONG[mistake]
    if any(argument.endswith((".pt", ".safetensors")) for argument in arguments):
        network = code("network")
        state = network.state_dict()
        torch.save(state, "weights.pt")
        torch.save(network, "whole.pt")
        torch.save({"net": state, "epoch": 3}, "checkpoint.pt")
        Path("damaged.pt").write_bytes(Path("weights.pt").read_bytes()[:300])
        safetensors.torch.save_file({k: v for k, v in state.items() if k != "7.weight"}, "fewer.safetensors")
        safetensors.torch.save_file(state | {"extra": torch.zeros(1)}, "more.safetensors")
        safetensors.torch.save_file(state | {"7.bias": torch.zeros(3)}, "other.safetensors")
    result = invoke(app, "import", *arguments)
    assert result.exit_code == 2, result.stderr
    assert message in result.stderr
    assert "fault in tks-edge" not in result.stderr
    assert not Path("runs").exists()
    assert invoke(app, "import", *arguments, "--dry-run").stderr == result.stderr


def test_the_data_set_may_be_of_a_plugin(few: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    stripes = DatasetEntry(Facts(embedded=True), lambda request: dataclasses.replace(few, name=request.name))
    monkeypatch.setitem(PLUGINS._loaded, "stripes", stripes)
    target = Target("stripes", 4, mean=(0.3,), std=(0.3,))
    assert (target.open().name, target.frames) == ("stripes", None)
    with pytest.raises(InputError, match="unknown dataset 'strips'"):
        Target("strips", 4, mean=(0.3,), std=(0.3,))


def test_a_run_is_replaced_only_when_asked(app: typer.Typer) -> None:
    chain(Path("model.nir"), linear(256, 10), lif(10), shape=(256,), outputs=(10,))
    arguments = ("import", "model.nir", *TASK, *TOLD, "--output", "runs/a")
    done(app, *arguments)
    before = (Path("runs/a") / CONFIG).read_bytes()
    refused = invoke(app, *arguments)
    assert refused.exit_code == 2
    assert "--overwrite" in refused.stderr
    assert (Path("runs/a") / CONFIG).read_bytes() == before
    done(app, *arguments, "--overwrite")


def test_a_file_for_other_data_is_refused_by_its_shape(app: typer.Typer) -> None:
    kernel = nir.Conv2d((8, 8), values(2, 3, 3, 3), 1, 1, 1, 1, values(2))
    flat = nir.Flatten({"input": np.array([2, 8, 8])}, 0)
    chain(Path("model.nir"), kernel, flat, linear(128, 10), lif(10), shape=(3, 8, 8), outputs=(10,))
    result = invoke(app, "import", "model.nir", *TASK, *TOLD)
    assert result.exit_code == 2
    assert "takes inputs [3, 8, 8], and a sample of the data is [1, 16, 16]" in result.stderr


@pytest.mark.parametrize(
    "option", [("--precision", "int8"), ("--timesteps", "2"), ("--batch-size", "2"), ("--per-step",)]
)
def test_options_that_say_nothing_of_a_file_of_nir(app: typer.Typer, option: tuple[str, ...]) -> None:
    result = invoke(app, "export", "--format", "nir", *option)
    assert result.exit_code == 2
    assert f"{option[0]} changes nothing" in result.stderr


def test_membranes_that_a_run_left_among_the_weights_are_no_weights(tmp_path: Path) -> None:
    from sinabs.layers import LIFSqueeze

    from tks_edge.imports.weight_files import load_into

    ran, fresh = (nn.Sequential(nn.Linear(4, 3), LIFSqueeze(tau_mem=5.0, batch_size=1)) for _ in range(2))
    ran(torch.rand(2, 4))
    torch.save(ran.state_dict(), tmp_path / "weights.pt")
    load_into(fresh, tmp_path / "weights.pt")
    assert torch.equal(fresh.state_dict()["0.weight"], ran.state_dict()["0.weight"])
    assert not fresh.state_dict()["1.v_mem"].numel()
