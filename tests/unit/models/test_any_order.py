"""The any-order model: normalised, causal, equivariant, and the same with and without the cache."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from alloygen.errors import AlloygenError
from alloygen.hamiltonian import ClusterHamiltonian, ClusterTable, ising_hamiltonian
from alloygen.hamiltonian.conditions import Conditions, ConditionWindow
from alloygen.lattice import Lattice
from alloygen.models import AnyOrderModel, ModelConfig, build_model
from alloygen.sampling.any_order import draw_along
from alloygen.sampling.site_orders import SITE_ORDERS, SiteOrders
from alloygen.testing.systems import all_occupations


def two_sublattices() -> ClusterHamiltonian:
    """A chain of A/B sites, spectators and C/D/E sites with random nearest and next-nearest pair energies."""
    generator = np.random.default_rng(3)
    lattice = Lattice.from_matrix(
        np.diag([3.0, 5.0, 6.0]), [[0, 0, 0], [0.3, 0, 0], [0.5, 0, 0]], [("A", "B"), ("S",), ("C", "D", "E")],
        np.diag([3, 1, 1]),
    )  # fmt: skip
    cells = np.arange(3)
    first, third = 3 * cells, 3 * cells + 2
    clusters = [
        ClusterTable(np.stack([first, third], 1), generator.normal(size=(2, 3))),
        ClusterTable(np.stack([third, (third + 3) % 9], 1), generator.normal(size=(3, 3))),
        ClusterTable(np.stack([first, 3 * cells + 1, third], 1), generator.normal(size=(2, 1, 3))),
    ]
    return ClusterHamiltonian.from_clusters(lattice, 0.3, clusters)


CASES = {
    "ising": (ising_hamiltonian(3, 3, field=0.2), (1.0, 4.0), {}, 2.0, {}),
    "sublattices": (two_sublattices(), (3e3, 3e4), {"B": (-1, 1), "D": (-1, 1)}, 8e3, {"B": 0.3, "D": -0.4, "S": 0.2}),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[AnyOrderModel, Conditions]:
    hamiltonian, temperatures, windows, temperature, mu = CASES[request.param]
    window = ConditionWindow.checked(hamiltonian, temperatures, windows)
    torch.manual_seed(0)
    model = build_model(hamiltonian, window, ModelConfig(width=16, depth=2, heads=2)).requires_grad_(False)
    for parameter in model.parameters():
        parameter += 0.2 * torch.randn_like(parameter)
    return model, Conditions.single(hamiltonian, temperature, mu)


def every_configuration(model: AnyOrderModel) -> torch.Tensor:
    return all_occupations(model.hamiltonian.lattice)


def repeat(conditions: Conditions, n: int) -> Conditions:
    return conditions[torch.zeros(n, dtype=torch.int64)]


@pytest.mark.parametrize("kind", SITE_ORDERS)
def test_probabilities_sum_to_one_for_every_site_order(case: tuple[AnyOrderModel, Conditions], kind: str) -> None:
    model, conditions = case
    occupation = every_configuration(model)
    for order in SiteOrders(model.hamiltonian.lattice).draw(kind, 3, np.random.default_rng(0)):
        log_q = model.log_prob(occupation, order, repeat(conditions, len(occupation)))
        assert log_q.exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_conditionals_do_not_see_undecided_sites(case: tuple[AnyOrderModel, Conditions]) -> None:
    model, conditions = case
    order = SiteOrders(model.hamiltonian.lattice).draw("random", 1, np.random.default_rng(1))
    limit = torch.as_tensor(model.hamiltonian.lattice.n_allowed)
    occupation = (torch.rand(20, len(limit), generator=torch.Generator().manual_seed(0)) * limit).long()
    changed = occupation.clone()
    known = model.n_active // 2
    later = order[0, known:]
    changed[:, later] = (changed[:, later] + 1) % limit[later]
    one = model(occupation, order, repeat(conditions, 20))
    other = model(changed, order, repeat(conditions, 20))
    torch.testing.assert_close(one.step_log_q[:, :known], other.step_log_q[:, :known], atol=1e-12, rtol=0)
    torch.testing.assert_close(
        one.log_marginals[:, : known + 1], other.log_marginals[:, : known + 1], atol=1e-12, rtol=0
    )
    assert not torch.allclose(one.step_log_q[:, known:], other.step_log_q[:, known:])


def test_cached_draws_have_the_log_q_of_the_full_pass(case: tuple[AnyOrderModel, Conditions]) -> None:
    model, conditions = case
    order = SiteOrders(model.hamiltonian.lattice).draw("random", 1, np.random.default_rng(2))[0]
    occupation, log_q = draw_along(model, order, conditions, 50, torch.Generator().manual_seed(1))
    torch.testing.assert_close(log_q, model.log_prob(occupation, order, repeat(conditions, 50)), atol=1e-5, rtol=0)
    spectators = model.hamiltonian.lattice.n_allowed == 1
    assert (occupation[:, torch.as_tensor(spectators)] == 0).all()


def test_model_is_equivariant_under_the_space_group(case: tuple[AnyOrderModel, Conditions]) -> None:
    model, conditions = case
    lattice = model.hamiltonian.lattice
    occupation = every_configuration(model)[::7]
    order = SiteOrders(lattice).draw("random", 1, np.random.default_rng(3))[0]
    log_q = model.log_prob(occupation, order, repeat(conditions, len(occupation)))
    for permutation in torch.as_tensor(lattice.permutations):
        moved = torch.empty_like(occupation)
        moved[:, permutation] = occupation
        same = model.log_prob(moved, permutation[order], repeat(conditions, len(occupation)))
        torch.testing.assert_close(same, log_q, atol=1e-5, rtol=0)


def test_marginal_of_the_full_configuration_is_its_energy(case: tuple[AnyOrderModel, Conditions]) -> None:
    model, conditions = case
    hamiltonian = model.hamiltonian
    occupation = every_configuration(model)[::11]
    order = SiteOrders(hamiltonian.lattice).draw("random", 1, np.random.default_rng(4))
    full = model(occupation, order, repeat(conditions, len(occupation))).log_marginals[:, -1]
    codes = torch.as_tensor(hamiltonian.lattice.species_codes)
    species = codes.expand(len(occupation), -1, -1).gather(2, occupation[:, :, None])[:, :, 0]
    work = conditions.chemical_potentials[0][species].sum(1)
    expected = -conditions.beta * (hamiltonian.energy(occupation) - work)
    torch.testing.assert_close(full, expected, atol=1e-9, rtol=1e-12)


def test_untrained_model_is_exact_without_interactions() -> None:
    """Energy-informed logits alone are the exact distribution of independent sites."""
    lattice = Lattice.from_matrix(np.eye(3), [[0, 0, 0]], [("A", "B", "C")], np.diag([4, 1, 1]))
    table = np.array([0.0, 0.7, -0.4])
    hamiltonian = ClusterHamiltonian.from_clusters(lattice, 0.0, [ClusterTable(np.arange(4)[:, None], table)])
    window = ConditionWindow.checked(hamiltonian, (2000, 9000), {"B": (-1, 1), "C": (-1, 1)})
    model = build_model(hamiltonian, window, ModelConfig(width=8, depth=1, heads=1)).requires_grad_(False)
    conditions = Conditions.single(hamiltonian, 5000, {"B": 0.5, "C": -0.2})
    occupation = every_configuration(model)
    log_q = model.log_prob(occupation, torch.tensor([2, 0, 3, 1]), repeat(conditions, len(occupation)))
    weight = (conditions.beta * (torch.tensor([0.0, 0.5, -0.2]) - torch.as_tensor(table))).softmax(0).log()
    torch.testing.assert_close(log_q, weight[occupation].sum(1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [{"width": 10, "heads": 4}, {"depth": 0}])
def test_impossible_sizes_are_refused(size: dict[str, int]) -> None:
    with pytest.raises(AlloygenError, match="multiple of heads"):
        ModelConfig(**size)
