"""What `export` says of numbers and axes that no network can take, before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.export.unusual_modules import BATCH, WIDTH, Around
from tks_edge_export import ExportError, export
from tks_edge_models import LIF, Neuron
from tks_edge_models.neuron import State


class Image(nn.Module):
    """From `[N, 3, 4, 4]` to logits."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.lif = LIF()

    def forward(self, x: Tensor) -> Tensor:
        spikes: Tensor = self.lif(self.norm(x)).flatten(1)
        return spikes


class Counting(Neuron):
    """No LIF."""

    def rest(self, x: Tensor) -> State:
        return ()

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.fire(x), ()


NOT_A_NUMBER = BATCH.clone()
NOT_A_NUMBER[0, :2] = torch.nan


@pytest.mark.parametrize(
    ("network", "example", "options", "message"),
    [
        (Around(nn.Identity()), BATCH, {"timesteps": True}, "timesteps is True; "),
        (Counting(), BATCH, {}, "the network is a Counting; a torch.nn.Module, from one step's input to logits"),
        (Around(nn.Identity()), NOT_A_NUMBER, {}, f"the example input: 2 of {2 * WIDTH} values are NaN or infinite"),
        (Around(nn.Identity()), BATCH, {"samples": NOT_A_NUMBER}, "samples: 2 of 32 values are NaN or infinite"),
        (Around(nn.Identity()), BATCH, {"calibration": BATCH / 0}, "calibration: 32 of 32 values are NaN or infinite"),
        (
            Image(),
            torch.rand(2, 3, 4, 4),
            {"frames": True},
            "With frames, the example [2, 3, 4, 4] is [N, T, ...], and the network gets [N, ...].",
        ),
        (Image(), torch.rand(2, 3, 4), {}, "the module 'norm' (BatchNorm2d) fails on the example of shape [2, 3, 4]"),
    ],
)
def test_an_input_that_is_none_is_refused(
    network: nn.Module, example: Tensor, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ExportError) as error:
        export(network.eval(), example, **{"timesteps": 2, "output": tmp_path, **options})
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []
