r"""Ratios of partition functions of neighbouring compositions from single-site changes: Bennett's acceptance ratio.

A configuration s of N atoms B has n_A(s) sites where A may become B. With f(x) = 1 / (1 + e^x) and any constant C,

    Z_{N+1} / Z_N = e^C < sum_{i: A} f(beta dE_i + C) >_N / < sum_{i: B} f(beta dE_i - C) >_{N+1}

exactly (Bennett, doi:10.1016/0021-9991(76)90078-4; every pair of configurations that differ in one site occurs in both sums),
where dE_i is the energy of changing site i. Every sample gives as many numbers as it has sites, so this beats counting how often
compositions occur. With one species alone there is a single configuration, whose Z is known: it anchors the chain of ratios at
both ends, and how far the chain misses the other end is a test of the samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import expit

from alloygen.hamiltonian import ClusterHamiltonian
from alloygen.thermo.condition_samples import ConditionSamples
from alloygen.thermo.multistate_density import MultistateDensity

Array = np.ndarray

#: Configurations whose energies are computed at once.
_ROWS = 4096


def has_bridges(hamiltonian: ClusterHamiltonian) -> bool:
    """Return whether every site that can change is of one sublattice with two species: what this module is for."""
    lattice = hamiltonian.lattice
    return sum(len(names) > 1 for names in lattice.sublattices) == 1 and len(lattice.variable_species) == 2


def flip_energies(hamiltonian: ClusterHamiltonian, occupation: Array) -> Array:
    """Return the energy of changing each active site to its other species, shape (n, n_active), float32."""
    active = hamiltonian.lattice.active_sites
    found = np.empty((len(occupation), len(active)), dtype=np.float32)
    for low in range(0, len(occupation), _ROWS):
        codes = torch.from_numpy(occupation[low : low + _ROWS].astype(np.int64))
        other = (1 - codes[:, active])[:, :, None]
        change = hamiltonian.energy_differences(codes)[:, active].gather(2, other)[:, :, 0]
        found[low : low + _ROWS] = change.cpu().numpy()
    return found


@dataclass(frozen=True, eq=False)
class CompositionBridge:
    """ln Z of all compositions at one temperature from ratios, anchored at the two pure ends.

    Attributes
    ----------
    log_partition_function
        Shape (n_replicates + 1, n_active + 1); NaN if a composition was never seen.
    closure
        ln of the product of all ratios minus its exact value, shape (n_replicates + 1,).
    """

    log_partition_function: Array
    closure: Array


def composition_bridge(
    density: MultistateDensity,
    samples: ConditionSamples,
    flips: tuple[Array, Array],
    beta: float,
    log_z: Array,
    ends: tuple[float, float],
) -> CompositionBridge:
    """Return ln Z of all compositions at one temperature from single-site changes.

    Parameters
    ----------
    density
        Of the samples.
    samples
        What the density was made from.
    flips
        Energies of :func:`flip_energies`, and the codes of the same sites, both of shape (n, n_active).
    beta
        Inverse temperature.
    log_z
        First guess, such as the density's own, shape (n_active + 1,); not finite where nothing is known.
    ends
        Energies of the configurations of one species only, lowest composition first.
    """
    flip_energy, code = flips
    n_active = code.shape[1]
    number = code.sum(axis=1, dtype=np.int64)
    n_x = n_active + 1
    step = np.diff(log_z) + np.log(np.arange(1, n_active + 1) / np.arange(n_active, 0, -1))
    # An unknown neighbour: any constant is right.
    step = np.append(np.nan_to_num(step, nan=0.0, posinf=0.0, neginf=0.0), 0.0)
    scaled = beta * flip_energy
    forward = np.where(code == 0, expit(-(scaled + step[number][:, None])), 0.0).sum(axis=1)
    backward = np.where(code == 1, expit(-(scaled - step[number - 1][:, None])), 0.0).sum(axis=1)
    boltzmann = np.exp(-beta * (samples.energy - samples.energy.min()))
    steps = []
    for replicate in range(len(density.log_g)):
        weight = density.sample_weights(replicate) * boltzmann
        total, up, down = (np.bincount(number, weight * x, minlength=n_x) for x in (1.0, forward, backward))
        with np.errstate(divide="ignore", invalid="ignore"):
            steps.append(step[:-1] + np.log(up / total)[:-1] - np.log(down / total)[1:])
    return _anchored(np.array(steps), -beta * ends[0], -beta * ends[1])


def _anchored(steps: Array, first: float, last: float) -> CompositionBridge:
    """Close the chain at both ends: the least-squares solution for steps of independent errors."""
    chain = first + np.cumsum(np.pad(steps, ((0, 0), (1, 0))), axis=1)
    closure = chain[:, -1] - last
    variance = steps[1:].var(axis=0, ddof=1)
    part = np.cumsum(np.append(0.0, variance))
    return CompositionBridge(chain - closure[:, None] * part / part[-1], closure)
