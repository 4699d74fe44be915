"""What is known of each data set before it is opened. Importing it does not import torch: the command line does so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tks_edge_runtime import plugins

if TYPE_CHECKING:
    from tks_edge.data.dataset import Dataset
    from tks_edge.data.request import Request

_OF_BOTH, _OF_IMAGES, _OF_RECORDINGS = (
    ("none",),
    ("jitter", "small-images", "large-images"),
    ("events", "events-upright"),
)
AUGMENTATIONS = _OF_BOTH + _OF_IMAGES + _OF_RECORDINGS
"""The names of the augmentations of `augment`, which imports torchvision."""
LARGE = 128
"""From this many pixels a side, images are treated as ImageNet's are."""


@dataclass(frozen=True)
class Facts:
    """What the options of a training need to know of a data set.

    Attributes:
        events: whether its samples are recordings of an event camera, cut into frames, rather than still images.
        image_size: height and width of an input in pixels, where nothing else is asked for.
        resizable: whether another size can be asked for.
        embedded: whether it is read from no folder.
        downloads: whether it can be fetched from its own site.
        own: whether it is the user's own folder, which has no default place.
    """

    events: bool = False
    image_size: int = 32
    resizable: bool = False
    embedded: bool = False
    downloads: bool = False
    own: bool = False


FACTS = {
    "digits": Facts(image_size=16, embedded=True),
    "cifar10": Facts(downloads=True),
    "cifar100": Facts(downloads=True),
    "imagenet": Facts(image_size=224, resizable=True),
    "cub200": Facts(image_size=224, resizable=True, downloads=True),
    "stanford-dogs": Facts(image_size=224, resizable=True, downloads=True),
    "stanford-cars": Facts(image_size=224, resizable=True),
    "folder": Facts(resizable=True, own=True),
    "digits-dvs": Facts(events=True, image_size=24, embedded=True),
    "dvs-cifar10": Facts(events=True, image_size=48, resizable=True, downloads=True),
    "ncaltech101": Facts(events=True, image_size=48, resizable=True, downloads=True),
    "event-folder": Facts(events=True, image_size=48, resizable=True, own=True),
}
DATASETS = tuple(FACTS)
"""Those that come along."""


@dataclass(frozen=True)
class DatasetEntry:
    """A data set of a plugin: what an entry point in `tks_edge.datasets` gives.

    Attributes:
        facts: what is known of it before it is opened.
        open: opens it; the `Dataset` has the name that was asked for.
        settings: what a training on it starts from, as `[settings]` of a recipe.
    """

    facts: Facts
    open: Callable[[Request], Dataset]
    settings: Mapping[str, Any] = field(default_factory=dict)


PLUGINS = plugins.Plugins("dataset", plugins.DATASETS, DatasetEntry, DATASETS)


def facts_of(name: str) -> Facts:
    """What is known of a data set, of a plugin too, which is then imported.

    Raises:
        InputError: there is none of that name.
        PluginError: the plugin cannot be used.
    """
    return FACTS[name] if name in FACTS else PLUGINS.load(name).facts


def augmentations(*, events: bool) -> tuple[str, ...]:
    """The names of those that take the frames of a recording, or of those that take a still image."""
    return _OF_BOTH + (_OF_RECORDINGS if events else _OF_IMAGES)
