"""Reference samples in files, and the precision of a step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from alloygen.training.precision import has_bf16, uses_bf16
from alloygen.training.reference_data import ReferenceData


@pytest.mark.parametrize(("n_species", "n_sites"), [(1, 3), (2, 8), (3, 13), (5, 17)])
def test_samples_survive_packing(n_species: int, n_sites: int) -> None:
    generator = np.random.default_rng(n_sites)
    occupation = generator.integers(n_species, size=(4, 6, n_sites)).astype(np.int8)
    counts = np.stack([(occupation == code).sum(axis=-1) for code in range(n_species)], axis=-1)
    data = ReferenceData(
        np.linspace(1, 2, 4), np.zeros((4, n_species)), occupation, generator.normal(size=(4, 6)), counts
    )
    arrays = data.to_arrays()
    assert arrays["occupation_bits"].size <= 24 * (n_sites + 7) // 8 * max(1, (n_species - 1).bit_length()) + 24 * 3
    again = ReferenceData.from_arrays(arrays)
    assert again.composition is None
    for name in ("temperature", "chemical_potentials", "occupation", "energy", "counts"):
        np.testing.assert_array_equal(getattr(again, name), getattr(data, name))
        assert getattr(again, name).dtype == getattr(data, name).dtype


def test_bf16_follows_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, host = torch.device("cpu"), "alloygen.training.precision.binding.get_host_cpu_features"
    for features, known in (({"avx512bf16": True}, True), ({"bf16": True}, True), ({"avx512f": True}, False)):
        monkeypatch.setattr(host, lambda features=features: features)
        assert has_bf16(cpu) == known
        assert uses_bf16("auto", cpu) == known
        assert uses_bf16("bf16", cpu)
        assert not uses_bf16("float32", cpu)
