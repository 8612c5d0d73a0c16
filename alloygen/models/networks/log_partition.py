"""The logarithm of the partition function as a smooth function of the thermodynamic condition alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from alloygen.models.networks.layers import zero_linear

#: Features of the two hidden layers.
WIDTH = 64


class LogPartition(nn.Module):
    """Perceptron from a condition's inputs to what is added to ln Xi per site; zero before training.

    It is evaluated in float32 also where training multiplies in bf16: ln Xi is a sum over all sites, and three digits of it
    are not enough.

    Parameters
    ----------
    n_condition
        Size of the condition's input.
    """

    def __init__(self, n_condition: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_condition, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(), zero_linear(WIDTH, 1)
        )

    def forward(self, condition: Tensor) -> Tensor:
        """Return values (...) of conditions (..., n_condition), float64."""
        with torch.autocast(condition.device.type, enabled=False):
            value: Tensor = self.layers(condition.float())[..., 0].double()
        return value
