"""Build the Cu-Au cluster expansion ``cuau.ce`` from its figures.

The effective cluster interactions are those of the data of https://github.com/xiaochendu/metadns (MIT licence): the
energy per atom is the sum over orbits of a coefficient times the average over the orbit's clusters of the product
of spins, sigma_Au = +1 and sigma_Cu = -1. The constant and the point term are then shifted so that both pure
metals have energy zero (formation energies).

    python data/cuau/build.py
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
from ase.build import bulk
from icet import ClusterExpansion, ClusterSpace

#: Lattice parameter in angstrom and the largest diameter of pairs, triplets and quadruplets in angstrom.
LATTICE_PARAMETER = 3.8
CUTOFFS = [6.0, 4.5, 4.5]

EMPTY = 0.006100279787831659
POINT = -0.0031900811734577247
#: Coefficients in eV/atom, by the neighbour shells of the cluster's pairs in ascending order.
COEFFICIENTS = {
    (1,): 0.017232296461428938,
    (2,): -0.016839573363374966,
    (3,): -0.005192441582986464,
    (4,): -0.00042240992321274096,
    (1, 1, 1): -0.00770642159861723,
    (1, 1, 2): 0.008232628244981447,
    (1, 1, 1, 1, 1, 1): -0.0003380467088204115,
    (1, 1, 1, 1, 2, 2): -0.015681090820390833,
    (1, 1, 1, 1, 1, 2): 0.015097011177476766,
}


def shells(positions: np.ndarray) -> tuple[int, ...]:
    """Return the neighbour shells of all pairs of a cluster in fcc: distance^2 = shell * a^2 / 2."""
    squares = [np.sum((a - b) ** 2) for a, b in combinations(positions, 2)]
    return tuple(sorted(round(2 * s / LATTICE_PARAMETER**2) for s in squares))


def build() -> ClusterExpansion:
    """Return the cluster expansion of formation energies, in eV/atom."""
    space = ClusterSpace(bulk("Cu", "fcc", a=LATTICE_PARAMETER), CUTOFFS, ["Cu", "Au"])
    orbits = [space.orbit_list.get_orbit(index) for index in range(len(space.orbit_list))]
    coefficients = [
        POINT if orbit.order == 1 else COEFFICIENTS[shells(np.array(orbit.representative_cluster.positions))]
        for orbit in orbits
    ]
    odd = sum(c for c, orbit in zip(coefficients, orbits, strict=True) if orbit.order % 2)
    even = sum(c for c, orbit in zip(coefficients, orbits, strict=True) if orbit.order % 2 == 0)
    # Pure Au has every product +1, pure Cu has (-1)^order: both become zero.
    coefficients = [c - odd if orbit.order == 1 else c for c, orbit in zip(coefficients, orbits, strict=True)]
    metadata = {"source": "github.com/xiaochendu/metadns (MIT), shifted to formation energies"}
    return ClusterExpansion(space, [-even, *coefficients], metadata=metadata)


if __name__ == "__main__":
    path = Path(__file__).parent / "cuau.ce"
    build().write(str(path))
    print(path)
