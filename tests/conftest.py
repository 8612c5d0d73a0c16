"""Check shapes and types of every annotated tensor call while the tests run."""

from __future__ import annotations

from jaxtyping import install_import_hook

install_import_hook(
    [
        "alloygen.hamiltonian.cluster_hamiltonian",
        "alloygen.models.any_order",
        "alloygen.models.causal",
        "alloygen.models.fixed_order",
        "alloygen.models.masked",
        "alloygen.problem",
    ],
    "beartype.beartype",
)
