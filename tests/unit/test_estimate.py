"""The result type: units, JSON round trips, and records that are not whole."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from monty.json import MontyDecoder, MontyEncoder

from alloygen.errors import CheckpointError
from alloygen.estimate import Estimate

ESTIMATE = Estimate(
    value=-0.8,
    error=1e-4,
    lower_bound=-0.81,
    upper_bound=-0.79,
    temperature=500.0,
    chemical_potentials={"Cu": 0.0, "Au": 0.05},
    n_sites=16,
    n_samples=1000,
    effective_sample_size=900.0,
    pareto_k=-math.inf,
    reliable=True,
    reason="all checks pass",
    estimator="importance sampling",
    units="atomic",
    n_energy_evaluations=1128,
    wall_time=0.5,
)


def test_per_site_values() -> None:
    assert ESTIMATE.value_per_site == -0.05
    assert ESTIMATE.error_per_site == 1e-4 / 16
    assert ESTIMATE.lower_bound_per_site < ESTIMATE.value_per_site < ESTIMATE.upper_bound_per_site
    assert ESTIMATE.log_partition_function == pytest.approx(0.8 / (8.617333e-5 * 500), rel=1e-6)
    assert str(ESTIMATE).startswith("-50.0000 +- 0.0063 meV/site at 500 K (ESS 900 of 1000, reliable)")


@pytest.mark.parametrize("k", [-math.inf, math.inf, 0.3])
def test_json_round_trip(k: float) -> None:
    estimate = replace(ESTIMATE, pareto_k=k)
    text = json.dumps(estimate.as_dict(), allow_nan=False)
    assert Estimate.from_dict(json.loads(text)) == estimate
    assert MontyDecoder().decode(text) == estimate
    assert MontyDecoder().decode(json.dumps([estimate], cls=MontyEncoder)) == [estimate]


def test_incomplete_and_foreign_records() -> None:
    record = ESTIMATE.as_dict()
    with pytest.raises(CheckpointError, match="format 99"):
        Estimate.from_dict({**record, "format": 99})
    del record["error"]
    with pytest.raises(CheckpointError, match="lacks error"):
        Estimate.from_dict(record)
