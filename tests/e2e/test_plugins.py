"""A plugin that is installed gives its names to every command; one that is not, or is broken, is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from tests.e2e.conftest import ROOT, Finished, environment
from tests.e2e.conftest import tks_edge as here

REWRITE = "multiply_by_reciprocal"


def tks_edge(*arguments: str | Path, cwd: Path, plugins: Path | None = None) -> Finished:
    """Run `tks-edge` in a process that finds the distributions in `plugins`."""
    found = environment()
    if plugins is not None:
        found["PYTHONPATH"] = os.pathsep.join((str(plugins), found["PYTHONPATH"]))
    program = [sys.executable, "-m", "tks_edge", *map(str, arguments)]
    done = subprocess.run(program, cwd=cwd, capture_output=True, text=True, env=found)
    return Finished(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that examples/plugin is installed into."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    copied = tmp_path_factory.mktemp("source") / "plugin"
    subprocess.run(["cp", "-r", ROOT / "examples/plugin", copied], check=True)  # a build leaves nothing in the checkout
    subprocess.run([*pip, "--target", folder, copied], check=True)
    return folder


@pytest.fixture(scope="module")
def trained(example: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs/stripes and artifacts/, made with everything that the plugin gives."""
    folder = tmp_path_factory.mktemp("trained")
    loss = ("--loss", "late", "--loss-option", "power=2")
    task = ("--dataset", "stripes", "--model", "fork", "--timesteps", "2", "--output", "runs/stripes")
    done = tks_edge("train", *task, *loss, cwd=folder, plugins=example)
    assert done.code == 0, done.err
    how = ("--timesteps", "2", "--pass", REWRITE, "--form", "static,step", "--verify-samples", "4", "--json")
    done = tks_edge("export", "runs/stripes", *how, cwd=folder, plugins=example)
    assert done.code == 0, done.err
    assert [row["accuracy"] > 0.9 for row in done.document["artifacts"]] == [True, True]
    return folder


def test_a_run_records_what_it_needs(trained: Path) -> None:
    config = json.loads((trained / "runs/stripes/config.json").read_text())
    assert config["plugins"] == dict.fromkeys(("model", "loss", "dataset"), "tks-edge-example 0.1.0")
    assert config["train"]["loss_options"] == {"power": 2.0}
    assert (config["network"]["name"], config["dataset"]["name"]) == ("fork", "stripes")


def test_a_plugins_pass_is_applied_recorded_and_verified(trained: Path, example: Path) -> None:
    model = onnx.load(trained / "artifacts/stripes-t2-fp32.onnx")
    assert "Div" not in {node.op_type for node in model.graph.node}
    manifest = json.loads(model.metadata_props[0].value)
    assert REWRITE in manifest["passes"]
    assert manifest["tools"][f"pass {REWRITE}"] == "tks-edge-example 0.1.0"
    command = ("verify", "artifacts/stripes-t2-fp32.onnx", "--against", "runs/stripes", "--samples", "4", "--json")
    done = tks_edge(*command, cwd=trained, plugins=example)
    assert done.code == 0, done.err
    assert done.document["problem"] is None


def test_a_plugins_backend_agrees_with_those_that_come_along(trained: Path, example: Path) -> None:
    program = """
import numpy as np
from tks_edge import load
for file in ("stripes-t2-fp32", "stripes-step-fp32"):
    with load(f"artifacts/{file}.onnx", "reference") as session, load(f"artifacts/{file}.onnx") as other:
        assert session.describe()["library"] == "onnx.reference"
        assert session.self_test().passed
        images = session.artifact.evaluation_set()[0][:4]
        np.testing.assert_allclose(session.run(images), other.run(images), atol=1e-5)
import sys
assert "torch" not in sys.modules
"""
    path = os.pathsep.join((str(example), environment()["PYTHONPATH"]))
    subprocess.run([sys.executable, "-c", program], cwd=trained, check=True, env=environment() | {"PYTHONPATH": path})


def test_a_plugins_backend_stands_beside_the_others(trained: Path, example: Path) -> None:
    found = json.loads(tks_edge("doctor", "--json", cwd=trained, plugins=example).out)
    assert any(finding["subject"] == "reference on cpu" for finding in found["findings"])
    wrong = tks_edge(
        "profile", "artifacts/stripes-t2-fp32.onnx", "--backend", "referense", cwd=trained, plugins=example
    )
    assert wrong.code == 2
    assert "Did you mean 'reference'?" in wrong.err


def test_a_dry_run_knows_the_networks_and_data_sets_of_plugins(example: Path, tmp_path: Path) -> None:
    asked = ("train", "--dataset", "stripes", "--model", "fork", "--dry-run")
    done = tks_edge(*asked, cwd=tmp_path, plugins=example)
    assert done.code == 0, done.err
    assert "would train fork" in done.out
    refused = tks_edge(*asked, "--download", cwd=tmp_path, plugins=example)
    assert (refused.code, "stripes is not fetched" in refused.err) == (2, True), refused.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("train", ("fork", "late", "stripes")),
        ("import", ("stripes",)),
        ("export", (REWRITE,)),
        ("run", ("reference",)),
        ("report", ("reference",)),
    ],
)
def test_help_lists_what_is_installed(example: Path, tmp_path: Path, command: str, names: tuple[str, ...]) -> None:
    with_it = tks_edge(command, "--help", cwd=tmp_path, plugins=example).out
    without = tks_edge(command, "--help", cwd=tmp_path).out
    for name in names:
        assert f"Of plugins: {name}." in " ".join(with_it.replace("│", " ").split())
    assert "Of plugins" not in without


@pytest.mark.parametrize("command", [("eval",), ("export",), ("info",), ("train", "--resume", "--output")])
def test_a_run_whose_plugin_is_missing_says_so(trained: Path, command: tuple[str, ...]) -> None:
    done = here(*command, trained / "runs/stripes", cwd=trained)
    assert done.code == 3
    assert "needs the model 'fork' of tks-edge-example 0.1.0, which is not installed here" in done.err


def test_an_artifact_needs_its_plugin_to_be_verified_and_not_to_be_run(trained: Path) -> None:
    program = f"""
from tks_edge_export.passes import recorded
from tks_edge_runtime import load
from tks_edge_runtime.errors import MissingError
with load("artifacts/stripes-t2-fp32.onnx") as session:
    assert session.self_test().passed
    manifest = session.manifest
try:
    recorded(manifest.passes, manifest.tools)
except MissingError as error:
    assert "the pass '{REWRITE}' of tks-edge-example 0.1.0, which is not installed here" in str(error)
else:
    raise SystemExit("nothing was said")
"""
    subprocess.run([sys.executable, "-c", program], cwd=trained, check=True, env=environment())
