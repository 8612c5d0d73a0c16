"""Compiled loops over monomials (numba), for tensors on the CPU.

Energies use Horner's rule over the prefix tree of the monomials: monomials that share their first features share
the products, so each tree node costs one multiply-add for a lane of configurations. Lanes are laid out feature-major
and fit the first-level cache.
"""

from __future__ import annotations

import numpy as np
from numba import njit

#: Configurations that are evaluated together.
LANE = 128


@njit(cache=True, nogil=True, inline="always")  # type: ignore[misc]
def fill_features(occupation, low, width, active, n_allowed, start, table, features):  # type: ignore[no-untyped-def]
    """Write the point functions of ``width`` configurations, feature-major."""
    for a in range(len(active)):
        site = active[a]
        for f in range(n_allowed[a] - 1):
            row = start[a] + f
            for lane in range(width):
                features[row, lane] = table[a, occupation[low + lane, site], f]


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"})  # type: ignore[misc]
def tree_energies(occupation, active, n_allowed, start, table, depth, feature, leaf, coefficient, constant, out):  # type: ignore[no-untyped-def]
    """Energies of all configurations: Horner's rule over the tree, deepest nodes first."""
    n_features = 0
    for a in range(len(active)):
        n_features += n_allowed[a] - 1
    max_depth = 1
    for node in range(len(depth)):
        max_depth = max(max_depth, depth[node])
    features = np.zeros((n_features, LANE))
    sums = np.zeros((max_depth + 1, LANE))
    for low in range(0, len(occupation), LANE):
        width = min(LANE, len(occupation) - low)
        fill_features(occupation, low, width, active, n_allowed, start, table, features)
        sums[:] = 0.0
        for node in range(len(depth)):
            upper = sums[depth[node] - 1]
            row = features[feature[node]]
            c = coefficient[node]
            if leaf[node]:
                for lane in range(LANE):
                    upper[lane] += c * row[lane]
            else:
                lower = sums[depth[node]]
                for lane in range(LANE):
                    upper[lane] += row[lane] * (c + lower[lane])
                    lower[lane] = 0.0
        for lane in range(width):
            out[low + lane] = constant + sums[0, lane]


@njit(cache=True, nogil=True)  # type: ignore[misc]
def feature_derivatives(features, monomials, coefficients, out):  # type: ignore[no-untyped-def]
    """Derivative of the energy by every feature, for feature values (n, n_features)."""
    width = monomials.shape[1]
    for sample in range(len(features)):
        row = features[sample]
        for m in range(len(monomials)):
            for k in range(width):
                target = monomials[m, k]
                if target < 0:
                    break
                product = coefficients[m]
                for other in range(width):
                    if monomials[m, other] < 0:
                        break
                    if other != k:
                        product *= row[monomials[m, other]]
                out[sample, target] += product


@njit(cache=True, nogil=True)  # type: ignore[misc]
def feature_energies(features, monomials, coefficients, constant, out):  # type: ignore[no-untyped-def]
    """Energies of feature values (n, n_features), which may be 0 on undecided sites."""
    width = monomials.shape[1]
    for sample in range(len(features)):
        row = features[sample]
        total = constant
        for m in range(len(monomials)):
            product = coefficients[m]
            for k in range(width):
                feature = monomials[m, k]
                if feature < 0:
                    break
                product *= row[feature]
                if product == 0.0:
                    break
            total += product
        out[sample] = total


@njit(cache=True, nogil=True)  # type: ignore[misc]
def token_coefficients(features, pointer, others, product, coefficients, out):  # type: ignore[no-untyped-def]
    """Coefficients of the products of point functions of each token, given feature values (n, n_features).

    Monomials ``pointer[t]`` .. ``pointer[t + 1] - 1`` are token t's; ``others`` (n_monomials, width) are their features
    of earlier tokens (-1 padded), ``product`` (n_monomials,) the product of the token's own.
    """
    width = others.shape[1]
    for sample in range(len(features)):
        row = features[sample]
        for token in range(len(pointer) - 1):
            for m in range(pointer[token], pointer[token + 1]):
                value = coefficients[m]
                for k in range(width):
                    other = others[m, k]
                    if other < 0:
                        break
                    value *= row[other]
                out[sample, token, product[m]] += value
