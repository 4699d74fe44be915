"""The commands of the texts that import and finetune, to the letter: the files they name are written here."""

from __future__ import annotations

import runpy
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.e2e.conftest import tks_edge, working_in
from tests.e2e.test_docs import commands
from tests.e2e.test_texts import blocks
from tests.export.nir.files import chain, lif, linear
from tests.tks_edge.ranks import few_digits
from tks_edge.checkpoint import load_run
from tks_edge.data import registry

pytestmark = [pytest.mark.usefixtures("elsewhere"), pytest.mark.filterwarnings("ignore")]  # of the other libraries
PAGES = ("README.md", "docs/import.md")


def code(_command: str) -> None:
    """The program of the page, and weights as a training would leave them."""
    (program,) = blocks("docs/import.md", "python")
    Path("mynet.py").write_text(program)
    torch.save(runpy.run_path("mynet.py")["build"]().state_dict(), "weights.pt")


def nir_file(command: str) -> None:
    """A file that leaves open what this command tells."""
    r = 1.0 if "--decay-input" in command else 2.0
    path = Path("model.nir").absolute()
    chain(path, linear(256, 20), lif(20, r=r), linear(20, 10), shape=(256,), outputs=(10,))


NEEDED: dict[str, Callable[[str], None]] = {"import mynet:build": code, "import model.nir": nir_file}


def wanted(page: str) -> list[str]:
    return [each for each in commands(page) if each.split()[1] in ("import", "finetune")]


def test_what_is_imported_is_a_run_and_is_finetuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._OPENERS, "digits", lambda _: few_digits())
    monkeypatch.setattr(sys, "path", list(sys.path))
    todo = dict.fromkeys(each for page in PAGES for each in wanted(page))
    assert len(todo) == 5
    for number, command in enumerate(sorted(todo, key=lambda each: "finetune" in each)):
        folder = tmp_path / ("theirs" if "runs/theirs" in command else str(number))
        folder.mkdir(exist_ok=True)
        with working_in(folder):
            for words, write in NEEDED.items():
                if words in command:
                    write(command)
        done = tks_edge(*shlex.split(command)[1:], cwd=folder)
        assert done.code == 0, (command, done.err)
    runs = tmp_path / "theirs/runs"
    assert {path.name for path in runs.iterdir()} == {"theirs", "theirs-tks", "theirs-relu"}
    assert load_run(runs / "theirs-tks").config.train.timesteps == 8
    for run, timesteps in (("theirs-tks", "1,2"), ("theirs-relu", "1")):
        done = tks_edge("export", runs / run, "--timesteps", timesteps, "--precision", "fp32,int8", cwd=tmp_path)
        assert done.code == 0, done.err
