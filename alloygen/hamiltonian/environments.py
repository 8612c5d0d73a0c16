r"""Energies of single sites by table look-up, kept up to date while configurations change.

The energy of species a on site i, relative to the site's first species and in the field of all other sites, is

    S_i(a) = base(a) + sum_pairs W_ij(a, s_j) + sum_t V_t[ sum_{j in t} stride_j s_j ](a),

where every table V_t covers the sites of some of the clusters of three and more sites around i, and pairs with sites
outside the tables are kept as a running sum. Changing one site to another species costs S_i(new) - S_i(old): one
look-up per table. An accepted change adds a stride to the table index of every site whose tables hold it, and a number to
the running sums of its other neighbours; nothing is multiplied out again. Sites that are translations of each other
share their tables.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit

from alloygen.hamiltonian.cluster_hamiltonian import ClusterHamiltonian
from alloygen.hamiltonian.polynomial import point_functions

Array = np.ndarray

#: Largest number of neighbour configurations of one table.
TABLE_SIZE = 2**18
#: Entries of all tables together; where more would be needed, clusters are spread over smaller tables.
MAX_ENTRIES = 2**24
#: Largest difference from the Hamiltonian's own energy changes, relative to the largest of them.
TOLERANCE = 1e-9


class Environments(NamedTuple):
    """Tables and neighbour lists of all sites, as arrays for compiled loops.

    Sites of one *kind* share everything but their neighbours' numbers. ``width`` below is the largest number of species
    of a site minus one: energies are relative to a site's species 0.

    Attributes
    ----------
    kind
        Kind of every site, shape (n_sites,).
    base
        Energy of species 1, 2, ... of an isolated site, shape (n_kinds, width).
    n_tables, table_start
        Tables of each kind (n_kinds,), and where each begins in ``values`` (n_kinds, max tables).
    values
        All tables, one after the other; entry ``start + index * width + a - 1`` is V_t[index](a).
    n_indexed, indexed, slot, stride
        Sites whose table index depends on a site: their number (n_kinds,), their site numbers (n_sites, max), and per kind
        which of their tables it is and by how much the index grows with the site's code (n_kinds, max).
    n_coupled, coupled, coupling
        Sites whose running sum depends on a site: number, site numbers, and the energies
        (n_kinds, max, max species, width) by the site's code and the neighbour's species.
    """

    kind: Array
    base: Array
    n_tables: Array
    table_start: Array
    values: Array
    n_indexed: Array
    indexed: Array
    slot: Array
    stride: Array
    n_coupled: Array
    coupled: Array
    coupling: Array

    @property
    def own(self) -> tuple[Array, ...]:
        """What :func:`change_energy` takes."""
        return self[:5]

    @property
    def around(self) -> tuple[Array, ...]:
        """What :func:`change_site` takes."""
        return self[:1] + self[5:]


# The compiled functions take the arrays one by one: numba counts references whenever it takes an array out of a tuple, which
# costs ten times what the look-up itself does. Where every site has at most two species, running sums have no last axis, and
# numba drops the branches for more species when it compiles (their mere presence costs a factor of five).


@njit(cache=True, nogil=True)  # type: ignore[misc]
def change_energy(kind_of, base, n_tables, table_start, values, index, field, site, old, new):  # type: ignore[no-untyped-def]
    """Energy change of one site from species ``old`` to ``new``."""
    kind, width = kind_of[site], base.shape[1]
    energy = 0.0
    if field.ndim == 1:
        energy = base[kind, 0] + field[site]
        for t in range(n_tables[kind]):
            energy += values[table_start[kind, t] + np.int64(index[site, t])]
        return energy * (new - old)
    if new > 0:
        energy += base[kind, new - 1] + field[site, new - 1]
    if old > 0:
        energy -= base[kind, old - 1] + field[site, old - 1]
    for t in range(n_tables[kind]):
        place = table_start[kind, t] + np.int64(index[site, t]) * width - 1
        if new > 0:
            energy += values[place + new]
        if old > 0:
            energy -= values[place + old]
    return energy


@njit(cache=True, nogil=True)  # type: ignore[misc]
def change_site(  # type: ignore[no-untyped-def]
    kind_of, n_indexed, indexed, slot, stride, n_coupled, coupled, coupling, index, field, site, old, new
):
    """Update the table indices and running sums of all sites around a change."""
    kind, step = kind_of[site], new - old
    for k in range(n_indexed[kind]):
        index[indexed[site, k], slot[kind, k]] += stride[kind, k] * step
    if field.ndim == 1:
        for k in range(n_coupled[kind]):
            field[coupled[site, k]] += coupling[kind, k, 1, 0] * step
    else:
        for k in range(n_coupled[kind]):
            target = coupled[site, k]
            for a in range(field.shape[1]):
                field[target, a] += coupling[kind, k, new, a] - coupling[kind, k, old, a]


@njit(cache=True, nogil=True)  # type: ignore[misc]
def pair_energy(  # type: ignore[no-untyped-def]
    kind_of, n_tables, table_start, values, n_indexed, indexed, slot, stride, n_coupled, coupled, coupling,
    index, field, first, second, here, there,
):  # fmt: skip
    """What changing ``first`` from ``here`` to ``there`` adds to the change of ``second`` from ``there`` to ``here``."""
    kind, other, step = kind_of[first], kind_of[second], there - here
    energy, wanted = 0.0, np.int32(second)
    # Counting first, which is vectorised, is faster than a branch at every neighbour.
    n_met, last = np.int32(0), np.int32(0)
    for k in range(n_indexed[kind]):
        same = np.int32(indexed[first, k] == wanted)
        n_met += same
        last = max(last, same * np.int32(k))
    for k in range(last if n_met == 1 else 0, last + 1 if n_met > 0 else 0):
        if indexed[first, k] == wanted:
            t = slot[kind, k]
            if field.ndim == 1:
                before = table_start[other, t] + np.int64(index[second, t])
                energy -= step * (values[before + stride[kind, k] * step] - values[before])
            else:
                before = table_start[other, t] + np.int64(index[second, t]) * field.shape[1] - 1
                after = before + np.int64(stride[kind, k]) * step * field.shape[1]
                if here > 0:
                    energy += values[after + here] - values[before + here]
                if there > 0:
                    energy -= values[after + there] - values[before + there]
    # A site meets another through tables or through a pair, and once through a pair.
    if n_met > 0:
        return energy
    last = np.int32(-1)
    for k in range(n_coupled[kind]):
        last = max(last, np.int32(k) if coupled[first, k] == wanted else np.int32(-1))
    if last >= 0:
        if field.ndim == 1:
            energy -= step * step * coupling[kind, last, 1, 0]
        else:
            if here > 0:
                energy += coupling[kind, last, there, here - 1] - coupling[kind, last, here, here - 1]
            if there > 0:
                energy -= coupling[kind, last, there, there - 1] - coupling[kind, last, here, there - 1]
    return energy


@njit(cache=True, nogil=True)  # type: ignore[misc]
def _fill(kind_of, n_indexed, indexed, slot, stride, n_coupled, coupled, coupling, occupation, index, field):  # type: ignore[no-untyped-def]
    for row in range(len(occupation)):
        for site in range(occupation.shape[1]):
            if occupation[row, site] != 0:
                change_site(
                    kind_of, n_indexed, indexed, slot, stride, n_coupled, coupled, coupling, index[row], field[row],
                    site, 0, occupation[row, site],
                )  # fmt: skip


def environment_state(environments: Environments, occupation: Array) -> tuple[Array, Array]:
    """Return the state of occupations (n, n_sites).

    Returns
    -------
    index
        Table indices, shape (n, n_sites, max tables), int32.
    field
        Running sums, shape (n, n_sites, width), or (n, n_sites) where width is 1.
    """
    n, n_sites = occupation.shape
    width = environments.base.shape[1]
    index = np.zeros((n, n_sites, environments.table_start.shape[1]), dtype=np.int32)
    field = np.zeros((n, n_sites) if width == 1 else (n, n_sites, width))
    _fill(*environments.around, occupation, index, field)
    return index, field


def build_environments(hamiltonian: ClusterHamiltonian, table_size: int = TABLE_SIZE) -> Environments:
    """Tabulate the single-site energies of a Hamiltonian.

    Sites of one basis index share a kind if the Hamiltonian is the same around all of them, which is checked against its own
    energy changes; otherwise every site is its own kind.

    Parameters
    ----------
    hamiltonian
        Any Hamiltonian.
    table_size
        Largest number of neighbour configurations of one table.
    """
    lattice = hamiltonian.lattice
    environments = _Builder(hamiltonian, lattice.site_basis, table_size).build()
    if environments is None or not _agrees(hamiltonian, environments):
        size = max(64, min(table_size, MAX_ENTRIES // (16 * lattice.n_sites)))
        environments = _Builder(hamiltonian, np.arange(lattice.n_sites), size).build()
        assert environments is not None
        assert _agrees(hamiltonian, environments), "single-site energies must be those of the Hamiltonian"
    return environments


def _agrees(hamiltonian: ClusterHamiltonian, environments: Environments, n: int = 2) -> bool:
    lattice = hamiltonian.lattice
    occupation = np.random.default_rng(0).integers(0, lattice.n_allowed, size=(n, lattice.n_sites))
    index, field = environment_state(environments, occupation)
    exact = hamiltonian.energy_differences(torch.from_numpy(occupation)).numpy()
    found = np.full(exact.shape, np.nan)
    for row, site, code in np.argwhere(~np.isnan(exact)):
        old = occupation[row, site]
        found[row, site, code] = change_energy(*environments.own, index[row], field[row], site, old, code)
    scale = max(1.0, float(np.nanmax(np.abs(exact), initial=0.0)))
    return bool(np.nanmax(np.abs(found - exact), initial=0.0) <= TOLERANCE * scale)


class _Builder:
    """Collects what each kind depends on, then turns it into what depends on each site."""

    def __init__(self, hamiltonian: ClusterHamiltonian, kind: Array, table_size: int) -> None:
        self.hamiltonian, self.kind, self.table_size = hamiltonian, np.asarray(kind), table_size
        self.n_allowed = hamiltonian.lattice.n_allowed
        self.width = max(1, int(self.n_allowed.max()) - 1)
        self.n_kinds = int(self.kind.max()) + 1
        self.representative = [int(np.flatnonzero(self.kind == kind)[0]) for kind in range(self.n_kinds)]

    def build(self) -> Environments | None:
        """Return the arrays, or None if the sites of one kind have different surroundings."""
        base = np.zeros((self.n_kinds, self.width))
        tables: list[list[Array]] = []
        indexed: list[list[tuple[int, tuple[int, int]]]] = []
        coupled: list[list[tuple[int, Array]]] = []
        for kind, site in enumerate(self.representative):
            energies, pairs, groups = self._surroundings(site)
            base[kind, : len(energies)] = energies
            tables.append([self._table(site, members, rows) for members, rows in groups])
            strides = [np.cumprod([1, *self.n_allowed[members]]) for members, _ in groups]
            indexed.append(
                [
                    (member, (t, int(strides[t][position])))
                    for t, (members, _) in enumerate(groups)
                    for position, member in enumerate(members)
                ]
            )
            coupled.append(pairs)
            # Running sums start with species 0 everywhere.
            for _, matrix in pairs:
                base[kind, : matrix.shape[1]] += matrix[0]
        n_indexed, indexed_sites, by_index = self._invert(indexed)
        n_coupled, coupled_sites, by_pair = self._invert(coupled)
        if by_index is None or by_pair is None:
            return None
        slot, stride = np.zeros((2, self.n_kinds, indexed_sites.shape[1]), dtype=np.int32)
        coupling = np.zeros((self.n_kinds, coupled_sites.shape[1], self.width + 1, self.width))
        for kind in range(self.n_kinds):
            for k, (t, step) in enumerate(by_index[kind]):
                slot[kind, k], stride[kind, k] = t, step
            for k, matrix in enumerate(by_pair[kind]):
                coupling[kind, k, : matrix.shape[0], : matrix.shape[1]] = matrix - matrix[0]
        start, values = self._concatenate(tables)
        return Environments(
            self.kind.astype(np.int32), base, np.array([len(t) for t in tables]), start, values, n_indexed,
            indexed_sites, slot, stride, n_coupled, coupled_sites, coupling,
        )  # fmt: skip

    def _surroundings(self, site: int) -> tuple[Array, list[tuple[int, Array]], list[tuple[list[int], list[int]]]]:
        """Return a site's own energies, its pairs outside the tables, and the members and monomials of each table.

        Monomials are rows of ``hamiltonian.by_feature``.
        """
        hamiltonian = self.hamiltonian
        pointer, others, _ = hamiltonian.by_feature
        low, high = hamiltonian.feature_start[site], hamiltonian.feature_start[site + 1]
        rows: dict[tuple[int, ...], list[int]] = {}
        for row in range(pointer[low], pointer[high]):
            features = others[row][others[row] >= 0]
            rows.setdefault(tuple(sorted(hamiltonian.feature_site[features].tolist())), []).append(row)
        groups = self._group([members for members in rows if len(members) > 1])
        chosen: list[list[int]] = [[] for _ in groups]
        pairs = []
        for members, monomials in rows.items():
            table = next((t for t, group in enumerate(groups) if set(members) <= group), None) if members else None
            if table is not None:
                chosen[table] += monomials
            elif len(members) == 1:
                pairs.append((members[0], self._table(site, list(members), monomials).reshape(-1, max(1, high - low))))
        own = self._table(site, [], rows.get((), [])).reshape(-1)
        return own, sorted(pairs, key=lambda pair: pair[0]), [
            (sorted(group), monomials) for group, monomials in zip(groups, chosen, strict=True)
        ]  # fmt: skip

    def _group(self, clusters: list[tuple[int, ...]]) -> list[set[int]]:
        """Cover clusters by as few sets of sites as fit a table: each takes what overlaps it most, greedily."""

        def size(members: set[int]) -> float:
            return float(np.prod(self.n_allowed[list(members)].astype(float)))

        remaining: list[tuple[int, ...]] = sorted(set(clusters), key=lambda c: (-len(c), c))
        groups = []
        while remaining:
            group = set(remaining[0])
            while True:
                fitting = [c for c in remaining if not set(c) <= group and size(group | set(c)) <= self.table_size]
                if not fitting:
                    break
                group |= set(max(fitting, key=lambda c: (-len(set(c) - group), tuple(-x for x in c))))
            groups.append(group)
            remaining = [c for c in remaining if not set(c) <= group]
        return groups

    def _table(self, site: int, members: list[int], rows: list[int]) -> Array:
        """Energies of species 1, 2, ... relative to 0, for every configuration of the members, (n_states, width)."""
        hamiltonian = self.hamiltonian
        pointer, others, coefficients = hamiltonian.by_feature
        low = hamiltonian.feature_start[site]
        n_own = int(self.n_allowed[site])
        # Coefficients in point functions: the members' axes, last member first (its stride is the largest), then ours.
        tensor = np.zeros((*self.n_allowed[members][::-1], n_own))
        place = {member: len(members) - 1 - k for k, member in enumerate(members)}
        for row in rows:
            position = [0] * tensor.ndim
            position[-1] = int(np.searchsorted(pointer, row, side="right")) - 1 - low + 1
            for feature in others[row][others[row] >= 0]:
                neighbour = int(hamiltonian.feature_site[feature])
                position[place[neighbour]] = int(feature - hamiltonian.feature_start[neighbour]) + 1
            tensor[tuple(position)] += coefficients[row]
        for axis, n in enumerate(tensor.shape):
            tensor = np.moveaxis(np.tensordot(point_functions(n), tensor, axes=(1, axis)), 0, axis)
        energies = (tensor[..., 1:] - tensor[..., :1]).reshape(math.prod(tensor.shape[:-1]), n_own - 1)
        padded = np.zeros((len(energies), self.width))
        padded[:, : n_own - 1] = energies
        return padded if len(members) > 1 else energies

    def _concatenate(self, tables: list[list[Array]]) -> tuple[Array, Array]:
        start = np.zeros((self.n_kinds, max((len(t) for t in tables), default=0)), dtype=np.int64)
        parts, position = [np.zeros(0)], 0
        for kind, found in enumerate(tables):
            for t, values in enumerate(found):
                start[kind, t] = position
                parts.append(values.ravel())
                position += values.size
        return start, np.concatenate(parts)

    def _invert(self, lists: list[list[tuple[int, Any]]]) -> tuple[Array, Array, list[list[Any]] | None]:
        """Turn 'kind depends on member' into, per site, the sites that depend on it.

        Returns the number per kind, the dependent sites (n_sites, max), and per kind what each of them records. The
        record is None if the sites of one kind differ.
        """
        lattice = self.hamiltonian.lattice
        n_sites = lattice.n_sites
        found: list[list[tuple[int, int, int]]] = [[] for _ in range(n_sites)]
        for kind, members in enumerate(lists):
            origin = self.representative[kind]
            sites = np.flatnonzero(self.kind == kind)
            for number, (member, _) in enumerate(members):
                offset = lattice.site_offset[member] - lattice.site_offset[origin] + lattice.site_offset[sites]
                for source, target in zip(
                    lattice.site_index(np.full(len(sites), lattice.site_basis[member]), offset), sites, strict=True
                ):
                    found[source].append((kind, number, int(target)))
        width = max((len(f) for f in found), default=0)
        targets = np.zeros((n_sites, width), dtype=np.int32)
        for source, entries in enumerate(found):
            pattern = [(kind, number) for kind, number, _ in entries]
            if pattern != [(kind, number) for kind, number, _ in found[self.representative[self.kind[source]]]]:
                return np.zeros(0), targets, None
            targets[source, : len(entries)] = [target for _, _, target in entries]
        records = [[lists[kind][number][1] for kind, number, _ in found[site]] for site in self.representative]
        return np.array([len(r) for r in records]), targets, records
