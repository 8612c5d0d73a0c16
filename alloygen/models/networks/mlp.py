"""Multilayer perceptron on the inputs of all sites together; it knows no symmetry.

Shapes: n rows, L active sites, D width, M = 4 D hidden features.
"""

from __future__ import annotations

from torch import Tensor, nn

from alloygen.models.networks.layers import FeedForward, condition_embedding, norm, zero_linear
from alloygen.models.networks.spec import NetworkSpec, SiteNetwork


class Perceptron(SiteNetwork):
    """Residual multilayer perceptron.

    Parameters
    ----------
    spec
        Sizes and lattice; heads and encoding play no part.
    """

    symmetry = "none"

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        hidden = 4 * spec.width
        self.embed = nn.Linear(spec.n_active * spec.n_inputs, hidden)
        self.condition = condition_embedding(spec.n_condition, spec.width)
        self.lift = nn.Linear(spec.width, hidden)
        self.blocks = nn.ModuleList(FeedForward(hidden, hidden, n_condition=spec.width) for _ in range(spec.depth))
        self.out = zero_linear(hidden, spec.n_active * spec.n_outputs)

    def forward(self, inputs: Tensor, condition: Tensor) -> Tensor:
        """Outputs (n, L, n_outputs) of inputs (n, L, n_inputs) under conditions (n, C)."""
        c = self.condition(condition)  # (n, D)
        x = self.embed(inputs.flatten(1)) + self.lift(c)  # (n, M)
        for block in self.blocks:
            x = block(x, c)
        return self.out(norm(x)).unflatten(1, (inputs.shape[1], -1))
