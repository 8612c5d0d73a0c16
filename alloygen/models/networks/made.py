"""Masked residual perceptron whose outputs for a position see earlier positions alone (MADE).

Every feature has a degree, the number of decided positions that it may depend on, and a weight is kept where the degree
does not fall: from degree a to degree b if a <= b.

Shapes: n rows, L positions, D width, M = 8 D hidden features.

References
----------
Germain, Gregor, Murray and Larochelle, ICML 2015 (arXiv:1502.03509), equations 8 and 9; the residual form of Nash and
Durkan, ICML 2019 (arXiv:1904.05626).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from alloygen.models.networks.layers import condition_embedding, zero_linear


class MaskedLinear(nn.Linear):
    """Linear layer between features of given degrees."""

    def __init__(self, inputs: Tensor, outputs: Tensor) -> None:
        super().__init__(len(inputs), len(outputs))
        self.register_buffer("mask", (inputs <= outputs[:, None]).float(), persistent=False)

    mask: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (n, len(outputs)) of x (n, len(inputs))."""
        return functional.linear(x, self.weight * self.mask, self.bias)


class MaskedBlock(nn.Module):
    """Residual two-layer network that keeps degrees; the condition scales and shifts its input."""

    def __init__(self, degrees: Tensor, n_condition: int) -> None:
        super().__init__()
        self.expand = MaskedLinear(degrees, degrees)
        self.contract = MaskedLinear(degrees, degrees)
        self.modulate = zero_linear(n_condition, 2 * len(degrees))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return x (n, M) + update under embedded conditions (n, D)."""
        scale, shift = self.modulate(condition).chunk(2, dim=-1)
        return x + self.contract(functional.gelu(self.expand(x * (1 + scale) + shift), approximate="tanh"))


class MaskedPerceptron(nn.Module):
    """Masked residual perceptron.

    Parameters
    ----------
    degrees
        Number of decided positions behind each input of a position, less the position's own number, shape (n_inputs,):
        0 for what earlier positions determine, 1 for the outcome of the position itself.
    length
        Number of positions.
    n_outputs
        Outputs per position.
    n_condition
        Size of the condition's input.
    width, depth
        Size of the network.
    """

    def __init__(self, degrees: Tensor, length: int, n_outputs: int, n_condition: int, width: int, depth: int) -> None:
        super().__init__()
        position = torch.arange(length)
        n_hidden = 8 * width
        hidden = torch.arange(n_hidden) * length // n_hidden
        self.embed = MaskedLinear((position[:, None] + degrees).flatten(), hidden)
        self.condition = condition_embedding(n_condition, width)
        self.lift = nn.Linear(width, n_hidden)
        self.blocks = nn.ModuleList(MaskedBlock(hidden, width) for _ in range(depth))
        self.out = MaskedLinear(hidden, position.repeat_interleave(n_outputs))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, inputs: Tensor, condition: Tensor) -> Tensor:
        """Outputs (n, L, n_outputs) of inputs (n, L, n_inputs) under conditions (n, C)."""
        c = self.condition(condition)  # (n, D)
        x = self.embed(inputs.flatten(1)) + self.lift(c)  # (n, M)
        for block in self.blocks:
            x = block(x, c)
        return self.out(functional.gelu(x, approximate="tanh")).unflatten(1, (inputs.shape[1], -1))
