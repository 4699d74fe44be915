"""`tks-edge train` and `tks-edge eval` as a user meets them."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from tks_edge.checkpoint import CONFIG, LAST, MODEL
from tks_edge.data import loading
from tks_edge.data.dataset import Split
from tks_edge.data.facts import DATASETS
from tks_edge.losses import LOSSES
from tks_edge_models import MODELS, NEURONS
from tks_edge_models.surrogate import SURROGATES
from tks_edge_runtime.statistics import wilson

pytestmark = pytest.mark.usefixtures("few_digits")

QUICK = ("--timesteps", "2", "--epochs", "2", "--batch-size", "16")


def invoke(app: typer.Typer, *arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def test_train_then_eval(app: typer.Typer, in_folder: Path) -> None:
    result = invoke(app, "train", *QUICK, "--json")
    assert result.exit_code == 0, result.stderr
    trained = json.loads(result.stdout)
    assert trained["run"] == "runs/digits"
    assert len(trained["validation_accuracy_by_timesteps"]) == 2
    assert "tks-edge" not in result.stdout
    assert "eval runs/digits" in result.stderr
    assert not re.search(r"\btest\b", result.stderr)

    result = invoke(app, "eval", "runs/digits", "--timesteps", "1,2,4", "--json")
    assert result.exit_code == 0, result.stderr
    evaluated = json.loads(result.stdout)
    assert (evaluated["split"], evaluated["trained_at"]) == ("test", 2)
    assert evaluated["weights_sha256"] == trained["weights_sha256"]
    assert [row["timesteps"] for row in evaluated["accuracies"]] == [1, 2, 4]
    for row in evaluated["accuracies"]:
        assert row["accuracy"] == row["correct"] / 30
        assert row["interval"] == list(wilson(row["correct"], 30))
    assert "export runs/digits --timesteps 1,2,4" in result.stderr


def test_eval_takes_the_newest_run_and_its_own_timesteps(app: typer.Typer, in_folder: Path) -> None:
    invoke(app, "train", "--timesteps", "3", "--epochs", "1", "--batch-size", "16")
    result = invoke(app, "eval")
    assert result.exit_code == 0, result.stderr
    assert "evaluating runs/digits, the newest run" in result.stdout
    assert "export runs/digits --timesteps 1,2,3" in result.stdout
    for line in result.stdout.splitlines():
        assert "Traceback" not in line


def test_paths_are_said_as_they_are_whatever_brackets_they_hold(app: typer.Typer, in_folder: Path) -> None:
    result = invoke(app, "train", *QUICK, "--output", "runs/a[/b]")
    assert result.exit_code == 0, result.stderr
    assert "runs/a[/b]: best epoch" in result.stdout
    Path("runs/a[/b]").rename("runs/[bold]x")
    result = invoke(app, "eval")
    assert result.exit_code == 0, result.stderr
    assert "evaluating runs/[bold]x, the newest run" in result.stdout
    assert "[bold]x on the test split of digits" in result.stdout
    result = invoke(app, "export", "--timesteps", "1", "--output", "to[/c]", "--verify-samples", "2")
    assert result.exit_code == 0, result.stderr
    assert "to[/c]/[bold]x-t1-fp32.onnx  trained network" in result.stdout
    against = ("--against", "runs/[bold]x", "--samples", "2")
    result = invoke(app, "verify", "to[/c]/[bold]x-t1-fp32.onnx", *against)
    assert result.exit_code == 0, result.stderr
    assert "to[/c]/[bold]x-t1-fp32.onnx is the network of runs/[bold]x." in result.stdout


def test_a_second_training_takes_the_next_name_and_says_so(app: typer.Typer, in_folder: Path) -> None:
    invoke(app, "train", *QUICK)
    before = Path("runs/digits", MODEL).read_bytes()
    result = invoke(app, "train", *QUICK, "--seed", "1")
    assert result.exit_code == 0, result.stderr
    assert "runs/digits exists; training into runs/digits-2" in result.stdout
    assert Path("runs/digits", MODEL).read_bytes() == before
    assert Path("runs/digits-2", MODEL).exists()


def test_the_twin_has_a_name_of_its_own_and_one_pass(app: typer.Typer, in_folder: Path) -> None:
    result = invoke(app, "train", "--neuron", "relu", "--epochs", "1", "--json")
    assert (result.exit_code, json.loads(result.stdout)["run"]) == (0, "runs/digits-relu")
    assert json.loads(invoke(app, "eval", "runs/digits-relu", "--json").stdout)["accuracies"][0]["timesteps"] == 1
    result = invoke(app, "eval", "runs/digits-relu", "--timesteps", "1,2")
    assert (result.exit_code, "one pass" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("train", "--dataset", "digit"), 2, "Did you mean 'digits'?"),
        (("train", "--model", "tinny"), 2, "Did you mean 'tiny'?"),
        (("train", "--loss", "tkss"), 2, "Did you mean 'tks'?"),
        (("train", "--surrogate", "atn"), 2, "Did you mean 'atan'?"),
        (("train", "--reset", "sotf"), 2, "Did you mean 'soft'?"),
        (("train", "--neuron", "rleu"), 2, "Did you mean 'relu'?"),
        (("train", "--loss-option", "tua=3"), 2, "Did you mean 'tau'?"),
        (("train", "--neuron", "relu", "--loss", "tks"), 2, "Use --loss mean"),
        (("train", "--timesteps", "0"), 2, "allowed is 1 to 64"),
        (("train", "--timesteps", "1000"), 2, "allowed is 1 to 64"),
        (("train", "--dataset", "cifar10"), 3, "--download"),
        (("train", "--dataset", "folder", "--data", "nowhere"), 2, "nowhere is not a folder"),
        (("train", "--resume"), 2, "no unfinished run"),
        (("train", "--resume", "--output", "nowhere"), 2, "is no run directory"),
        (("train", "--device", "gpu"), 2, "Allowed: auto, cpu, cuda."),
        (("eval",), 2, "no trained run"),
        (("eval", "nowhere"), 2, "is no folder"),
        (("eval", "nowhere", "--timesteps", "0"), 2, "allowed is 1 to 64"),
        (("eval", "nowhere", "--timesteps", "one"), 2, "neither a T nor a range"),
    ],
)
def test_wrong_use_is_one_clear_line(
    arguments: tuple[str, ...], code: int, said: str, app: typer.Typer, in_folder: Path
) -> None:
    result = invoke(app, *arguments)
    assert result.exit_code == code, result.output
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) <= 2
    assert not (in_folder / "runs").exists()


def test_a_damaged_run_is_one_clear_line(app: typer.Typer, in_folder: Path) -> None:
    invoke(app, "train", *QUICK)
    weights = Path("runs/digits", MODEL)
    weights.write_bytes(weights.read_bytes()[:1000])
    result = invoke(app, "eval", "runs/digits")
    assert (result.exit_code, "runs/digits/model.safetensors is damaged" in result.stderr) == (2, True)
    assert "Traceback" not in result.output


def test_tensorboard_is_written_where_it_is_installed(
    app: typer.Typer, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tks_edge import tensorboard

    for installed in (True, False):
        monkeypatch.setattr(tensorboard, "is_installed", lambda installed=installed: installed)
        for flags, written in (((), installed), (("--no-tensorboard",), False)):
            result = invoke(app, "train", *QUICK, "--overwrite", "--output", "run", *flags)
            assert result.exit_code == 0, result.stderr
            assert Path("run", tensorboard.FOLDER).exists() is written
    result = invoke(app, "train", *QUICK, "--overwrite", "--output", "run", "--tensorboard")
    assert (result.exit_code, "pip install tensorboard" in result.stderr) == (3, True)


def test_training_does_not_import_tensorboard_unless_it_writes_for_it(in_folder: Path) -> None:
    code = "import sys, tks_edge.trainer, tks_edge.commands.train; from tks_edge.tensorboard import is_installed; "
    code += "is_installed(); sys.exit('tensorboard' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("moment", ["tks_edge.trainer.refuse_to_overwrite", "tks_edge.run_directory._take"])
def test_a_name_taken_in_the_meantime_leads_to_the_next(
    moment: str, app: typer.Typer, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tks_edge import run_directory

    real = getattr(run_directory, moment.rpartition(".")[2])
    first = True

    def taken(path: Path, **options: bool) -> None:
        nonlocal first
        if first:
            first = False
            path.mkdir(parents=True)
            (path / CONFIG).write_text("the other's")
        real(path, **options)

    monkeypatch.setattr(moment, taken)
    result = invoke(app, "train", *QUICK, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["run"] == "runs/digits-2"
    assert Path("runs/digits", CONFIG).read_text() == "the other's"
    first = True
    result = invoke(app, "train", *QUICK, "--output", "mine")
    assert (result.exit_code, "mine " in result.stderr) == (2, True)


def test_eval_runs_at_the_batch_size_of_the_training(
    app: typer.Typer, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke(app, "train", "--timesteps", "1", "--epochs", "1", "--batch-size", "12")
    sizes = []
    real = loading.evaluation_batches

    def seen(split: Split, batch_size: int, *arguments: Any, **options: Any) -> Any:
        sizes.append(batch_size)
        return real(split, batch_size, *arguments, **options)

    monkeypatch.setattr("tks_edge.evaluation.evaluation_batches", seen)
    accuracies = []
    for flags in ((), ("--batch-size", "5")):
        result = invoke(app, "eval", "--json", *flags)
        assert result.exit_code == 0, result.stderr
        accuracies.append(json.loads(result.stdout)["accuracies"])
    assert sizes == [12, 5]
    assert accuracies[0] == accuracies[1]


def test_val_as_the_test_split_is_said(app: typer.Typer, in_folder: Path) -> None:
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            folder = Path("images", part, name)
            folder.mkdir(parents=True)
            for i in range(10):
                Image.new("RGB", (32, 32), (i, 0, 0)).save(folder / f"{i}.png")
    arguments = ("--dataset", "folder", "--data", "images", "--model", "tiny", "--timesteps", "1", "--epochs", "1")
    result = invoke(app, "train", *arguments)
    assert result.exit_code == 0, result.stderr
    assert "val/ is the test split" in result.stdout
    result = invoke(app, "eval")
    assert result.exit_code == 0, result.stderr
    assert "the test split of folder (val/)" in " ".join(result.stdout.split())


def test_help_names_every_choice(app: typer.Typer) -> None:
    text = " ".join(invoke(app, "train", "--help").stdout.replace("│", " ").split())
    for name in (*DATASETS, *MODELS, *LOSSES, *NEURONS, *SURROGATES):
        assert name in text, name


INTERRUPTED = """
import dataclasses
from tks_edge.data import registry
from tks_edge.data.dataset import Split
from tks_edge.data.digits import open_digits
from tks_edge.cli import app

full = open_digits()
def few(split, n):
    labels = [0] * len(split.samples)
    for index, label in zip(split.indices, split.labels):
        labels[index] = label
    return Split(split.samples, labels, split.indices[:n])
small = dataclasses.replace(full, train=few(full.train, 48), validation=few(full.validation, 20))
registry._OPENERS["digits"] = lambda _: small
app(prog_name="tks-edge")
"""


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    arguments = [
        "--timesteps",
        "2",
        "--epochs",
        "2000",
        "--batch-size",
        "16",
        "--output",
        "run",
        "--lif-kernel",
        "torch",
    ]
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", INTERRUPTED, "train", *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch"):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "next: tks-edge train --resume --output run" in out
    assert "Traceback" not in err
    assert (tmp_path / "run" / LAST).exists()


def test_resume_takes_the_settings_of_the_run(
    app: typer.Typer, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tks_edge import training

    real = training.Training._step
    steps = 0

    def interrupted(self: Any, *batch: Any) -> None:
        nonlocal steps
        steps += 1
        real(self, *batch)
        if steps == 4:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(training.Training, "_step", interrupted)
        result = invoke(app, "train", *QUICK, "--seed", "7", "--output", "runs/mine")
    assert result.exit_code == 130
    assert "train --resume --output runs/mine" in result.stdout
    result = invoke(app, "train", "--resume", "--epochs", "5")
    assert (result.exit_code, "epochs is 2, not 5" in result.stderr) == (2, True)
    result = invoke(app, "train", "--resume", "--seed", "7")
    assert result.exit_code == 0, result.stderr
    assert "resuming runs/mine" in result.stdout
    assert "continuing after step 4 of 6" in result.stdout


def test_info_shows_how_the_cost_grows_with_t(app: typer.Typer, in_folder: Path) -> None:
    invoke(app, "train", "--timesteps", "3", "--epochs", "1", "--batch-size", "16")
    result = invoke(app, "info", "runs/digits", "--json")
    assert result.exit_code == 0, result.stderr
    twin, *costs = json.loads(result.stdout)["costs"]
    assert (twin["neuron"], [row["timesteps"] for row in costs]) == ("relu", [1, 2, 3])
    assert twin["macs"] == costs[0]["macs"]
    assert costs[2]["macs"] - costs[1]["macs"] == costs[1]["macs"] - costs[0]["macs"] > 0
    assert {row["parameters"] for row in costs} == {costs[0]["parameters"]}
    for fewer, more in itertools.pairwise(costs):
        assert fewer["nodes"] < more["nodes"]
        assert fewer["activation_bytes"] < more["activation_bytes"]
    text = invoke(app, "info", "runs/digits").stdout
    for shown in ("ReLU twin", "T=1", "T=2", "T=3", "MACs"):
        assert shown in text


def test_info_of_a_relu_run_shows_its_one_pass(app: typer.Typer, in_folder: Path) -> None:
    invoke(app, "train", "--neuron", "relu", "--epochs", "1", "--batch-size", "16")
    result = invoke(app, "info", "runs/digits-relu", "--json")
    assert result.exit_code == 0, result.stderr
    assert [(row["neuron"], row["timesteps"]) for row in json.loads(result.stdout)["costs"]] == [("relu", 1)]


def test_info_is_readable(app: typer.Typer, in_folder: Path) -> None:
    invoke(app, "train", *QUICK)
    result = invoke(app, "info", "runs/digits")
    assert result.exit_code == 0, result.stderr
    lines = [" ".join(line.replace("│", " ").split()) for line in result.stdout.splitlines()]
    for shown in ("network lif tau 2", "network lif decay_input yes", "train loss_options tau 3", "dataset root -"):
        assert shown in lines
    assert any(re.fullmatch(r"best validation_accuracy \d+\.\d\d%", line) for line in lines)
    assert not set("{}[]'") & set(result.stdout)


def test_info_counts_the_cost_of_an_artifact(app: typer.Typer, in_folder: Path) -> None:
    invoke(app, "train", *QUICK)
    result = invoke(app, "export", "--timesteps", "1,2", "--verify-samples", "4", "--no-eval-set")
    assert result.exit_code == 0, result.stderr
    costs = []
    for timesteps in (1, 2):
        result = invoke(app, "info", f"artifacts/digits-t{timesteps}-fp32.onnx", "--json")
        assert result.exit_code == 0, result.stderr
        document = json.loads(result.stdout)
        assert document["manifest"]["timesteps"] == timesteps
        costs.append(document["cost"])
    assert costs[0]["parameters"] == costs[1]["parameters"]
    assert costs[0]["macs"] < costs[1]["macs"] < 2 * costs[0]["macs"]
    assert costs[1]["operators"]["Conv"] > 0
    text = invoke(app, "info", "artifacts/digits-t2-fp32.onnx").stdout
    assert "one run of the graph, batch 1" in text
    assert "operators: " in text
