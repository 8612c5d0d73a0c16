"""Replay: strata of energy and composition, a bounded size, runs under one condition, and states."""

from __future__ import annotations

import numpy as np
import pytest

from alloygen.errors import AlloygenError
from alloygen.training.replay import FIELDS, Replay, strata


def rows(energy: list[float], n_b: list[int], beta: float = 1.0, n_sites: int = 12) -> dict[str, np.ndarray]:
    """Configurations of A and B atoms, one site saying which they are."""
    n = len(energy)
    counts = np.array(n_b)
    return {
        "occupation": np.arange(n)[:, None] % 100,
        "beta": np.full(n, beta),
        "chemical_potentials": np.zeros((n, 2)),
        "composition": np.zeros((n, 0, 0)),
        "energy": np.array(energy, dtype=np.float64),
        "counts": np.column_stack([n_sites - counts, counts]),
        "log_q": np.zeros(n),
    }


def test_strata_part_energies_and_compositions() -> None:
    energy = np.array([0.0, 0.01, 1.0, 0.0, 1.0])
    counts = np.array([[12, 0], [12, 0], [12, 0], [6, 6], [6, 6]])
    found = strata(energy, counts)
    assert found[0] == found[1]
    assert sorted(set(found)) == [0, 1, 2, 3]
    assert len({found[0], found[2], found[3], found[4]}) == 4


def test_rare_strata_are_drawn_as_often_as_common_ones() -> None:
    """Chi-square over three strata of sizes 500, 50 and 1, level 1e-3, fixed seed; and uniform within the second."""
    replay = Replay(1000)
    replay.add(rows([0.0] * 550 + [1.0], [0] * 500 + [6] * 50 + [12]))
    drawn = replay.draw(6000, np.random.default_rng(0))
    observed = np.bincount(replay.stratum[drawn])
    assert ((observed - 2000) ** 2 / 2000).sum() < 13.8
    within = np.bincount(drawn[(drawn >= 500) & (drawn < 550)] - 500, minlength=50)
    assert ((within - within.mean()) ** 2 / within.mean()).sum() < 85.4


def test_beyond_the_capacity_the_oldest_of_the_fullest_strata_go() -> None:
    replay = Replay(60)
    replay.add(rows([0.0] * 10, [6] * 10))
    for number in range(5):
        new = rows([0.0] * 40, [0] * 40)
        new["log_q"][:] = number
        replay.add(new)
    assert len(replay) == 60
    half = replay.rows["counts"][:, 1] == 6
    assert half.sum() == 10
    # The newest 50 of the common stratum: all of the last addition, and 10 of the one before.
    assert np.bincount(replay.rows["log_q"][~half].astype(int)).tolist() == [0, 0, 0, 10, 40]


def test_runs_hold_different_configurations_that_matter() -> None:
    """Under beta = 1, energies of 100 have no weight against those near 0."""
    replay = Replay(100)
    replay.add(rows([0.0, 0.3, 0.6, 0.9] * 5 + [100.0] * 20, [3] * 20 + [9] * 20))
    index, first = replay.draw_runs(50, 4, np.random.default_rng(1))
    assert index.shape == (50, 4)
    assert np.array_equal(index[:, 0], first)
    assert all(len(set(run)) == 4 for run in index)
    assert (index[:, 1:] < 20).all()
    assert (first >= 20).any()


def test_runs_of_the_canonical_ensemble_keep_the_composition() -> None:
    replay = Replay(100)
    new = rows([0.0] * 30, [3] * 29 + [9])
    new["composition"] = new["counts"][:, None, :]
    replay.add(new)
    index, first = replay.draw_runs(40, 4, np.random.default_rng(2))
    counts = replay.rows["counts"]
    assert (counts[index] == counts[first][:, None]).all()
    assert set(first) == {29, *first[first < 29]}
    conditions = replay.conditions(first)
    assert conditions.counts is not None
    assert np.array_equal(conditions.counts.numpy(), new["composition"][first])


def test_states_are_restored() -> None:
    replay, other = Replay(50), Replay(50)
    replay.add(rows(list(range(40)), [k % 12 for k in range(40)]))
    other.load_state_dict(replay.state_dict())
    assert all(np.array_equal(replay.rows[name], other.rows[name]) for name in FIELDS)
    draws = [r.draw_runs(5, 3, np.random.default_rng(3))[0] for r in (replay, other)]
    assert np.array_equal(*draws)
    other.load_state_dict(Replay(50).state_dict())
    assert len(other) == 0


def test_a_replay_holds_something() -> None:
    with pytest.raises(AlloygenError, match="replay_capacity"):
        Replay(0)
