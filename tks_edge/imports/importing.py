"""From a network that was trained elsewhere to a run directory, to be read from top to bottom."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tks_edge.checkpoint import Run, RunConfig, load_run, write_best, write_metrics
from tks_edge.data.dataset import Dataset
from tks_edge.data.facts import facts_of
from tks_edge.data.registry import open_dataset
from tks_edge.evaluation import evaluate
from tks_edge.metrics import Validated
from tks_edge.origin import Origin
from tks_edge.run_directory import begun
from tks_edge.settings import ComputeSettings, FrameSettings, ObjectiveSettings, TrainSettings
from tks_edge.timesteps import check_timesteps
from tks_edge_models import ModelError, Network
from tks_edge_models.graph import NAME as GRAPH
from tks_edge_models.graph_samples import for_samples
from tks_edge_runtime.errors import InputError

_BATCH = 64


@dataclass(frozen=True)
class Target:
    """What an imported network was trained for.

    Attributes:
        dataset: name of the data set.
        timesteps: T that it was trained at.
        data: the folder of the data set.
        image_size: pixels a side, where the set can be had in several sizes.
        cut: what the frames of recordings share evenly; None for the default, and for still images.
        mean: per channel, in units of the full pixel range (0..1), of what is subtracted from the pixels; one number
            is for all channels. Needed for images; recordings give counts of events, taken as they are without it.
        std: likewise, of what the pixels are divided by then.
    """

    dataset: str
    timesteps: int
    data: Path | None = None
    image_size: int | None = None
    cut: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        events = facts_of(self.dataset).events
        check_timesteps(self.timesteps)
        if self.cut is not None and not events:
            raise InputError(f"--cut changes nothing: {self.dataset} holds still images. Leave it out.")
        missing = [flag for flag, got in (("--mean", self.mean), ("--std", self.std)) if got is None]
        if len(missing) == 1 or (missing and not events):
            raise InputError(
                f"{' and '.join(missing)} of the images must be given, one number a channel or one for all, in units "
                "of the full pixel range: a pixel p of 0 to 255 becomes (p / 255 - mean) / std, as in the training "
                "of this network. 0 and 1 where it takes values from 0 to 1."
            )
        for name, values in (("--mean", self.mean), ("--std", self.std)):
            if not all(math.isfinite(value) and (value > 0.0 or name == "--mean") for value in values or ()):
                raise InputError(
                    f"{name} is {', '.join(map(str, values or ()))}; finite numbers are needed, std above 0."
                )

    @property
    def frames(self) -> FrameSettings | None:
        """How recordings become frames; None for still images."""
        if not facts_of(self.dataset).events:
            return None
        return FrameSettings(cut=self.cut) if self.cut is not None else FrameSettings()

    def open(self) -> Dataset:
        """The data set.

        Raises:
            InputError: it is no data set, or an option that it does not have.
            MissingError: it is not there.
        """
        return open_dataset(
            self.dataset, self.data, image_size=self.image_size, timesteps=self.timesteps, frames=self.frames
        )

    def normalization(self, channels: int) -> tuple[list[float], list[float]]:
        """The mean and the deviation of each channel.

        Raises:
            InputError: there are other numbers of channels.
        """
        # Counts of events as they are: the network's own input divides by 255 as well.
        mean, std = self.mean or (0.0,), self.std or (1.0 / 255.0,)
        for name, values in (("--mean", mean), ("--std", std)):
            if len(values) not in (1, channels):
                raise InputError(
                    f"{name} has {len(values)} numbers, and the samples {channels} channels. Give as many."
                )
        return list(mean) * (channels // len(mean)), list(std) * (channels // len(std))


def import_network(
    network: Network,
    dataset: Dataset,
    target: Target,
    origin: Origin,
    output: Path,
    *,
    overwrite: bool = False,
    device: str = "cpu",
    after_batch: Callable[[int], None] | None = None,
) -> Run:
    """Write a run directory for a network that was trained elsewhere.

    Its accuracy on the validation split is measured at every T up to that of the training, and recorded.

    Args:
        network: of a graph, which takes its input as it is.
        dataset: that of the target, opened.
        target: what it was trained for.
        origin: where it comes from.
        output: the run directory; see `run_directory.refuse_to_overwrite` for what may stand there.
        overwrite: replace the run at `output`.
        device: where the accuracy is measured, a name that torch knows.
        after_batch: called with the number of samples of each batch.

    Raises:
        InputError: the network does not fit the data, or `output` cannot be written to.
    """
    network = fitted(network, dataset, target, origin)
    timesteps = target.timesteps
    steps = range(1, timesteps + 1)
    network.to(device)
    found = evaluate(network, dataset.validation, steps, batch_size=_BATCH, after_batch=after_batch)
    network.cpu()
    shares = tuple(entry.correct / entry.total for entry in found.accuracies())
    best = Validated(
        epoch=0,
        validation_loss=found.loss,
        validation_accuracy=shares[-1],
        validation_accuracy_by_timesteps=shares,
    )
    config = RunConfig.now(network, _settings(target), dataset, origin=origin)
    with begun(output, config, overwrite=overwrite):
        write_best(output, network, best)
        write_metrics(output, [], best, epochs=0)
    return load_run(output)


def fitted(network: Network, dataset: Dataset, target: Target, origin: Origin) -> Network:
    """The imported network as one that takes the samples of the data set; the arguments are those of `import_network`.

    Raises:
        InputError: it does not fit them.
    """
    if not network.is_spiking:
        raise InputError(f"{origin.name} has no neurons: nothing of it is over time, and there is no T to choose.")
    mean, std = target.normalization(dataset.in_channels)
    shape = (dataset.in_channels, dataset.image_size, dataset.image_size)
    try:
        network = for_samples(network, shape, mean=mean, std=std)
    except ModelError as error:
        raise InputError(
            f"{origin.name} does not fit the data set {dataset.name}: {error} Name the set it was trained on, and its "
            "--image-size where that can be chosen."
        ) from error
    classes = network.spec["num_classes"]
    if classes != len(dataset.classes):
        raise InputError(
            f"{origin.name} gives {classes} values for each sample, and {dataset.name} has {len(dataset.classes)} "
            "classes. Name the set it was trained on."
        )
    return network


def _settings(target: Target) -> TrainSettings:
    """What the run says of a training that was not made here: what it was made for, and no epochs."""
    return TrainSettings(
        recipe="import",
        dataset=target.dataset,
        image_size=target.image_size,
        augment="none",
        frames=target.frames,
        model=GRAPH,
        neuron="lif",
        lif=None,
        timesteps=target.timesteps,
        loss="mean",
        loss_options={},
        objective=ObjectiveSettings(),
        ema=None,
        epochs=0,
        warmup_epochs=0,
        batch_size=_BATCH,
        lr=0.0,
        weight_decay=0.0,
        clip_norm=None,
        seed=0,
        threads=None,
        compute=ComputeSettings(),
    )
