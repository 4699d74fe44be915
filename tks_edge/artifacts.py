"""From a run directory to what the exporter needs: real samples, and the accuracy of the network on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tks_edge.checkpoint import Run
from tks_edge.evaluate import evaluate
from tks_edge_export import Samples, Source
from tks_edge_runtime.errors import InputError


def source_of(
    run: Run,
    timesteps: Sequence[int],
    *,
    samples: int,
    calibration: int,
    name: str | None = None,
    data: Path | None = None,
    device: str = "cpu",
    after_batch: Callable[[int], None] | None = None,
) -> Source:
    """Make a run ready to export.

    Args:
        run: the trained network; it is moved to the CPU.
        timesteps: each T that it will be unrolled at; the accuracy is taken at these and at T of the training.
        samples: how many test samples to take at most, evenly spaced over the split.
        calibration: how many training samples to take at most, evenly spaced, for int8 to look at.
        name: what the artifacts are called after; the run's own name when not given.
        data: where the data set lies, if it was moved.
        device: where the accuracy is computed, a name that torch knows.
        after_batch: called with the number of samples of each batch evaluated.
    """
    name = name if name is not None else run.name
    if not name or Path(name).name != name:
        raise InputError(f"artifacts cannot be called {name!r}; give a plain name without slashes.")
    dataset = run.dataset(data)
    split = dataset.test.evenly_spaced(samples)
    trained_at = run.config.train.timesteps if run.network.is_spiking else 1
    network = run.network.to(device)
    evaluation = evaluate(
        network,
        split,
        sorted({*timesteps, trained_at}),
        batch_size=run.config.train.batch_size,
        after_batch=after_batch,
    )
    network.cpu()
    inputs, labels = split.stacked()
    seen, _ = dataset.train.evenly_spaced(calibration).stacked()
    return Source(
        name=name,
        network=network,
        train_timesteps=trained_at,
        classes=dataset.classes,
        preprocessing=dataset.preprocessing,
        weights_sha256=run.weights_sha256(),
        samples=Samples(dataset.name, "test", inputs, labels),
        accuracies=tuple(evaluation.accuracies()),
        calibration=seen,
    )
