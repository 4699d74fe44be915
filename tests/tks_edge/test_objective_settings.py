"""What may go on top of a loss, and what is refused."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from typing import Any

import pytest

from tks_edge.losses import LOSSES, permits_soft_labels
from tks_edge.settings.objective import ObjectiveSettings
from tks_edge_runtime.documents import parse
from tks_edge_runtime.errors import InputError


def test_nothing_is_on_by_default_and_goes_with_every_loss() -> None:
    settings = ObjectiveSettings()
    assert not settings.softens_labels
    for loss in LOSSES:
        settings.check(loss, 1, "lif")
    settings.check("mean", 1, "relu")


def test_they_travel_as_json() -> None:
    settings = ObjectiveSettings(label_smoothing=0.1, mixup=0.2, sample_timesteps=True, teacher="runs/twin")
    assert parse(ObjectiveSettings, dataclasses.asdict(settings), "objective") == settings


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0; allowed is at least 0 and below 1"),
        ({"label_smoothing": -0.1}, "at least 0 and below 1"),
        ({"mixup": -1.0}, "mixup is -1.0; allowed is 0 (none), or at least 0.01"),
        ({"mixup": 0.001}, "0 (none), or at least 0.01"),
        ({"mixup": math.inf}, "mixup is inf"),
        ({"mixup": math.nan}, "mixup is nan"),
        ({"teacher": "run", "teacher_weight": 0.0}, "teacher_weight is 0.0; allowed is above 0"),
        ({"teacher": "run", "teacher_temperature": 0.0}, "teacher_temperature is 0.0; allowed is at least 0.01"),
        ({"teacher_weight": 0.5}, "teacher_weight is 0.5, but there is no teacher"),
        ({"teacher_temperature": 4.0}, "Name the run of a ReLU twin with --teacher"),
    ],
)
def test_values_out_of_range_say_what_is_allowed(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        ObjectiveSettings(**given)
    assert said in str(error.value)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("given", [{"label_smoothing": 0.1}, {"mixup": 0.2}, {"label_smoothing": 0.1, "mixup": 0.2}])
def test_soft_labels_go_with_the_losses_that_permit_them_alone(loss: str, given: dict[str, Any]) -> None:
    settings = ObjectiveSettings(**given)
    if permits_soft_labels(loss):
        settings.check(loss, 8, "lif")
        return
    with pytest.raises(InputError) as error:
        settings.check(loss, 8, "lif")
    message = str(error.value)
    assert f"the loss {loss!r}" in message
    assert ("--mixup" in message) == ("mixup" in given)
    assert ("--label-smoothing" in message) == ("label_smoothing" in given)
    assert "mean, tet, etc, s2w, w2s" in message


def test_there_must_be_timesteps_to_sample() -> None:
    settings = ObjectiveSettings(sample_timesteps=True)
    settings.check("tks", 2, "lif")
    with pytest.raises(InputError, match="Give more --timesteps"):
        settings.check("tks", 1, "lif")
    with pytest.raises(InputError, match="--neuron relu runs one pass"):
        settings.check("mean", 1, "relu")


def test_importing_them_does_not_import_torch() -> None:
    program = "import sys, tks_edge.settings.objective; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
