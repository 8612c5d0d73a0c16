"""The contract of a Hamiltonian, for every kind of lattice, and that the checker can fail."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alloygen.adapters.icet import compile_cluster_expansion
from alloygen.errors import ClusterExpansionError, OccupationError
from alloygen.hamiltonian import ClusterHamiltonian, Polynomial, ising_hamiltonian
from alloygen.testing import contracts, systems


@pytest.mark.parametrize("name", systems.SYSTEMS)
def test_cluster_expansions_keep_the_contract(name: str) -> None:
    contracts.check_hamiltonian(compile_cluster_expansion(systems.SYSTEMS[name](), (2, 2, 2)), n=5)


@pytest.mark.parametrize(
    ("lattice", "shape"),
    [("chain", (5,)), ("square", (3, 4)), ("triangular", (3, 3)), ("honeycomb", (2, 3)), ("cubic", (2, 2, 3)),
     ("fcc", (2, 2, 2)), ("bcc", (2, 2, 3))],
)  # fmt: skip
def test_ising_models_keep_the_contract(lattice: str, shape: tuple[int, ...]) -> None:
    contracts.check_hamiltonian(ising_hamiltonian(*shape, coupling=0.7, field=-0.3, lattice=lattice), n=5)


def test_broken_symmetry_is_found() -> None:
    good = ising_hamiltonian(3, 3)
    coefficients = good.polynomial.coefficients.copy()
    coefficients[0] += 0.1
    bad = replace(good, polynomial=replace(good.polynomial, coefficients=coefficients))
    with pytest.raises(AssertionError, match="changes the energy"):
        contracts.check_hamiltonian(bad)


def test_gathers_in_torch_equal_the_compiled_loops() -> None:
    """The route of other devices, run on the CPU."""
    hamiltonian = compile_cluster_expansion(systems.rocksalt(), (2, 2, 2))
    occupation = systems.random_occupations(hamiltonian.lattice, 50)
    features = hamiltonian.features(occupation)
    np.testing.assert_allclose(hamiltonian._known_energy_torch(features, chunk=1000), hamiltonian.energy(occupation))
    np.testing.assert_allclose(
        hamiltonian._derivatives_torch(features, chunk=1000), hamiltonian.derivatives(features), atol=1e-12
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_coefficients_must_be_finite(value: float) -> None:
    lattice = ising_hamiltonian(2, 2).lattice
    with pytest.raises(ClusterExpansionError, match="NaN or infinite"):
        ClusterHamiltonian(lattice, Polynomial(0.0, np.array([[0, 1]]), np.array([value])))
    with pytest.raises(ClusterExpansionError, match="coupling"):
        ising_hamiltonian(2, 2, coupling=value)


@pytest.mark.parametrize(
    ("occupation", "message"),
    [
        (np.zeros((2, 4)), "integer species codes"),
        (np.zeros(4, dtype=int), r"shape \(4,\): expected \(n, 4\)"),
        (np.zeros((2, 5), dtype=int), r"shape \(2, 5\)"),
        (np.array([[0, 1, 2, 0]]), r"occupation\[0, 2\] = 2: site 2 allows codes 0 to 1 \(down, up\)"),
        (np.array([[0, 1, -1, 0]]), r"occupation\[0, 2\] = -1"),
    ],
)
def test_bad_occupations_are_refused(occupation: np.ndarray, message: str) -> None:
    with pytest.raises(OccupationError, match=message):
        ising_hamiltonian(2, 2).check_occupation(occupation)
