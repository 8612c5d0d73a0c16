r"""Replica exchange over a grid of temperatures and chemical potentials.

Neighbours on the grid swap configurations with probability min(1, exp[(beta_i - beta_j)(E_i - E_j)
- (beta_i mu_i - beta_j mu_j).(N_i - N_j)]) (Hukushima and Nemoto, 10.1143/JPSJ.65.1604), so low temperatures inherit
the ergodicity of high ones. Two or more runs from different starts show whether that suffices.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from alloygen.errors import WindowError
from alloygen.hamiltonian import ClusterHamiltonian
from alloygen.reference.monte_carlo import MetropolisSampler

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class ConditionGrid:
    """A product grid of temperatures and chemical potentials.

    Attributes
    ----------
    temperatures
        Ascending, shape (n_temperatures,).
    chemical_potentials
        One vector over species per grid point, shape (n_mu, n_species).
    mu_shape
        Grid points along each varied species; their product is n_mu.
    """

    temperatures: Array
    chemical_potentials: Array
    mu_shape: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_temperatures, grid points along each varied species)."""
        return (len(self.temperatures), *self.mu_shape)

    def flat(self) -> tuple[Array, Array]:
        """Temperatures (n_conditions,) and chemical potentials (n_conditions, n_species) of all grid points."""
        n_mu = len(self.chemical_potentials)
        return np.repeat(self.temperatures, n_mu), np.tile(self.chemical_potentials, (len(self.temperatures), 1))

    def neighbours(self) -> list[tuple[int, Array, Array]]:
        """Disjoint sets of neighbour pairs, even and odd along every axis: (axis, first, second)."""
        index = np.arange(int(np.prod(self.shape))).reshape(self.shape)
        groups = []
        for axis, size in enumerate(self.shape):
            along = np.moveaxis(index, axis, 0)
            for parity in (0, 1):
                first, second = along[parity : size - 1 : 2], along[parity + 1 : size : 2]
                if first.size:
                    groups.append((axis, first.ravel(), second.ravel()))
        return groups


@dataclass(frozen=True, eq=False)
class ReferenceSamples:
    """Samples of every condition of a grid.

    Attributes
    ----------
    grid
        The conditions.
    occupation
        int8 codes, shape (n_conditions, n_samples, n_sites); samples of all runs, run after run.
    energy
        Energy units per supercell, shape (n_conditions, n_samples).
    counts
        Species counts, shape (n_conditions, n_samples, n_species).
    n_runs
        Independent runs.
    swap_acceptance
        Acceptance of swaps between a condition and the next one along every axis of the grid, shape
        (n_axes, n_conditions); NaN where no swap was tried.
    """

    grid: ConditionGrid
    occupation: Array
    energy: Array
    counts: Array
    n_runs: int
    swap_acceptance: Array

    def split_r_hat(self) -> Array:
        """Split R-hat of the energy per condition (Gelman et al., Bayesian Data Analysis, eq. 11.4)."""
        half = self.energy.shape[1] // (2 * self.n_runs)
        chains = self.energy.reshape(len(self.energy), self.n_runs, -1)[:, :, : 2 * half]
        chains = chains.reshape(len(self.energy), 2 * self.n_runs, half)
        within = chains.var(axis=2, ddof=1).mean(axis=1)
        between = chains.mean(axis=2).var(axis=1, ddof=1)
        # Frozen replicas (no variance within or between) are converged.
        return np.sqrt((half - 1) / half + between / np.where(within > 0, within, np.inf) + (within == 0) / half)


def replica_exchange(
    hamiltonian: ClusterHamiltonian,
    grid: ConditionGrid,
    *,
    n_samples: int,
    sweeps_per_sample: int = 4,
    n_runs: int = 2,
    burn_in: float = 0.2,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> ReferenceSamples:
    """Sample every condition of a grid.

    Parameters
    ----------
    hamiltonian
        The energy.
    grid
        The conditions; at least two, or there is nothing to exchange.
    n_samples
        Samples kept per condition, split over the runs.
    sweeps_per_sample
        Sweeps (trials per site) between samples; every sweep is followed by swaps.
    n_runs
        Independent runs, one thread each: the first starts from random configurations, the others from the same
        species on every site of a sublattice, a different one in each run.
    burn_in
        Fraction of samples made and thrown away before those that are kept.
    seed
        Seed of the run.
    progress
        Called with the finished fraction.

    Raises
    ------
    WindowError
        If the grid has a single condition.
    """
    if int(np.prod(grid.shape)) < 2:
        raise WindowError(
            "replica exchange over a single condition has nothing to exchange: pass a grid of at least two temperatures"
        )
    seeds = np.random.SeedSequence(seed).spawn(n_runs)
    per_run = -(-n_samples // n_runs)
    workers = min(n_runs, os.cpu_count() or 1)

    def run(number: int) -> tuple[Array, Array, Array, Array]:
        report = progress if number == 0 else None
        return _run(hamiltonian, grid, per_run, sweeps_per_sample, burn_in, number, seeds[number], report)

    with ThreadPoolExecutor(workers) as pool:
        parts = list(pool.map(run, range(n_runs)))
    occupation, energy, counts = (np.concatenate([p[k] for p in parts], axis=1) for k in range(3))
    return ReferenceSamples(grid, occupation, energy, counts, n_runs, np.mean([p[3] for p in parts], axis=0))


def _start(hamiltonian: ClusterHamiltonian, number: int, n_replicas: int) -> Array | None:
    """Start of a run: None (random) for the first, one species everywhere for the others."""
    if number == 0:
        return None
    return np.tile((number - 1) % hamiltonian.lattice.n_allowed, (n_replicas, 1))


def _run(
    hamiltonian: ClusterHamiltonian,
    grid: ConditionGrid,
    n_samples: int,
    sweeps_per_sample: int,
    burn_in: float,
    number: int,
    seed: np.random.SeedSequence,
    progress: Callable[[float], None] | None,
) -> tuple[Array, Array, Array, Array]:
    temperature, mu = grid.flat()
    beta = 1.0 / (hamiltonian.units.boltzmann_constant * temperature)
    stream, swaps = seed.spawn(2)
    sampler = MetropolisSampler(hamiltonian, beta, mu, int(stream.generate_state(1)[0]))
    start = _start(hamiltonian, number, len(beta))
    if start is not None:
        sampler.set_occupation(start)
    generator = np.random.default_rng(swaps)
    groups = grid.neighbours()
    n_sites = hamiltonian.lattice.n_sites
    occupation = np.empty((len(beta), n_samples, n_sites), dtype=np.int8)
    energy = np.empty((len(beta), n_samples))
    counts = np.empty((len(beta), n_samples, sampler.counts.shape[1]), dtype=np.int32)
    swapped, tried = np.zeros((2, len(grid.shape), len(beta)))
    skipped = int(np.ceil(burn_in * n_samples))
    for step in range(-skipped, n_samples):
        for _ in range(sweeps_per_sample):
            sampler.sweep()
            _exchange(sampler, groups, generator, swapped, tried)
        if step >= 0:
            occupation[:, step], energy[:, step], counts[:, step] = sampler.occupation, sampler.energy, sampler.counts
        if progress is not None and step % 16 == 0:
            progress((step + skipped + 1) / (n_samples + skipped))
    # Energies are sums of many increments: replace them by exact ones.
    import torch

    exact = hamiltonian.energy(torch.from_numpy(occupation.reshape(-1, n_sites).astype(np.int64)))
    return (
        occupation,
        exact.numpy().reshape(len(beta), n_samples),
        counts,
        swapped / np.where(tried > 0, tried, np.nan),
    )


def _exchange(
    sampler: MetropolisSampler,
    groups: Sequence[tuple[int, Array, Array]],
    generator: np.random.Generator,
    swapped: Array,
    tried: Array,
) -> None:
    """Try to swap one randomly chosen set of neighbour pairs."""
    axis, first, second = groups[int(generator.integers(len(groups)))]
    beta, mu = sampler.beta, sampler.chemical_potentials
    energy = sampler.energy[first] - sampler.energy[second]
    counts = sampler.counts[first] - sampler.counts[second]
    field = beta[first, None] * mu[first] - beta[second, None] * mu[second]
    exponent = (beta[first] - beta[second]) * energy - (field * counts).sum(axis=1)
    accept = np.log(generator.random(len(first))) < exponent
    sampler.swap(first, second, accept)
    tried[axis, first] += 1
    swapped[axis, first] += accept
