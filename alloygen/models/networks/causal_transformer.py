"""Causal Transformer over sites in the order in which they are decided.

Token k stands for the decision of site ``order[k]``. It sees earlier tokens through attention whose bias depends on
two symmetry orbits: that of the pair (its own site, their site), and that of the pair (its own site, the site whose
species they carry, which is the one decided just before). Nothing else tells sites apart, so the network is exactly
equivariant under the supercell's space group.

Shapes: G site orders, n samples per order, L tokens, D width, H heads, d = D / H.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from alloygen.models.networks.layers import AttentionBlock, condition_embedding, norm, zero_linear


@dataclass
class KeyValueCache:
    """Keys and values of the tokens so far, one pair per block, each (n, H, L, d) of which ``length`` are filled."""

    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    length: int = 0


class Block(AttentionBlock):
    """Attention block with two learned biases per head, for the pairs of a token's site with others' two sites."""

    def __init__(self, width: int, heads: int, n_biases: int, feed_forward: int) -> None:
        super().__init__(width, heads, feed_forward)
        self.bias_target = nn.Parameter(torch.zeros(heads, n_biases))
        self.bias_known = nn.Parameter(torch.zeros(heads, n_biases))
        nn.init.normal_(self.bias_target, std=0.5)
        nn.init.normal_(self.bias_known, std=0.5)

    def attention_bias(self, target: Tensor, known: Tensor) -> Tensor:
        """Bias (G, H, L, K) from orbit labels (G, L, K)."""
        bias = self.bias_target[:, target] + self.bias_known[:, known]  # (H, G, L, K)
        return bias.transpose(0, 1)

    def step(self, x: Tensor, modulation: list[Tensor], bias: Tensor, cache: KeyValueCache, index: int) -> Tensor:
        """One token: x (n, D), modulation 4 x (n or 1, D), bias (H, K) over the K tokens so far, this one included."""
        n, width = x.shape
        scale, shift, scale_2, shift_2 = modulation
        h = torch.addcmul(shift, norm(x), 1 + scale)
        q, k, v = self.project(h).view(n, 3, self.heads, width // self.heads).unbind(1)  # each (n, H, d)
        keys, values = cache.keys[index], cache.values[index]
        keys[:, :, cache.length], values[:, :, cache.length] = k, v
        filled = slice(0, cache.length + 1)
        scores = (keys[:, :, filled] @ q.unsqueeze(-1)).squeeze(-1)  # (n, H, K)
        weights = torch.add(bias, scores, alpha=(width // self.heads) ** -0.5).softmax(dim=-1)
        h = (weights.unsqueeze(2) @ values[:, :, filled]).reshape(n, width)
        x = x + self.mix(h)
        h = torch.addcmul(shift_2, norm(x), 1 + scale_2)
        return x + self.contract(functional.gelu(self.expand(h), approximate="tanh"))


class CausalTransformer(nn.Module):
    """Stack of blocks from token inputs to token outputs.

    Parameters
    ----------
    n_inputs, n_outputs
        Sizes of a token's input and output.
    n_condition
        Size of the condition's input.
    n_orbits
        Number of pair orbits.
    width, depth, heads
        Size of the network.
    """

    def __init__(
        self, n_inputs: int, n_outputs: int, n_condition: int, n_orbits: int, width: int, depth: int, heads: int
    ) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.embed = nn.Linear(n_inputs, width)
        self.condition = condition_embedding(n_condition, width)
        # One label beyond the orbits: the first token carries no known site.
        self.blocks = nn.ModuleList(Block(width, heads, n_orbits + 1, 4 * width) for _ in range(depth))
        self.out = zero_linear(width, n_outputs)

    def forward(self, inputs: Tensor, condition: Tensor, target: Tensor, known: Tensor) -> Tensor:
        """Outputs (G, n, L, n_outputs) of inputs (G, n, L, n_inputs), condition (G, n, C), labels (G, L, L)."""
        length = inputs.shape[2]
        future = torch.ones(length, length, dtype=torch.bool, device=inputs.device).triu(1)
        c = self.condition(condition)
        x = self.embed(inputs) + c.unsqueeze(2)
        for block in self.blocks:
            bias = block.attention_bias(target, known).masked_fill(future, -torch.inf)  # type: ignore[operator]
            x = block(x, block.modulation(c), bias.unsqueeze(1))  # type: ignore[operator]
        return self.out(norm(x))

    def start(self, n: int, length: int, condition: Tensor) -> tuple[KeyValueCache, Tensor, list[list[Tensor]]]:
        """Return an empty cache, the embedded condition (n or 1, D) and every block's modulation."""
        shape = (n, self.heads, length, self.width // self.heads)
        cache = KeyValueCache(
            [condition.new_empty(shape) for _ in self.blocks], [condition.new_empty(shape) for _ in self.blocks]
        )
        c = self.condition(condition)
        return cache, c, [block.modulation(c) for block in self.blocks]  # type: ignore[operator]

    def step(
        self,
        inputs: Tensor,
        condition: Tensor,
        modulations: list[list[Tensor]],
        target: Tensor,
        known: Tensor,
        cache: KeyValueCache,
    ) -> Tensor:
        """Outputs (n, n_outputs) of the next token, inputs (n, n_inputs), labels (K,) over the tokens so far."""
        x = self.embed(inputs) + condition
        for index, (block, modulation) in enumerate(zip(self.blocks, modulations, strict=True)):
            bias = block.bias_target[:, target] + block.bias_known[:, known]  # type: ignore[index]
            x = block.step(x, modulation, bias, cache, index)  # type: ignore[operator]
        cache.length += 1
        return self.out(norm(x))
