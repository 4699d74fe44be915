"""Networks by name: `create("sew_resnet18", num_classes=10, neuron="lif")`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tks_edge_models import plugins
from tks_edge_models.errors import ModelError, unknown
from tks_edge_models.graph import NAME as GRAPH
from tks_edge_models.graph import Graph, graph_network
from tks_edge_models.layers import PixelNormalize
from tks_edge_models.lif import LIFParameters
from tks_edge_models.ms_resnet import ms_resnet
from tks_edge_models.network import MakeNeuron, Network, Parts, neuron_factory
from tks_edge_models.qkformer import qkformer
from tks_edge_models.resnet19 import resnet19
from tks_edge_models.sew_resnet import sew_resnet
from tks_edge_models.spikformer import spikformer
from tks_edge_models.tiny import tiny
from tks_edge_models.transformer import transformer_neurons
from tks_edge_models.vggsnn import vggsnn

NEURONS = ("lif", "relu")
_SMALL_IMAGE = 64
"""Up to this many pixels a side, `stem="auto"` is the 3x3 stem."""


@dataclass(frozen=True)
class Request:
    """What a family may need to know to build its parts; see `create`.

    Attributes:
        num_classes: K, the length of a logit vector.
        in_channels: channels of the input.
        image_size: height and width of the input, in pixels.
        imagenet_stem: whether images are large enough for a stem that makes them smaller at once.
        v_threshold: of the neurons, in units of the membrane; of the ReLU twin, those of the network it is the twin of.
        lif: the neurons' constants; None in the ReLU twin.
    """

    num_classes: int
    in_channels: int
    image_size: int
    imagenet_stem: bool
    v_threshold: float
    lif: LIFParameters | None


Family = Callable[[MakeNeuron, Request], Parts]
"""Builds a network of one kind of neuron: what an entry point in `tks_edge.networks` gives."""


def _sew(blocks: tuple[int, ...], *, bottleneck: bool = False) -> Family:
    return lambda neuron, r: sew_resnet(
        neuron,
        blocks,
        num_classes=r.num_classes,
        in_channels=r.in_channels,
        imagenet_stem=r.imagenet_stem,
        bottleneck=bottleneck,
    )


def _ms(blocks: tuple[int, ...]) -> Family:
    return lambda neuron, r: ms_resnet(
        neuron,
        blocks,
        num_classes=r.num_classes,
        in_channels=r.in_channels,
        imagenet_stem=r.imagenet_stem,
        v_threshold=r.v_threshold,
    )


def _transformer(build: Callable[..., Parts]) -> Family:
    return lambda _, r: build(
        transformer_neurons(r.lif),
        num_classes=r.num_classes,
        in_channels=r.in_channels,
        image_size=r.image_size,
        imagenet_stem=r.imagenet_stem,
    )


_FAMILIES: dict[str, Family] = {
    "tiny": lambda neuron, r: tiny(neuron, num_classes=r.num_classes, in_channels=r.in_channels),
    "sew_resnet18": _sew((2, 2, 2, 2)),
    "sew_resnet34": _sew((3, 4, 6, 3)),
    "sew_resnet50": _sew((3, 4, 6, 3), bottleneck=True),
    "ms_resnet18": _ms((2, 2, 2, 2)),
    "ms_resnet34": _ms((3, 4, 6, 3)),
    "resnet19": lambda neuron, r: resnet19(
        neuron, num_classes=r.num_classes, in_channels=r.in_channels, v_threshold=r.v_threshold
    ),
    "vggsnn": lambda neuron, r: vggsnn(
        neuron, num_classes=r.num_classes, in_channels=r.in_channels, image_size=r.image_size
    ),
    "spikformer": _transformer(spikformer),
    "qkformer": _transformer(qkformer),
}
MODELS = tuple(_FAMILIES)
STEMS = ("auto", "small", "imagenet")


def create(
    name: str,
    *,
    num_classes: int,
    in_channels: int = 3,
    image_size: int = 32,
    neuron: str = "lif",
    lif: LIFParameters | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    stem: str = "auto",
) -> Network:
    """Build a network with fresh weights.

    Args:
        name: one of `MODELS`, or of an installed plugin's networks; see `plugins`.
        num_classes: K, the length of a logit vector.
        in_channels: channels of the input.
        image_size: height and width of the input, in pixels.
        neuron: "lif", or "relu" for the twin: the same weights' shapes, one pass.
        lif: the neurons' constants; `LIFParameters()` when not given.
        mean: per channel, in units of the full pixel range (0..1); 0.5 when not given.
        std: per channel, likewise; 0.5 when not given.
        stem: "small" (3x3), "imagenet" (for SEW-ResNets 7x7, stride 2, max-pooling; the other families say what), or
            "auto" by the image's size; no choice in `tiny`, `resnet19` and `vggsnn`.

    Raises:
        ModelError: a name or a number that is not allowed.
    """
    for kind, got, allowed in (("neuron", neuron, NEURONS), ("stem", stem, STEMS)):
        _known(kind, got, allowed)
    family = _family(name)
    for what, number in (("num_classes", num_classes), ("in_channels", in_channels), ("image_size", image_size)):
        if number < 1:
            raise ModelError(f"{what} is {number}; at least 1 is needed.")
    params = lif if lif is not None else LIFParameters()
    mean = list(mean) if mean is not None else [0.5] * in_channels
    std = list(std) if std is not None else [0.5] * in_channels
    if len(mean) != in_channels:
        raise ModelError(f"mean has {len(mean)} entries for {in_channels} channels.")
    imagenet_stem = stem == "imagenet" or (stem == "auto" and image_size > _SMALL_IMAGE)
    constants = params if neuron == "lif" else None
    parts = family(
        neuron_factory(constants),
        Request(num_classes, in_channels, image_size, imagenet_stem, params.v_threshold, constants),
    )
    if not isinstance(parts, Parts):
        raise ModelError(f"the network {name!r} gives a {type(parts).__name__}; Parts are needed.")
    spec = {
        "name": name,
        "num_classes": num_classes,
        "in_channels": in_channels,
        "image_size": image_size,
        "neuron": neuron,
        "lif": dataclasses.asdict(params),
        "mean": mean,
        "std": std,
        "stem": stem,
    }
    return Network(spec, constants, PixelNormalize(mean, std), parts)


def from_spec(spec: Mapping[str, Any]) -> Network:
    """Build the network that `Network.spec` describes, with fresh weights.

    Raises:
        ModelError: a name or a number that is not allowed, or a graph that cannot run.
        KeyError: an entry is missing.
        TypeError: an entry is of another kind.
    """
    if spec["name"] != GRAPH:
        return create(**{**spec, "lif": LIFParameters(**spec["lif"])})
    return graph_network(
        Graph.from_json(spec["graph"]),
        spec["input_shape"],
        spec["num_classes"],
        neuron=spec["neuron"],
        mean=spec["mean"],
        std=spec["std"],
    )


def _family(name: str) -> Family:
    if name in _FAMILIES:
        return _FAMILIES[name]
    _known("model", name, (*MODELS, *plugins.names(MODELS)))
    return plugins.load(name, MODELS)


def _known(kind: str, got: str, allowed: Sequence[str]) -> None:
    if got not in allowed:
        raise unknown(kind, got, allowed)
