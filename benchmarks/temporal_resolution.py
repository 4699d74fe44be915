"""What a network loses at small T to its input, and what to its neurons.

A whole recording in two frames at T = 2 differs from eight frames at T = 8 in two things: the frames hold less of how
the events lie in time, and a neuron has two steps to say something in. In between lie two frames for eight steps, each
frame shown four times. Batch norm's statistics are taken anew for each, without labels.

    python -m benchmarks.temporal_resolution --output bench/resolution.json [--runs bench/temporal] [--seeds 5]
"""

from __future__ import annotations

import argparse
import concurrent.futures
import multiprocessing
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.document import check_output, document, status
from benchmarks.temporal_generalization import directory
from benchmarks.temporal_losses import BEST
from benchmarks.temporal_tables import estimate
from tks_edge_runtime.files import write_json

_SHOWN = ((8, 8), (4, 8), (4, 4), (2, 8), (2, 2), (1, 8), (1, 1))
"""Frames, and timesteps that they are shown for."""
_SAMPLES, _BATCH = 1024, 64


def _accuracies(run_path: Path) -> list[float]:
    """The accuracy in percent on the test split, for each of `_SHOWN`."""
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    import torch

    from tks_edge.checkpoint import load_run
    from tks_edge.data.dataset import Split
    from tks_edge.data.loading import evaluation_batches
    from tks_edge.data.skipping import Skipped
    from tks_edge.frames import merged
    from tks_edge.norms import restate

    torch.set_num_threads(1)
    run = load_run(run_path)
    dataset, network = run.dataset(), run.network
    training = dataset.train.evenly_spaced(_SAMPLES)

    def shown(split: Split, frames: int, steps: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for samples, labels in evaluation_batches(split, _BATCH, skipped=Skipped()):
            yield merged(samples.transpose(0, 1), frames).repeat_interleave(steps // frames, 0), labels

    found = []
    for frames, steps in _SHOWN:
        restate(network, (inputs for inputs, _ in shown(training, frames, steps)))
        with torch.no_grad():
            right = sum(
                int((network(inputs).mean(0).argmax(1) == labels).sum())
                for inputs, labels in shown(dataset.test, frames, steps)
            )
        found.append(100 * right / len(dataset.test))
    return found


def _measure(arguments: argparse.Namespace) -> None:
    check_output(arguments.output)
    found = document("temporal_resolution")
    paths = [directory(arguments.runs, "digits-dvs", BEST, seed) for seed in range(arguments.seeds)]
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(arguments.processes, mp_context=context) as pool:
        each = list(pool.map(_accuracies, paths))
    print(f"{BEST}: accuracy in percent, mean and 95 % interval over {len(paths)} seeds\n")
    print("| frames | timesteps | accuracy | points below 8 frames at T=8 |\n|---|---|---|---|")
    for place, (frames, steps) in enumerate(_SHOWN):
        mine = [accuracies[place] for accuracies in each]
        lost = [accuracies[0] - accuracies[place] for accuracies in each]
        print(f"| {frames} | {steps} | {estimate(mine)} | {estimate(lost) if place else ''} |")
        found["rows"].append({"frames": frames, "timesteps": steps, "accuracies": mine})
    write_json(arguments.output, found)


def main() -> int:
    """Measure, print the table, write JSON; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("bench/temporal"), help="of temporal_generalization")
    parser.add_argument("--seeds", type=int, default=5, help="how many, from 0 [%(default)s]")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="at once [%(default)s]")
    parser.add_argument("--output", type=Path, required=True, help="JSON")
    arguments = parser.parse_args()
    return status(lambda: _measure(arguments))


if __name__ == "__main__":
    sys.exit(main())
