"""Everything that decides the weights of a run, with the defaults of each data set, and where runs are kept.

Importing it does not import torch: the command line does so.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tks_edge.timesteps import check_timesteps
from tks_edge_runtime.documents import parse
from tks_edge_runtime.errors import InputError, unknown

RUNS = Path("runs")
"""Where a training goes, and where the newest run is looked for, when no directory is named."""
RESETS = ("hard", "soft")
_MAX_SEED = 2**63 - 1
_LONGEST_WARMUP = 5
"""In epochs: the authors' warm-up; a training of fewer than 50 epochs warms up for a tenth of them."""


@dataclass(frozen=True)
class Recipe:
    """What a training on a data set starts from where nothing else is asked for.

    Attributes:
        model: name of the network.
        epochs: passes over the training split.
        batch_size: samples a step.
        lr_per_1024: the peak learning rate at batch size 1024; it scales linearly with the batch size.
        threads: of the CPU; None: as many as torch takes by itself.
    """

    model: str
    epochs: int
    batch_size: int
    lr_per_1024: float
    threads: int | None = None


RECIPES = {
    # Chosen on the validation split, over seeds. One thread: layers this small gain nothing from a second one, and on a
    # busy machine two that wait for each other take ten times as long.
    "digits": Recipe("tiny", epochs=15, batch_size=32, lr_per_1024=0.1, threads=1),
    # The one command that the TKS authors print: ResNet-19, 600 epochs, batch 128, 5e-3 * B / 1024.
    "cifar10": Recipe("resnet19", epochs=600, batch_size=128, lr_per_1024=0.005),
    "cifar100": Recipe("resnet19", epochs=600, batch_size=128, lr_per_1024=0.005),
    "folder": Recipe("sew_resnet18", epochs=100, batch_size=64, lr_per_1024=0.005),
}
DATASETS = tuple(RECIPES)


@dataclass(frozen=True)
class NeuronSettings:
    """The constants of the LIF neuron.

    Attributes:
        tau: membrane time constant in timesteps, at least 1.
        threshold: the potential at which it fires.
        reset: "hard" (to 0) or "soft" (the threshold is subtracted).
        surrogate: name of the surrogate gradient.
    """

    tau: float = 2.0
    threshold: float = 0.5
    reset: str = "hard"
    surrogate: str = "quadratic"

    def __post_init__(self) -> None:
        from tks_edge_models.surrogate import SURROGATES  # needs torch

        if self.reset not in RESETS:
            raise unknown("reset", self.reset, RESETS)
        if self.surrogate not in SURROGATES:
            raise unknown("surrogate", self.surrogate, SURROGATES)


@dataclass(frozen=True)
class TrainSettings:
    """Everything that decides the weights of a run; `resolve` fills in what was not given.

    Attributes:
        dataset: name of the data set.
        image_size: height and width that the images of a folder are brought to, in pixels; None where the set fixes it.
        model: name of the network.
        neuron: "lif", or "relu" for the twin.
        lif: the neuron's constants; None in the twin.
        timesteps: T; 1 in the twin.
        loss: name of the loss.
        loss_options: every option of the loss.
        epochs: passes over the training split.
        warmup_epochs: epochs of them in which the learning rate rises.
        batch_size: samples a step.
        lr: peak learning rate.
        weight_decay: of AdamW, on every parameter.
        clip_norm: the largest norm of a step's gradient; None: not clipped.
        seed: of the weights, the order of the samples and their augmentation.
        threads: of the CPU; sums are split between them, so the last bits of the weights depend on it. None: as many as
            torch takes by itself.
    """

    dataset: str
    image_size: int | None
    model: str
    neuron: str
    lif: NeuronSettings | None
    timesteps: int
    loss: str
    loss_options: dict[str, float | str | bool]
    epochs: int
    warmup_epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    clip_norm: float | None
    seed: int
    threads: int | None

    def __post_init__(self) -> None:
        from tks_edge_models import NEURONS  # needs torch

        if self.dataset not in RECIPES:
            raise unknown("dataset", self.dataset, RECIPES)
        if self.neuron not in NEURONS:
            raise unknown("neuron", self.neuron, NEURONS)
        check_timesteps(self.timesteps)
        _in_range("epochs", self.epochs, 1)
        _in_range("warmup_epochs", self.warmup_epochs, 0, self.epochs - 1)
        _in_range("batch_size", self.batch_size, 1)
        _in_range("lr", self.lr, 0.0, above=True)
        _in_range("weight_decay", self.weight_decay, 0.0)
        _in_range("clip_norm", self.clip_norm, 0.0, above=True)
        _in_range("seed", self.seed, 0, _MAX_SEED)
        _in_range("threads", self.threads, 1)
        _in_range("image_size", self.image_size, 8, 1024)

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


def resolve(given: dict[str, Any]) -> TrainSettings:
    """Settings from what was `given`, by the names of the fields; what is missing or None takes its default.

    `lif` may be given as a dict with some of the neuron's constants, `loss_options` as "key=value" strings.

    Raises:
        InputError: a name or a number that is not allowed, or options that exclude each other.
    """
    asked = {name: value for name, value in given.items() if value is not None}
    dataset = asked.get("dataset", "digits")
    if dataset not in RECIPES:
        raise unknown("dataset", dataset, RECIPES)
    recipe = RECIPES[dataset]
    neuron = asked.get("neuron", "lif")
    batch_size = asked.get("batch_size", recipe.batch_size)
    epochs = asked.get("epochs", recipe.epochs)
    loss = asked.get("loss", "mean" if neuron == "relu" else "tks")
    if neuron == "relu":
        _check_twin(asked, loss)
    return TrainSettings(
        dataset=dataset,
        image_size=_image_size(dataset, asked.get("image_size")),
        model=asked.get("model", recipe.model),
        neuron=neuron,
        lif=None if neuron == "relu" else NeuronSettings(**asked.get("lif", {})),
        timesteps=1 if neuron == "relu" else asked.get("timesteps", 8),
        loss=loss,
        loss_options=_loss_options(loss, asked.get("loss_options", ())),
        epochs=epochs,
        warmup_epochs=asked.get("warmup_epochs", min(_LONGEST_WARMUP, epochs // 10)),
        batch_size=batch_size,
        lr=asked.get("lr", recipe.lr_per_1024 * batch_size / 1024),
        weight_decay=asked.get("weight_decay", 0.01),
        clip_norm=asked.get("clip_norm"),
        seed=asked.get("seed", 0),
        threads=asked.get("threads", recipe.threads),
    )


def changed(settings: TrainSettings, given: dict[str, Any]) -> TrainSettings:
    """`settings` with what was `given` (as in `resolve`) in place of its own values.

    Raises:
        InputError: a value is not allowed.
    """
    asked = {name: value for name, value in given.items() if value is not None}
    if "lif" in asked:
        own = {} if settings.lif is None else dataclasses.asdict(settings.lif)
        asked["lif"] = NeuronSettings(**{**own, **asked["lif"]})
    if "loss_options" in asked:
        own_loss = asked.get("loss", settings.loss)
        parsed = _loss_options(own_loss, asked["loss_options"])
        named = {assignment.partition("=")[0] for assignment in asked["loss_options"]}
        asked["loss_options"] = settings.loss_options | {name: parsed[name] for name in named}
    return dataclasses.replace(settings, **asked)


def _loss_options(loss: str, assignments: Iterable[str]) -> dict[str, float | str | bool]:
    from tks_edge.losses import parse_options  # needs torch

    return parse_options(loss, assignments)


def _check_twin(asked: dict[str, Any], loss: str) -> None:
    """Refuse what has no meaning for the ReLU network: it has no membrane and runs one pass."""
    from tks_edge.losses import is_temporal  # needs torch

    if is_temporal(loss):
        raise InputError(
            f"the loss {loss!r} relates timesteps to each other, and --neuron relu runs one pass. Use --loss mean."
        )
    if asked.get("timesteps", 1) != 1:
        raise InputError(f"--neuron relu runs one pass, got --timesteps {asked['timesteps']}. Leave --timesteps out.")
    if asked.get("lif"):
        raise InputError(f"--neuron relu has no {', '.join(asked['lif'])}. Leave it out, or use --neuron lif.")


def _image_size(dataset: str, image_size: int | None) -> int | None:
    if dataset == "folder":
        return 32 if image_size is None else image_size
    if image_size is not None:
        raise InputError(
            f"--image-size is for --dataset folder; the images of {dataset} have a size of their own. Leave it out."
        )
    return None


def _in_range(name: str, value: float | None, low: float, high: float = math.inf, *, above: bool = False) -> None:
    if value is None or (math.isfinite(value) and low <= value <= high and not (above and value == low)):
        return
    bounds = f"above {low:g}" if above else f"at least {low:g}"
    upper = "" if math.isinf(high) else f" and at most {high:g}"
    raise InputError(f"{name} is {value}; allowed is {bounds}{upper}.")


def _flat(document: dict[str, Any]) -> dict[str, Any]:
    """One level of nesting written into the names: `lif.tau`."""
    flat: dict[str, Any] = {}
    for name, value in document.items():
        flat |= {f"{name}.{inner}": v for inner, v in value.items()} if isinstance(value, dict) else {name: value}
    return flat
