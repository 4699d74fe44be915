"""Runs of older versions: their config.json, with what has been added since at the value that it had then."""

from __future__ import annotations

import dataclasses
from typing import Any

from tks_edge.data.facts import LARGE
from tks_edge.settings.compute import ComputeSettings
from tks_edge.settings.objective import ObjectiveSettings

SCHEMA_VERSION = 3


def upgraded(document: dict[str, Any]) -> dict[str, Any]:
    """The config.json `document` in the form of `SCHEMA_VERSION`; one that is not of an older form, as it is.

    Schema 1 had four data sets of still images, and what is done to their samples came with the set. Up to schema 2
    every network was trained here, with no plugin, from fresh weights.
    """
    if document.get("schema_version") == 1 and isinstance(document.get("train"), dict):
        document = _second(document)
    if document.get("schema_version") == 2 and isinstance(document.get("train"), dict):
        added: dict[str, Any] = {"plugins": {}, "origin": None, "start": None}
        train = {"start": None} | document["train"]
        document = added | document | {"schema_version": SCHEMA_VERSION, "train": train}
    return document


def _second(document: dict[str, Any]) -> dict[str, Any]:
    train = document["train"]
    size = train.get("image_size")
    by_size = "large-images" if isinstance(size, int) and size >= LARGE else "small-images"
    added = {
        "recipe": train.get("dataset"),
        "augment": "jitter" if train.get("dataset") == "digits" else by_size,
        "frames": None,
        "objective": dataclasses.asdict(ObjectiveSettings()),
        "ema": None,
        "compute": dataclasses.asdict(ComputeSettings(lif_kernel="torch")),
    }
    return {"teacher": None, "kernel": None} | document | {"schema_version": 2, "train": added | train}


def upgraded_progress(progress: Any) -> Any:
    """How far a training was, as `resume.Progress` has it; before, the time that it waited for samples was not kept."""
    if not (isinstance(progress, dict) and isinstance(progress.get("history"), list)):
        return progress
    history = [{"waiting": 0.0} | entry if isinstance(entry, dict) else entry for entry in progress["history"]]
    return {"waited": 0.0} | progress | {"history": history}
