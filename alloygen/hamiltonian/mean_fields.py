r"""Mean energies of partial configurations at fixed composition: the undecided sites hold the remaining atoms at random.

For known sites s_S and remaining atoms r (by sublattice and species),

    E(s_S, r) = < E(s) > over all ways to spread the remaining atoms over the undecided sites,

which is exact for every monomial: its known point functions are numbers, and the average of a product of point functions
over distinct sites drawn without replacement is a polynomial in the power sums p_b = sum_a r_a prod_{f in b} phi_f(a),

    < phi_1(s_1) ... phi_k(s_k) > = (R - k)! / R!  sum_{partitions pi} prod_{b in pi} (-1)^(|b| - 1) (|b| - 1)!  p_b,

R the number of undecided sites of the sublattice. Monomials differ in their undecided part by the point functions and
sublattices in it alone, its *class*, of which there are few; so a pass over the monomials collects, for every token and
class, how the energy depends on what the token decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import factorial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from alloygen.hamiltonian.token_fields import TokenFields, outcome_tables, token_places

if TYPE_CHECKING:
    from alloygen.hamiltonian.cluster_hamiltonian import ClusterHamiltonian

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class UndecidedClasses:
    """The kinds of undecided parts that monomials can have: products of point functions on sublattices.

    Attributes
    ----------
    kind
        Number of every feature's (sublattice, point function), 1 and up, shape (n_features + 1,); 0 at the end for padding.
    keys
        Mixed-radix number of every class's sorted kinds, ascending, shape (n_classes,); class 0 is the empty one.
    power_tables
        Value of prod_{f in b} phi_f of every power sum b, shape (n_powers, n_sublattices, max_species).
    factors
        For every term: its class, its coefficient, and the power sums it multiplies.
    sizes
        Point functions of every class on every sublattice, shape (n_classes, n_sublattices).
    """

    kind: Array
    keys: Array
    power_tables: Array
    factors: tuple[tuple[int, float, tuple[int, ...]], ...]
    sizes: Array

    @classmethod
    def of(cls, hamiltonian: ClusterHamiltonian) -> UndecidedClasses:
        """Find the classes of a Hamiltonian's monomials."""
        lattice, site = hamiltonian.lattice, hamiltonian.feature_site
        n_sublattices, n_species = len(lattice.sublattices), int(lattice.n_allowed.max())
        function = np.arange(hamiltonian.n_features) - hamiltonian.feature_start[site]
        kind = np.append(lattice.site_sublattice[site] * n_species + function + 1, 0)
        whole = np.unique(np.sort(kind[hamiltonian.polynomial.features], axis=1), axis=0)
        parts = {()} | {
            part for row in whole for k in range(len(row) + 1) for part in combinations(row[row > 0].tolist(), k)
        }
        radix = int(kind.max(initial=0)) + 1
        classes = sorted(parts, key=lambda part: _key(part, radix))
        keys = np.array([_key(part, radix) for part in classes])
        first = {s: np.flatnonzero(lattice.site_sublattice == s)[0] for s in range(n_sublattices)}
        powers: dict[tuple[int, ...], int] = {}
        factors = []
        sizes = np.zeros((len(classes), n_sublattices), dtype=np.int64)
        for number, part in enumerate(classes):
            sublattice = [(k - 1) // n_species for k in part]
            np.add.at(sizes[number], sublattice, 1)
            for partition in _partitions(list(range(len(part)))):
                blocks = [tuple(part[i] for i in block) for block in partition]
                if any(len({(k - 1) // n_species for k in block}) > 1 for block in blocks):
                    continue  # sites of different sublattices are distinct anyway
                sign = float(np.prod([(-1) ** (len(b) - 1) * factorial(len(b) - 1) for b in blocks]))
                factors.append((number, sign, tuple(powers.setdefault(b, len(powers)) for b in blocks)))
        tables = np.zeros((len(powers), n_sublattices, n_species))
        for block, number in powers.items():
            s = (block[0] - 1) // n_species
            tables[number, s] = hamiltonian.point_table[first[s]][:, [(k - 1) % n_species for k in block]].prod(axis=1)
        return cls(kind, keys, tables, tuple(_merged(factors)), sizes)

    def find(self, features: Array) -> Array:
        """Classes (...) of sets of features (..., width), -1 padded; they must occur in a monomial."""
        kinds = np.sort(self.kind[features], axis=-1)
        radix = int(self.kind.max(initial=0)) + 1
        key = np.zeros(kinds.shape[:-1], dtype=np.int64)
        for column in np.moveaxis(kinds, -1, 0):
            key = key * radix + column
        return np.searchsorted(self.keys, key)

    def averages(self, remaining: Tensor) -> Tensor:
        """Mean of every class over placements of the remaining atoms.

        Parameters
        ----------
        remaining
            Atoms by sublattice and code, shape (..., n_sublattices, max_species), float64.

        Returns
        -------
        Tensor
            Shape (..., n_classes), float64; 0 where a class has more sites than are undecided.
        """
        tables = torch.as_tensor(self.power_tables, device=remaining.device)
        power = torch.einsum("...sa,psa->...p", remaining, tables)
        out = remaining.new_zeros((*remaining.shape[:-2], len(self.keys)))
        for number, coefficient, parts in self.factors:
            term = torch.full_like(out[..., 0], coefficient)
            for part in parts:
                term = term * power[..., part]
            out[..., number] += term
        sites = remaining.sum(dim=-1)  # (..., n_sublattices)
        ways = torch.ones_like(out)
        for number, sizes in enumerate(self.sizes):
            for s, size in enumerate(sizes.tolist()):
                for k in range(size):
                    ways[..., number] *= sites[..., s] - k
        return torch.where(ways > 0, out / ways, 0.0)


@dataclass(frozen=True, eq=False)
class MeanFields:
    """How the mean energy depends on what the tokens of a site order decide; L tokens, K outcomes, U classes.

    Attributes
    ----------
    fields
        Collects the coefficients of every class and outcome.
    merged
        Column of (L * U) that each (token, product, class) has while the token is undecided, shape (L * P * U,).
    start
        Coefficients of the classes while nothing is decided, shape (U,).
    """

    fields: TokenFields
    merged: Array
    start: Array

    @classmethod
    def build(cls, hamiltonian: ClusterHamiltonian, classes: UndecidedClasses, tokens: Array) -> MeanFields:
        """Sort the clusters along tokens (L, m), which hold every active site; one that is in several belongs to the first."""
        length, size = tokens.shape
        n_species, n_classes = hamiltonian.point_table.shape[1], len(classes.keys)
        monomials, (at, factor) = hamiltonian.polynomial.features, token_places(hamiltonian, tokens)
        # One entry for every monomial and token that it touches.
        row, column = np.nonzero(at >= 0)
        earlier_twin = (at[row] == at[row, column][:, None]) & (np.arange(at.shape[1]) < column[:, None])
        row, column = row[~earlier_twin.any(axis=1)], column[~earlier_twin.any(axis=1)]
        own = at[row, column]
        order = np.argsort(own, kind="stable")
        row, own = row[order], own[order]
        entry, place = monomials[row], at[row]
        product = np.where(place == own[:, None], factor[entry], 0).sum(axis=1)
        later = classes.find(np.where(place > own[:, None], entry, -1))
        undecided = classes.find(np.where(place >= own[:, None], entry, -1))
        known = (place < own[:, None]) & (place >= 0)
        others = -np.sort(-np.where(known, entry, -1), axis=1)
        coefficients = hamiltonian.polynomial.coefficients
        split = product * n_classes + later
        n_products = n_species**size
        merged = np.repeat(np.arange(length)[:, None] * n_classes, n_products * n_classes, axis=1)
        merged[own, split] = own * n_classes + undecided
        start = np.bincount(classes.find(monomials), weights=coefficients, minlength=n_classes)
        fields = TokenFields(
            np.searchsorted(own, np.arange(length + 1)),
            np.ascontiguousarray(others),
            split,
            coefficients[row],
            outcome_tables(hamiltonian, tokens),
            n_classes,
        )
        return cls(fields, merged.ravel(), start)

    def coefficients(self, features: Tensor, token: int | None = None) -> tuple[Tensor, Tensor]:
        """Coefficients of the classes that tokens touch: once decided (n, L, K, U), and before that (n, L, U).

        Parameters
        ----------
        features
            Point functions, shape (n, n_features), float64; only those of earlier tokens are read.
        token
            Which token; all unless given.
        """
        n_classes = len(self.start)
        products = self.fields.product_coefficients(features, token)  # (n, L, P * U)
        n, length, width = products.shape
        first = 0 if token is None else token
        index = self.merged[first * width : (first + length) * width] - first * n_classes
        before = features.new_zeros(n, length * n_classes)
        before.index_add_(1, torch.as_tensor(index, device=features.device), products.reshape(n, -1))
        after = self.fields.of_outcomes(products, token)
        return after.view(n, length, -1, n_classes), before.view(n, length, n_classes)


def _key(part: tuple[int, ...], radix: int) -> int:
    key = 0
    for kind in sorted(part):
        key = key * radix + kind
    return key


def _partitions(items: list[int]) -> Iterator[list[list[int]]]:
    """All partitions of a list into blocks."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for partition in _partitions(rest):
        yield [[first], *partition]
        for index, block in enumerate(partition):
            yield [*partition[:index], [first, *block], *partition[index + 1 :]]


def _merged(factors: list[tuple[int, float, tuple[int, ...]]]) -> Iterator[tuple[int, float, tuple[int, ...]]]:
    """Add up terms of the same class and power sums."""
    total: Counter[tuple[int, tuple[int, ...]]] = Counter()
    for number, coefficient, parts in factors:
        total[number, tuple(sorted(parts))] += coefficient  # type: ignore[assignment]
    for (number, parts), value in total.items():
        yield number, float(value), parts
