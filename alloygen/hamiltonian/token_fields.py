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
    """

    pointer: Array
    others: Array
    product: Array
    coefficients: Array
    tables: tuple[Array, ...]

    @classmethod
    def build(cls, hamiltonian: ClusterHamiltonian, tokens: Array) -> TokenFields:
        """Sort the clusters along tokens (L, m), which hold every active site once."""
        length, size = tokens.shape
        point = hamiltonian.point_table
        n_species = point.shape[1]
        token, slot = (np.full(hamiltonian.lattice.n_sites, -1) for _ in range(2))
        token[tokens] = np.arange(length)[:, None]
        slot[tokens] = np.arange(size)
        site = hamiltonian.feature_site
        function = np.arange(hamiltonian.n_features) - hamiltonian.feature_start[site] + 1
        factor = np.append(function * n_species ** (size - 1 - slot[site]), 0)
        monomials = hamiltonian.polynomial.features
        at = np.append(token[site], -1)[monomials]
        last = at.max(axis=1, initial=-1)
        own = (at == last[:, None]) & (monomials >= 0)
        product = np.where(own, factor[monomials], 0).sum(axis=1)
        # Padding is -1, so sorting downwards moves it to the end.
        others = -np.sort(-np.where(own, -1, monomials), axis=1)
        others = others[:, : max(1, int((others >= 0).sum(axis=1).max(initial=0)))]
        order = np.argsort(last, kind="stable")
        pointer = np.searchsorted(last[order], np.arange(length + 1))
        tables = []
        for member in range(size):
            table = np.ones((length, n_species, n_species))
            table[:, 1:] = point[tokens[:, member]][:, :, : n_species - 1].transpose(0, 2, 1)
            tables.append(table)
        return cls(
            pointer,
            np.ascontiguousarray(others[order]),
            product[order],
            hamiltonian.polynomial.coefficients[order],
            tuple(tables),
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
        chosen = slice(0, len(self.pointer) - 1) if token is None else slice(token, token + 1)
        pointer = self.pointer[chosen.start : chosen.stop + 1]
        n, length = len(features), len(pointer) - 1
        n_species = self.tables[0].shape[1]
        n_products = n_species ** len(self.tables)
        if features.device.type == "cpu":
            out = np.zeros((n, length, n_products))
            kernels.token_coefficients(
                features.contiguous().numpy(), pointer, self.others, self.product, self.coefficients, out
            )
            values = torch.from_numpy(out)
        else:
            values = self._coefficients_torch(features, pointer, n_products)
        for member, table in enumerate(self.tables):
            before = n_species**member
            factor = torch.as_tensor(table[chosen], device=features.device)
            values = torch.einsum("nlapb,lps->nlasb", values.view(n, length, before, n_species, -1), factor)
        return values.reshape(n, length, n_products)

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
