"""Networks: functions of token inputs that know nothing of energies.

``NETWORKS`` holds those over all sites of a lattice, by name: a new one is one file and one line here.
"""

from __future__ import annotations

from collections.abc import Callable

from alloygen.models.networks.gnn import GraphNetwork
from alloygen.models.networks.mlp import Perceptron
from alloygen.models.networks.spec import NetworkSpec, SiteNetwork
from alloygen.models.networks.transformer import Transformer

NETWORKS: dict[str, Callable[[NetworkSpec], SiteNetwork]] = {
    "transformer": Transformer,
    "gnn": GraphNetwork,
    "mlp": Perceptron,
}

__all__ = ["NETWORKS", "NetworkSpec", "SiteNetwork"]
