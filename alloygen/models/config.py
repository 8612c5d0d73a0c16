"""What kind of model, and how large."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from alloygen.errors import AlloygenError


@dataclass(frozen=True)
class ModelConfig:
    """Family, network and size of a model.

    Attributes
    ----------
    family
        "causal" (one pass scores a whole configuration), "ao_mam" (masked, with marginals), "ao_arm" (masked, exact
        likelihood by one pass per site) or "fixed" (one site order).
    network
        "transformer", "gnn" or "mlp"; causal models are Transformers, and fixed ones MLPs.
    width, depth, heads
        Features per token, blocks, and attention heads (width is a multiple of heads).
    group
        Sites that one token of a causal model decides together.
    encoding
        How sites know of each other: "pair_orbit", "rope", "absolute" or "none". Causal models and the GNN use "pair_orbit".
    """

    family: str = "causal"
    network: str = "transformer"
    width: int = 64
    depth: int = 3
    heads: int = 4
    group: int = 1
    encoding: str = "pair_orbit"

    def __post_init__(self) -> None:
        if min(self.width, self.depth, self.heads, self.group) < 1 or self.width % self.heads:
            raise AlloygenError(
                f"width {self.width}, depth {self.depth}, heads {self.heads}, group {self.group}: expected positive "
                "integers and a width that is a multiple of heads, for example width=64, depth=3, heads=4"
            )
        if self.group > 1 and self.family != "causal":
            raise AlloygenError(
                f"group = {self.group} with family {self.family!r}: only causal models decide several sites at once; "
                "use ModelConfig(family='causal', group=...) or group=1"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary."""
        return asdict(self)
