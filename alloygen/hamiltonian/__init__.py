"""Hamiltonians: compiled cluster sums on a lattice."""

from alloygen.hamiltonian.cluster_hamiltonian import ClusterHamiltonian
from alloygen.hamiltonian.ising import ising_hamiltonian
from alloygen.hamiltonian.polynomial import ClusterTable, Polynomial

__all__ = ["ClusterHamiltonian", "ClusterTable", "Polynomial", "ising_hamiltonian"]
