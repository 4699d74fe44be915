"""torchrun itself: a process that is killed, and the job that goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.tks_edge.ranks import run_ranks, trained
from tests.tks_edge.short_training import EPOCHS, STEPS, outcome
from tks_edge.checkpoint import LAST
from tks_edge.tensors import read_tensors

_ROOT = Path(__file__).resolve().parents[2]
QUICK = ("--timesteps", "2", "--epochs", str(EPOCHS), "--batch-size", "16", "--lr", "0.01", "--lif-kernel", "torch")


def torchrun(folder: Path, *arguments: str, restarts: int, kill_at: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("TORCHELASTIC")}
    launcher = ["--standalone", "--nproc-per-node", "2", "--max-restarts", str(restarts)]
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *launcher, "-m", "tests.tks_edge.few_digits_cli", *arguments],
        cwd=folder,
        env=own
        | {
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
            "KILL_AT": kill_at,
            "PYTHONPATH": os.pathsep.join(str(_ROOT / name) for name in (".", "models", "export", "runtime")),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_killed_process_restarts_the_job_or_ends_it_and_the_run_goes_on(tmp_path: Path) -> None:
    # Without --output, and with something of that name there already: a restarted job finds its own run again.
    (tmp_path / "runs" / "digits").mkdir(parents=True)
    (tmp_path / "runs" / "digits" / "something").touch()
    run = tmp_path / "runs" / "digits-2"
    once = ("--no-tensorboard", "--save-every", "2", "--overwrite")
    result = torchrun(tmp_path, "train", *QUICK, *once, restarts=1, kill_at="5,1")
    assert result.returncode != 0
    assert result.stdout.count("training into runs/digits-2") == 1
    assert f"continuing after step 4 of {STEPS * EPOCHS}" in result.stdout
    lost = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(lost) == 2, result.stderr
    for line, step in zip(lost, (3, 3), strict=True):
        assert f"another process of this training has ended in epoch 2, step {step} of {STEPS}" in line
        assert f"runs/digits-2 keeps the state after step 4 of {STEPS * EPOCHS}: go on with --resume." in line
    assert "SIGKILL" in result.stderr
    document = read_tensors(run / LAST)[1]
    assert (document["progress"]["epoch"], document["progress"]["step"]) == (1, 1)

    assert run_ranks(2, trained, tmp_path / "whole", {}) == [None, None]
    assert run_ranks(2, resumed, run) == [None, None]
    assert outcome(run) == outcome(tmp_path / "whole")


def resumed(rank: int, path: Path) -> None:
    trained(rank, path, {}, resume=True)
