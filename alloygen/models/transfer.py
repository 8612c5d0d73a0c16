"""From one supercell to another: the same weights, on a lattice of another size.

A network that knows sites through pair orbits has weights of two kinds. Most belong to no lattice and stay as they are. Tables
with an entry for each class of pairs are carried over by what pairs look like in the infinite lattice
(:attr:`PairOrbits.displacements <alloygen.lattice.encodings.PairOrbits.displacements>`): a class takes the entry of the
nearest one, and pairs further apart than any that the small cell has fall back on its furthest. Attention is shared among
all tokens of a class, so where classes have more members than they were trained with, the logarithm of the ratio is
taken off the score: each class keeps its part of the attention. On the supercell that the model came from nothing changes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from alloygen.errors import AlloygenError, ClusterExpansionError, LatticeError
from alloygen.hamiltonian import ClusterHamiltonian
from alloygen.lattice import Lattice
from alloygen.lattice.common_period import cell_classes, common_period
from alloygen.models.any_order import AnyOrderModel
from alloygen.models.families import build_model

Array = np.ndarray

#: Tables over pair classes: those that only move, and those that also keep the share of the attention.
TABLES = ("bias_known", "bias_target", "biases")
SHARED_TABLES = ("bias_target", "biases")
#: Configurations that two Hamiltonians are compared on, and the largest difference, relative to the energies' scale.
N_COMPARED, TOLERANCE = 16, 1e-8


def transfer(model: AnyOrderModel, hamiltonian: ClusterHamiltonian) -> AnyOrderModel:
    """Return the model on another supercell of the same lattice, with the weights that it has.

    Parameters
    ----------
    model
        A causal model, or a masked Transformer with the encoding "pair_orbit".
    hamiltonian
        The same energy on another supercell, smaller or larger, of any shape.

    Raises
    ------
    LatticeError
        If primitive cell or species differ, or the supercell cannot be divided into the model's blocks of sites.
    ClusterExpansionError
        If the energies differ.
    AlloygenError
        If the model knows its sites by something that belongs to its supercell.
    """
    check_same_material(model.hamiltonian, hamiltonian)
    config = model.config
    if config.family == "fixed" or config.network != "transformer" or config.encoding != "pair_orbit":
        raise AlloygenError(
            f"a model of the family {config.family!r} with the network {config.network!r} and the encoding {config.encoding!r} "
            "knows its sites by their supercell: train one with ModelConfig(family='causal') to use it on others"
        )
    moved = build_model(hamiltonian, model.window, config).to(model.device)
    shares, corrections = (torch.from_numpy(found).float() for found in pair_class_map(model, moved))
    state = dict(model.state_dict())
    for name, value in state.items():
        if name.rpartition(".")[2] in TABLES:
            correction = corrections if name.rpartition(".")[2] in SHARED_TABLES else None
            state[name] = _moved(value, shares.to(value), None if correction is None else correction.to(value))
    moved.load_state_dict(state)
    return moved.train(model.training)


def _moved(table: Tensor, shares: Tensor, corrections: Tensor | None) -> Tensor:
    """Entries (..., new classes [+ 1]) of a table (..., old classes [+ 1]); the label of "no site" comes last."""
    n_old = shares.shape[1]
    entries = table[..., :n_old] @ shares.T
    return torch.cat([entries if corrections is None else entries + corrections, table[..., n_old:]], dim=-1)


def pair_class_map(old: AnyOrderModel, new: AnyOrderModel) -> tuple[Array, Array]:
    """Return which classes of pairs stand for which.

    Returns
    -------
    shares
        Weight of every old class in every new one, shape (n_new, n_old); rows sum to 1.
    corrections
        What keeps the attention of every old class, log(members then / members now), shape (n_new,).
    """
    (features, members), (wanted, new_members) = _described(old), _described(new)
    shares = np.zeros((len(wanted), len(features)))
    for row, feature in zip(shares, wanted, strict=True):
        distance = np.square(features - feature).sum(axis=1)
        alike = distance < distance.min() + 1e-6
        row[alike] = members[alike] / members[alike].sum()
    now = new_members @ shares
    ratio = np.log(members / np.where(now > 0, now, members))
    return shares, shares @ ratio


def _described(model: AnyOrderModel) -> tuple[Array, Array]:
    """What the pairs of every class look like in the infinite lattice, shape (n_classes, k), and how many partners they are."""
    labels, members = model.pair_classes
    orbits = model.hamiltonian.lattice.pair_orbits
    # Pairs of other kinds of sites are further apart than any distance.
    kinds = 1e3 * np.eye(orbits.basis_classes.max() + 1)[orbits.basis_classes].reshape(orbits.n_orbits, -1)
    described = np.concatenate([orbits.displacements, kinds], axis=1)
    return described[labels].reshape(len(labels), -1), members


def check_same_material(first: ClusterHamiltonian, second: ClusterHamiltonian) -> None:
    """Raise if two Hamiltonians are not one energy on two supercells of one lattice.

    Energies per cell are compared on random configurations that fit both supercells; where one is a multiple of the other,
    on any of the smaller one.

    Raises
    ------
    LatticeError
        If primitive cell or species differ.
    ClusterExpansionError
        If units or energies differ.
    """
    one, other = first.lattice, second.lattice
    if one.allowed_species != other.allowed_species:
        raise LatticeError(
            f"the model's sites allow {_species(one)}, those of the other supercell {_species(other)}: expected the same "
            "species on the same sites, in the same order"
        )
    same_cell = np.allclose(one.primitive_cell, other.primitive_cell, atol=1e-6)
    if not same_cell or not np.allclose(one.basis, other.basis, atol=1e-6):
        raise LatticeError(
            f"the model's primitive cell is {one.primitive_cell.round(6).tolist()} with sites at {one.basis.round(6).tolist()}, "
            f"the other's {other.primitive_cell.round(6).tolist()} with {other.basis.round(6).tolist()}: expected supercells of "
            "one primitive cell"
        )
    period = common_period(one, other)
    kinds = int(np.diagonal(period).prod()) * len(one.basis)
    allowed = np.array([len(names) for names in one.allowed_species])[np.arange(kinds) % len(one.basis)]
    codes = np.random.default_rng(0).integers(allowed, size=(N_COMPARED, kinds))
    energies = [
        h.energy(torch.from_numpy(codes[:, cell_classes(h.lattice, period)])).numpy() / h.lattice.n_cells
        for h in (first, second)
    ]
    scale = max(1e-3 * first.change_scale, float(np.abs(energies[0]).max()))
    if first.units != second.units or np.abs(energies[0] - energies[1]).max() > TOLERANCE * scale:
        gap = np.abs(energies[0] - energies[1]).max()
        raise ClusterExpansionError(
            f"the model was trained on another energy: configurations that fit both supercells differ by up to {gap:.3g} "
            f"{second.units.energy} per primitive cell; fit a model of this cluster expansion, or pass the one that the model "
            "was trained on"
        )


def _species(lattice: Lattice) -> str:
    return " and ".join("/".join(names) for names in lattice.sublattices)
