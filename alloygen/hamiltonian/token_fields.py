r"""Energies along a site order whose tokens decide one or more sites each.

Token k decides the sites of row k together. For every joint outcome o of those sites,

    e_k(o) = sum over the clusters that token k completes of their energy, given what earlier tokens decided,

so that the energy of a configuration is the constant plus the sum of e_k over its outcomes. Outcomes are numbered in
mixed radix: with S species at most per site, outcome o gives member i the code (o // S^(m - 1 - i)) mod S.

The clusters of a token are a polynomial in its members' point functions whose coefficients depend on earlier tokens:
one pass over the monomials collects the coefficients of the S^m products, and a product of m small tables turns them
into the energies of the S^m outcomes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from alloygen.hamiltonian import kernels

if TYPE_CHECKING:
    from alloygen.hamiltonian.cluster_hamiltonian import ClusterHamiltonian

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class TokenFields:
    """The clusters of a Hamiltonian, sorted by the token that completes them.

    Attributes
    ----------
    pointer
        First monomial of every token and, last, their number, shape (L + 1,).
    others
        Features of earlier tokens in every monomial, shape (n_monomials, width), -1 padded.
    product
        Which product of the completing token's point functions a monomial has, shape (n_monomials,).
    coefficients
        Shape (n_monomials,), in energy units.
    tables
        For each member of a token, value of product p for code s, shape (L, S, S).
    n_classes
        Columns that every product is split into, last in its number; 1 where a product is a single column.
    """

    pointer: Array
    others: Array
    product: Array
    coefficients: Array
    tables: tuple[Array, ...]
    n_classes: int = 1

    @classmethod
    def build(cls, hamiltonian: ClusterHamiltonian, tokens: Array) -> TokenFields:
        """Sort the clusters along tokens (L, m), which hold every active site.

        Tokens may share sites. All of a token's sites count as its own then, whatever earlier tokens decided, and a cluster is in
        each token that has some of its sites and finds the others decided.
        """
        shared = len(np.unique(tokens)) < tokens.size
        row, token, own, product = (_shared_entries if shared else _entries)(hamiltonian, tokens)
        # Padding is -1, so sorting downwards moves it to the end.
        others = -np.sort(-np.where(own, -1, hamiltonian.polynomial.features[row]), axis=1)
        others = others[:, : max(1, int((others >= 0).sum(axis=1).max(initial=0)))]
        return cls(
            np.searchsorted(token, np.arange(len(tokens) + 1)),
            np.ascontiguousarray(others),
            product,
            hamiltonian.polynomial.coefficients[row],
            outcome_tables(hamiltonian, tokens),
        )

    def energies(self, features: Tensor, token: int | None = None) -> Tensor:
        """Energies of all outcomes of every token (n, L, S^m), or of a single one (n, 1, S^m); float64.

        Parameters
        ----------
        features
            Point functions, shape (n, n_features), float64; only those of earlier tokens are read.
        token
            Which token; all unless given.
        """
        return self.of_outcomes(self.product_coefficients(features, token), token)

    def product_coefficients(self, features: Tensor, token: int | None = None) -> Tensor:
        """Coefficients (n, L, n_products * n_classes) of the products; arguments as for :meth:`energies`."""
        chosen = self._chosen(token)
        pointer = self.pointer[chosen.start : chosen.stop + 1]
        n_products = self.tables[0].shape[1] ** len(self.tables) * self.n_classes
        if features.device.type != "cpu":
            return self._coefficients_torch(features, pointer, n_products)
        out = np.zeros((len(features), len(pointer) - 1, n_products))
        kernels.token_coefficients(
            features.contiguous().numpy(), pointer, self.others, self.product, self.coefficients, out
        )
        return torch.from_numpy(out)

    def of_outcomes(self, values: Tensor, token: int | None = None) -> Tensor:
        """Sum products into outcomes: (n, L, S^m * n_classes) from coefficients of the same shape."""
        n, length, n_products = values.shape
        n_species = self.tables[0].shape[1]
        for member, table in enumerate(self.tables):
            before = n_species**member
            factor = torch.as_tensor(table[self._chosen(token)], device=values.device)  # (L, product, code)
            split = values.view(n, length, before, n_species, 1, -1)
            values = (split * factor[:, None, :, :, None]).sum(dim=3)
        return values.reshape(n, length, n_products)

    def _chosen(self, token: int | None) -> slice:
        return slice(0, len(self.pointer) - 1) if token is None else slice(token, token + 1)

    def _coefficients_torch(self, features: Tensor, pointer: Array, n_products: int) -> Tensor:
        """As the compiled loop, by gathers, on any device."""
        device, n_features = features.device, features.shape[1]
        rows = slice(pointer[0], pointer[-1])
        token = np.repeat(np.arange(len(pointer) - 1), np.diff(pointer))
        index = torch.as_tensor(np.where(self.others[rows] < 0, n_features, self.others[rows]), device=device)
        padded = torch.nn.functional.pad(features, (0, 1), value=1.0)
        terms = padded[:, index].prod(dim=-1) * torch.as_tensor(self.coefficients[rows], device=device)
        target = torch.as_tensor(token * n_products + self.product[rows], device=device)
        out = features.new_zeros(len(features), (len(pointer) - 1) * n_products)
        return out.index_add_(1, target, terms).view(len(features), len(pointer) - 1, n_products)


def outcome_tables(hamiltonian: ClusterHamiltonian, tokens: Array) -> tuple[Array, ...]:
    """For each member of tokens (L, m), value of product p of its point functions for code s, shape (L, S, S)."""
    point = hamiltonian.point_table
    tables = []
    for members in tokens.T:
        table = np.ones((len(tokens), point.shape[1], point.shape[1]))
        table[:, 1:] = point[members][:, :, : point.shape[1] - 1].transpose(0, 2, 1)
        tables.append(table)
    return tuple(tables)


def token_places(hamiltonian: ClusterHamiltonian, tokens: Array) -> tuple[Array, Array]:
    """Return which token (L, m) decides each site of every monomial, and what every feature adds to its token's product.

    Returns
    -------
    at
        Shape (n_monomials, width); -1 for padding.
    factor
        Shape (n_features + 1,); 0 for padding, which is last.
    """
    length, size = tokens.shape
    token, slot = (np.full(hamiltonian.lattice.n_sites, -1) for _ in range(2))
    # The last of several assignments to a site stays, so backwards: a site belongs to the first token that has it.
    backwards = tokens[::-1]
    token[backwards] = np.arange(length)[::-1, None]
    slot[backwards] = np.arange(size)
    site = hamiltonian.feature_site
    function = _function(hamiltonian, np.arange(hamiltonian.n_features))
    factor = np.append(function * _radix(hamiltonian, size, slot[site]), 0)
    return np.append(token[site], -1)[hamiltonian.polynomial.features], factor


def _entries(hamiltonian: ClusterHamiltonian, tokens: Array) -> tuple[Array, Array, Array, Array]:
    """Give every monomial to the token that completes it: monomial, token, which factors are its own, and their product."""
    monomials, (at, factor) = hamiltonian.polynomial.features, token_places(hamiltonian, tokens)
    last = at.max(axis=1, initial=-1)
    own = (at == last[:, None]) & (monomials >= 0)
    product = np.where(own, factor[monomials], 0).sum(axis=1)
    row = np.argsort(last, kind="stable")
    return row, last[row], own[row], product[row]


def _shared_entries(hamiltonian: ClusterHamiltonian, tokens: Array) -> tuple[Array, Array, Array, Array]:
    """As :func:`_entries` where tokens share sites: a monomial goes to all that have some of its sites, the others decided."""
    length, size = tokens.shape
    n_sites = hamiltonian.lattice.n_sites
    slot = np.full((length, n_sites + 1), -1)  # the last column is that of padding
    np.put_along_axis(slot, tokens, np.arange(size)[None], axis=1)
    first = np.where(slot >= 0, np.arange(length)[:, None], length).min(axis=0)
    first[-1] = -1
    monomials = hamiltonian.polynomial.features
    site = np.append(hamiltonian.feature_site, n_sites)[monomials]
    # Tokens of every site, padded: those that have it come first.
    most = int((slot >= 0).sum(axis=0).max())
    of_site = np.sort(np.where(slot >= 0, np.arange(length)[:, None], length), axis=0)[:most].T
    candidates = np.where(of_site[site] < length, np.arange(len(site))[:, None, None] * length + of_site[site], -1)
    keys = np.unique(candidates[candidates >= 0])
    row, token = keys // length, keys % length
    place = slot[token[:, None], site[row]]
    ready = ((place >= 0) | (first[site[row]] < token[:, None])).all(axis=1)
    order = np.flatnonzero(ready)[np.argsort(token[ready], kind="stable")]
    row, token, place = row[order], token[order], place[order]
    product = np.where(place >= 0, _function(hamiltonian, monomials[row]) * _radix(hamiltonian, size, place), 0)
    return row, token, place >= 0, product.sum(axis=1)


def _function(hamiltonian: ClusterHamiltonian, features: Array) -> Array:
    """Number of the point function of features, from 1 on."""
    return features - hamiltonian.feature_start[hamiltonian.feature_site[features]] + 1


def _radix(hamiltonian: ClusterHamiltonian, size: int, slot: Array) -> Array:
    """What the point function of a member counts for in the number of a product."""
    radix: Array = hamiltonian.point_table.shape[1] ** np.maximum(size - 1 - slot, 0)
    return radix
