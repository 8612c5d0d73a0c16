"""The families by name: a new one is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable

from alloygen.errors import AlloygenError
from alloygen.hamiltonian import ClusterHamiltonian
from alloygen.hamiltonian.conditions import ConditionWindow
from alloygen.models.any_order import AnyOrderModel
from alloygen.models.causal import CausalModel
from alloygen.models.config import ModelConfig

FAMILIES: dict[str, Callable[[ClusterHamiltonian, ConditionWindow, ModelConfig, int], AnyOrderModel]] = {
    "causal": CausalModel,
}


def build_model(
    hamiltonian: ClusterHamiltonian, window: ConditionWindow, config: ModelConfig | None = None, seed: int = 0
) -> AnyOrderModel:
    """Return an untrained model.

    Parameters
    ----------
    hamiltonian
        The energy; its lattice supplies symmetry and allowed species.
    window
        The conditions that the network's inputs are scaled to.
    config
        Family, network and size.
    seed
        Seed of the initial weights; torch's global generator is left alone.

    Raises
    ------
    AlloygenError
        If the family is unknown, or does not fit the lattice.
    """
    config = config or ModelConfig()
    if config.family not in FAMILIES:
        raise AlloygenError(f"family = {config.family!r}: expected one of {', '.join(map(repr, FAMILIES))}")
    return FAMILIES[config.family](hamiltonian, window, config, seed)
