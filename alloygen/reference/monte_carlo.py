r"""Metropolis Monte Carlo in the semi-grand canonical ensemble, compiled, for many replicas.

A trial changes one site to another of its allowed species with probability min(1, exp[-beta (dE - mu.dN)]). The
derivative of the energy by every feature is kept up to date, so a rejected trial costs a look-up and only accepted
ones pay for the clusters around the site. Every replica has a random stream of its own (SplitMix64; Steele, Lea and
Flood, 10.1145/2660193.2660195), so results do not depend on how replicas are spread over threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from alloygen.hamiltonian import ClusterHamiltonian

Array = np.ndarray


@njit(cache=True, nogil=True, inline="always")  # type: ignore[misc]
def random_bits(state, replica):  # type: ignore[no-untyped-def]
    """Advance one replica's SplitMix64 stream and return 64 random bits."""
    state[replica] += np.uint64(0x9E3779B97F4A7C15)
    z = state[replica]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True, inline="always")  # type: ignore[misc]
def uniform(state, replica):  # type: ignore[no-untyped-def]
    """Return a uniform random number in [0, 1)."""
    return float(random_bits(state, replica) >> np.uint64(11)) * 1.1102230246251565e-16


@njit(cache=True, nogil=True, inline="always")  # type: ignore[misc]
def below(state, replica, limit):  # type: ignore[no-untyped-def]
    """Return a random integer in [0, limit); the bias is below limit / 2^32."""
    return np.int64(((random_bits(state, replica) >> np.uint64(32)) * np.uint64(limit)) >> np.uint64(32))


@njit(cache=True, nogil=True)  # type: ignore[misc]
def change_site(  # type: ignore[no-untyped-def]
    features, derivative, low, high, table, code, pointer, others, coefficients
):
    """Set one site's species and update the derivatives by the features around it."""
    n_others = others.shape[1]
    for f in range(low, high):
        delta = table[code, f - low] - features[f]
        if delta == 0.0:
            continue
        for m in range(pointer[f], pointer[f + 1]):
            weight = coefficients[m] * delta
            for k in range(n_others):
                target = others[m, k]
                if target < 0:
                    break
                product = weight
                for other in range(n_others):
                    if others[m, other] < 0:
                        break
                    if other != k:
                        product *= features[others[m, other]]
                derivative[target] += product
    for f in range(low, high):
        features[f] = table[code, f - low]


@njit(cache=True, nogil=True)  # type: ignore[misc]
def sweep_replicas(  # type: ignore[no-untyped-def]
    n_trials, occupation, energy, counts, features, derivative, beta, mu, random_state,
    active, n_allowed, start, table, species, pointer, others, coefficients, accepted,
):  # fmt: skip
    """Make ``n_trials`` single-site trials in every replica."""
    n_active = len(active)
    for replica in range(len(occupation)):
        for _ in range(n_trials):
            a = below(random_state, replica, n_active)
            site = active[a]
            old = occupation[replica, site]
            if n_allowed[a] == 2:
                new = 1 - old
            else:
                new = (old + 1 + below(random_state, replica, n_allowed[a] - 1)) % n_allowed[a]
            low, high = start[a], start[a] + n_allowed[a] - 1
            change = 0.0
            for f in range(low, high):
                change += (table[a, new, f - low] - table[a, old, f - low]) * derivative[replica, f]
            old_species, new_species = species[a, old], species[a, new]
            work = mu[replica, new_species] - mu[replica, old_species]
            exponent = -beta[replica] * (change - work)
            if exponent >= 0.0 or uniform(random_state, replica) < np.exp(exponent):
                change_site(
                    features[replica], derivative[replica], low, high, table[a], new, pointer, others, coefficients
                )
                occupation[replica, site] = new
                energy[replica] += change
                counts[replica, old_species] -= 1
                counts[replica, new_species] += 1
                accepted[replica] += 1


@dataclass(eq=False)
class MetropolisSampler:
    """Replicas of one Hamiltonian, each at its own condition.

    Parameters
    ----------
    hamiltonian
        The energy.
    beta, chemical_potentials
        Inverse temperature (n_replicas,) and chemical potential per species (n_replicas, n_species).
    seed
        Seed of the replicas' random streams.

    Attributes
    ----------
    occupation, energy, counts
        State of the replicas: codes (n_replicas, n_sites), energies (n_replicas,), species counts.
    accepted, trials
        Accepted trials per replica, and trials made in each.
    """

    hamiltonian: ClusterHamiltonian
    beta: Array
    chemical_potentials: Array
    seed: int

    def __post_init__(self) -> None:
        lattice = self.hamiltonian.lattice
        generator = np.random.default_rng(self.seed)
        n_replicas = len(self.beta)
        self.random_state = generator.integers(0, 2**63, size=n_replicas, dtype=np.uint64)
        self.accepted = np.zeros(n_replicas, dtype=np.int64)
        self.trials = 0
        active = lattice.active_sites
        self._sites = (
            active,
            lattice.n_allowed[active],
            self.hamiltonian.feature_start[:-1][active],
            np.ascontiguousarray(self.hamiltonian.point_table[active]),
            np.ascontiguousarray(lattice.species_codes[active]),
        )
        self.set_occupation(generator.integers(0, lattice.n_allowed, size=(n_replicas, lattice.n_sites)))

    def set_occupation(self, occupation: Array) -> None:
        """Start the replicas from these configurations, shape (n_replicas, n_sites)."""
        import torch

        lattice = self.hamiltonian.lattice
        self.occupation = np.array(occupation, dtype=np.int64)
        tensor = torch.from_numpy(self.occupation)
        self.energy = self.hamiltonian.energy(tensor).numpy()
        self.features = self.hamiltonian.features(tensor).numpy()
        self.derivative = self.hamiltonian.derivatives(torch.from_numpy(self.features)).numpy()
        species = np.take_along_axis(lattice.species_codes[None], self.occupation[:, :, None], axis=2)[:, :, 0]
        self.counts = (species[:, :, None] == np.arange(len(lattice.species))).sum(axis=1)

    def sweep(self, n_sweeps: int = 1) -> None:
        """Make ``n_sweeps`` trials per active site in every replica."""
        n_trials = n_sweeps * len(self._sites[0])
        sweep_replicas(
            n_trials, self.occupation, self.energy, self.counts, self.features, self.derivative, self.beta,
            self.chemical_potentials, self.random_state, *self._sites, *self.hamiltonian.by_feature, self.accepted,
        )  # fmt: skip
        self.trials += n_trials

    @property
    def log_weight(self) -> Array:
        """-beta (E - mu.N) of every replica at its own condition."""
        return -self.beta * (self.energy - (self.counts * self.chemical_potentials).sum(axis=1))

    def swap(self, first: Array, second: Array, accept: Array) -> None:
        """Exchange the configurations of the pairs (first, second) where ``accept`` is true."""
        i, j = first[accept], second[accept]
        for state in (self.occupation, self.energy, self.counts, self.features, self.derivative):
            state[i], state[j] = state[j].copy(), state[i].copy()
