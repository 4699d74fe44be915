"""Everything that decides the weights of a run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from tks_edge.data.facts import AUGMENTATIONS, augmentations, facts_of
from tks_edge.settings.compute import ComputeSettings
from tks_edge.settings.frames import FrameSettings
from tks_edge.settings.neuron import NeuronSettings
from tks_edge.settings.objective import ObjectiveSettings
from tks_edge.settings.ranges import check_range
from tks_edge.timesteps import check_timesteps
from tks_edge_runtime.documents import parse
from tks_edge_runtime.errors import InputError, unknown

_LONGEST_AVERAGE = 0.999999
_MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class TrainSettings:
    """Everything that decides the weights of a run; `resolve` fills in what was not given.

    Attributes:
        recipe: name of the recipe that settled what was not asked for.
        dataset: name of the data set.
        image_size: height and width of an input, in pixels; None where the set fixes it.
        augment: name of what is done to training samples.
        frames: how recordings become frames; None for still images.
        model: name of the network; "graph" of one that was made elsewhere.
        neuron: "lif", or "relu" for the twin.
        lif: the neuron's constants; None in the twin, and where each neuron of the network has its own.
        timesteps: T; 1 in the twin.
        loss: name of the loss.
        loss_options: every option of the loss.
        objective: what goes on top of the loss.
        ema: decay of the moving average of the weights, which is then what is kept; None: the weights themselves.
        epochs: passes over the training split; 0 of a network that was made elsewhere.
        warmup_epochs: epochs of them in which the learning rate rises.
        batch_size: samples a step.
        lr: peak learning rate.
        weight_decay: of AdamW, on every parameter.
        clip_norm: the largest norm of a step's gradient; None: not clipped.
        seed: of the weights, the order of the samples and their augmentation.
        threads: of the CPU; sums are split between them, so the last bits of the weights depend on it. None: as many as
            torch takes by itself.
        compute: how it is computed.
        start: the run whose network and weights it begins with; None: fresh weights.
    """

    recipe: str
    dataset: str
    image_size: int | None
    augment: str
    frames: FrameSettings | None
    model: str
    neuron: str
    lif: NeuronSettings | None
    timesteps: int
    loss: str
    loss_options: dict[str, float | str | bool]
    objective: ObjectiveSettings
    ema: float | None
    epochs: int
    warmup_epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    clip_norm: float | None
    seed: int
    threads: int | None
    compute: ComputeSettings
    start: str | None = None

    def __post_init__(self) -> None:
        from tks_edge_models import NEURONS
        from tks_edge_models.graph import NAME as GRAPH

        if self.augment not in AUGMENTATIONS:
            raise unknown("augmentation", self.augment, AUGMENTATIONS)
        events = facts_of(self.dataset).events
        fitting = augmentations(events=events)
        if self.augment not in fitting:
            raise InputError(
                f"the augmentation {self.augment!r} is not for {'recordings' if events else 'still images'}, which "
                f"{self.dataset} holds. Use one of {', '.join(fitting)}."
            )
        if self.neuron not in NEURONS:
            raise unknown("neuron", self.neuron, NEURONS)
        if self.compute.lif_kernel != "auto" and (self.neuron == "relu" or self.compute.compile):
            why = "the ReLU network has none" if self.neuron == "relu" else "--compile makes it"
            raise InputError(f"--lif-kernel {self.compute.lif_kernel} changes nothing: {why}. Leave it out.")
        check_timesteps(self.timesteps)
        check_range("batch_size", self.batch_size, 1)
        if self.model == GRAPH and self.start is None:  # made elsewhere: there are no epochs
            check_range("epochs", self.epochs, 0, 0)
        else:
            check_range("epochs", self.epochs, 1)
            check_range("warmup_epochs", self.warmup_epochs, 0, self.epochs - 1)
            check_range("lr", self.lr, 0.0, above=True)
        check_range("weight_decay", self.weight_decay, 0.0)
        check_range("clip_norm", self.clip_norm, 0.0, above=True)
        check_range("seed", self.seed, 0, _MAX_SEED)
        check_range("threads", self.threads, 1)
        check_range("ema", self.ema, 0.0, _LONGEST_AVERAGE, above=True)
        self.objective.check(self.loss, self.timesteps, self.neuron)
        check_range("image_size", self.image_size, 8, 1024)
        if self.ema is not None and self.compute.strategy == "fsdp":
            raise InputError(
                "--ema averages whole weights, and --strategy fsdp shares them out. Leave one of them out."
            )
        if isinstance(self.batch_size, int) and self.batch_size % self.compute.accumulate:
            raise InputError(
                f"a batch of {self.batch_size} samples does not divide into {self.compute.accumulate} equal parts. "
                f"Choose --accumulate so that it does."
            )

    def to_json(self) -> dict[str, Any]:
        """The settings as a JSON object."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> TrainSettings:
        """The settings that `to_json` wrote.

        Raises:
            InputError: a value is not allowed.
            TypeError: a field is missing, unknown or of another type.
        """
        return parse(cls, document, "train")

    def differences(self, other: TrainSettings) -> list[str]:
        """What `other` has different, as "epochs is 15, not 20"."""
        mine, theirs = _flat(self.to_json()), _flat(other.to_json())
        return [
            f"{name} is {mine.get(name)}, not {theirs.get(name)}"
            for name in mine | theirs
            if mine.get(name) != theirs.get(name)
        ]


def _flat(document: dict[str, Any]) -> dict[str, Any]:
    """One level of nesting written into the names: `lif.tau`."""
    flat: dict[str, Any] = {}
    for name, value in document.items():
        flat |= {f"{name}.{inner}": v for inner, v in value.items()} if isinstance(value, dict) else {name: value}
    return flat
