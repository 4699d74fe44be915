"""Which plugins a run needs: the distributions of those of its names that do not come along."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tks_edge.data.facts import DATASETS
from tks_edge.settings import TrainSettings
from tks_edge_runtime import plugins
from tks_edge_runtime.errors import MissingError

_GROUPS = {"model": plugins.NETWORKS, "loss": plugins.LOSSES, "dataset": plugins.DATASETS}


def needed(settings: TrainSettings) -> dict[str, str]:
    """The settings that name something of a plugin, with its distribution: `{"loss": "tks-edge-example 0.1.0"}`."""
    from tks_edge.losses import LOSSES
    from tks_edge_models import MODELS

    built_in: dict[str, tuple[str, ...]] = {"model": MODELS, "loss": LOSSES, "dataset": DATASETS}
    found = {}
    for setting, along in built_in.items():
        name = getattr(settings, setting)
        whose = None if name in along else plugins.provider(_GROUPS[setting], name)
        if whose is not None:
            found[setting] = whose
    return found


def check_installed(
    recorded: Mapping[str, str], train: Mapping[str, Any], source: Path, settings: Collection[str] = ()
) -> None:
    """Refuse a run that needs a plugin which is not installed here, by name.

    Args:
        recorded: what `needed` gave when the run began.
        train: its settings.
        source: where both stand.
        settings: those of them that are needed now; all where none is named.

    Raises:
        MissingError: one is not, or its name is now of another distribution.
    """
    for setting, group in _GROUPS.items():
        name, whose = train.get(setting), recorded.get(setting)
        if (settings and setting not in settings) or not isinstance(whose, str) or not whose:
            continue  # of a damaged file it may be anything
        here = plugins.provider(group, str(name))
        if here is None or here.split()[0] != whose.split()[0]:
            instead = "which is not installed here" if here is None else f"and here that name is of {here}"
            raise MissingError(f"{source} needs the {setting} {name!r} of {whose}, {instead}. Install {whose}.")
