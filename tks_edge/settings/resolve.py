"""Settings from what was asked for, with a recipe for the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tks_edge.data.facts import FACTS, LARGE, PLUGINS, Facts, facts_of
from tks_edge.recipes import Recipe, read_recipe
from tks_edge.settings.compute import ComputeSettings
from tks_edge.settings.frames import FrameSettings
from tks_edge.settings.neuron import NeuronSettings
from tks_edge.settings.objective import ObjectiveSettings
from tks_edge.settings.training import TrainSettings
from tks_edge_runtime.errors import InputError, unknown

_TABLES = ("lif", "frames", "objective", "compute")
_OF_SPIKES = ("loss", "timesteps", "lif")
_OF_TIMESTEPS = ("sample_timesteps", "teacher", "teacher_weight", "teacher_temperature")
"""Settings of a recipe that have no meaning for the ReLU twin."""
_IN_RECIPES = {field.name for field in dataclasses.fields(TrainSettings)} - {"recipe", "dataset", "seed"} | {
    "lr_per_1024"
}
_LONGEST_WARMUP = 5
"""In epochs: the TKS authors' warm-up; a training of fewer than 50 epochs warms up for a tenth of them."""


def resolve(given: dict[str, Any]) -> TrainSettings:
    """Settings from what was `given`, by the names of the fields; the rest is the recipe's, or a default.

    `lif`, `frames`, `objective` and `compute` may be given as a dict with some of their values, `loss_options` as
    "key=value" strings.

    Raises:
        InputError: a name or a number that is not allowed, or options that exclude each other.
    """
    given = {name: value for name, value in given.items() if value is not None}
    recipe = _recipe(given)
    try:
        settings = _resolved(given, recipe)
        return TrainSettings.from_json(settings.to_json())  # which checks every type
    except TypeError as error:
        raise InputError(
            f"a setting of the recipe {recipe.name} is of a wrong kind: {error}. Mend it there."
        ) from error


def _resolved(given: dict[str, Any], recipe: Recipe) -> TrainSettings:
    neuron = given.get("neuron", recipe.settings.get("neuron", "lif"))
    if neuron == "relu":
        _check_twin(given)
    asked = _with_recipe(given, recipe, twin=neuron == "relu")
    facts = facts_of(recipe.dataset)
    loss = asked.get("loss", "mean" if neuron == "relu" else "tks")
    epochs, batch_size = asked.get("epochs", 100), asked.get("batch_size", 64)
    image_size = _image_size(recipe.dataset, asked.get("image_size"))
    return TrainSettings(
        recipe=recipe.name,
        dataset=recipe.dataset,
        image_size=image_size,
        augment=asked.get("augment", _augmentation(facts, image_size)),
        frames=_frames(recipe.dataset, asked.get("frames")),
        model=asked.get("model", "sew_resnet18"),
        neuron=neuron,
        lif=None if neuron == "relu" else NeuronSettings(**asked.get("lif", {})),
        timesteps=1 if neuron == "relu" else asked.get("timesteps", 8),
        loss=loss,
        loss_options=_loss_options(loss, asked.get("loss_options", ())),
        objective=ObjectiveSettings(**asked.get("objective", {})),
        ema=asked.get("ema"),
        epochs=epochs,
        warmup_epochs=asked.get("warmup_epochs", min(_LONGEST_WARMUP, epochs // 10)),
        batch_size=batch_size,
        lr=asked.get("lr", asked.get("lr_per_1024", 0.005) * batch_size / 1024),
        weight_decay=asked.get("weight_decay", 0.01),
        clip_norm=asked.get("clip_norm"),
        seed=asked.get("seed", 0),
        threads=asked.get("threads"),
        compute=ComputeSettings(**asked.get("compute", {})),
    )


def _recipe(given: dict[str, Any]) -> Recipe:
    """The recipe that is asked for: by its name, or as that of a data set, which of a plugin's brings its settings."""
    dataset = given.get("dataset")
    if dataset is not None:
        facts_of(dataset)
    if dataset is not None and dataset not in FACTS and "recipe" not in given:
        recipe = Recipe(dataset, dataset, dataset, dict(PLUGINS.load(dataset).settings), sources={})
    else:
        recipe = read_recipe(given.get("recipe", dataset if dataset is not None else "digits"))
    try:
        facts_of(recipe.dataset)
    except InputError as error:
        raise InputError(f"the recipe {recipe.name}: {error}") from error
    if dataset not in (None, recipe.dataset):
        raise InputError(f"the recipe {recipe.name} is for {recipe.dataset}, not {dataset}. Leave --dataset out.")
    if odd := sorted(recipe.settings.keys() - _IN_RECIPES):
        raise unknown(f"setting of the recipe {recipe.name}:", odd[0], _IN_RECIPES)
    return recipe


def _with_recipe(given: dict[str, Any], recipe: Recipe, *, twin: bool) -> dict[str, Any]:
    """What was given, and the recipe's settings for the rest that go with it."""
    base = dict(recipe.settings)
    if twin or given.get("loss", base.get("loss")) != base.get("loss"):
        base.pop("loss_options", None)
    if twin:
        for name in _OF_SPIKES:
            base.pop(name, None)
        base["objective"] = {
            name: value for name, value in base.get("objective", {}).items() if name not in _OF_TIMESTEPS
        }
    both = {name: base[name] | given[name] for name in _TABLES if name in base and name in given}
    if "loss_options" in base and "loss_options" in given:
        both["loss_options"] = [*base["loss_options"], *given["loss_options"]]
    return base | given | both


def changed(settings: TrainSettings, given: dict[str, Any]) -> TrainSettings:
    """`settings` with what was `given` (as in `resolve`) in place of its own values.

    Raises:
        InputError: a value is not allowed.
    """
    asked = {name: value for name, value in given.items() if value is not None}
    if "recipe" in asked:
        asked["recipe"] = Path(asked["recipe"]).name
    if "lif" in asked:
        own = {} if settings.lif is None else dataclasses.asdict(settings.lif)
        asked["lif"] = NeuronSettings(**{**own, **asked["lif"]})
    if "frames" in asked:
        own_frames = {} if settings.frames is None else dataclasses.asdict(settings.frames)
        asked["frames"] = _frames(settings.dataset, own_frames | asked["frames"])
    if "objective" in asked:
        asked["objective"] = dataclasses.replace(settings.objective, **asked["objective"])
    if "compute" in asked:
        asked["compute"] = ComputeSettings(**{**dataclasses.asdict(settings.compute), **asked["compute"]})
    if "loss_options" in asked:
        own_loss = asked.get("loss", settings.loss)
        parsed = _loss_options(own_loss, asked["loss_options"])
        named = {assignment.partition("=")[0] for assignment in asked["loss_options"]}
        asked["loss_options"] = settings.loss_options | {name: parsed[name] for name in named}
    return dataclasses.replace(settings, **asked)


def _loss_options(loss: str, assignments: Iterable[str]) -> dict[str, float | str | bool]:
    from tks_edge.losses import parse_options  # needs torch

    if isinstance(assignments, str):
        raise TypeError("loss_options is a text, not a list of texts")
    return parse_options(loss, assignments)


def _check_twin(given: dict[str, Any]) -> None:
    """Refuse what has no meaning for the ReLU network: it has no membrane and runs one pass."""
    from tks_edge.losses import is_temporal  # needs torch

    loss = given.get("loss", "mean")
    if is_temporal(loss):
        raise InputError(
            f"the loss {loss!r} relates timesteps to each other, and --neuron relu runs one pass. Use --loss mean."
        )
    if given.get("timesteps", 1) != 1:
        raise InputError(f"--neuron relu runs one pass, got --timesteps {given['timesteps']}. Leave --timesteps out.")
    if given.get("lif"):
        raise InputError(f"--neuron relu has no {', '.join(given['lif'])}. Leave it out, or use --neuron lif.")


def _image_size(dataset: str, image_size: int | None) -> int | None:
    facts = facts_of(dataset)
    if facts.resizable:
        return facts.image_size if image_size is None else image_size
    if image_size is not None:
        resizable = ", ".join(name for name, other in FACTS.items() if other.resizable)
        raise InputError(
            f"the samples of {dataset} have a size of their own, got --image-size {image_size}. Leave it out; it is "
            f"for {resizable}."
        )
    return None


def _augmentation(facts: Facts, image_size: int | None) -> str:
    """What is usual for such samples, where neither the user nor the recipe says it."""
    if facts.events:
        return "events"
    return "large-images" if image_size is not None and image_size >= LARGE else "small-images"


def _frames(dataset: str, asked: dict[str, Any] | None) -> FrameSettings | None:
    if facts_of(dataset).events:
        return FrameSettings(**(asked or {}))
    if asked:
        events = ", ".join(name for name, facts in FACTS.items() if facts.events)
        raise InputError(
            f"{dataset} holds still images, which are not cut into frames, got {', '.join(asked)}. Leave it out; it is "
            f"for recordings ({events})."
        )
    return None
