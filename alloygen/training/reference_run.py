"""The reference run of a fit, in either ensemble."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from alloygen.hamiltonian import ClusterHamiltonian
from alloygen.hamiltonian.conditions import ConditionWindow
from alloygen.training.canonical_data import sample_canonical_reference
from alloygen.training.reference_data import ReferenceData, sample_reference

#: Reference samples per condition that are trained on, and that are held out and kept with the model for the reverse bound.
N_TRAINING, N_HELD_OUT = 872, 128


def reference_run(
    hamiltonian: ClusterHamiltonian,
    window: ConditionWindow,
    ensemble: str,
    *,
    trained_on: bool,
    seed: int,
    progress: Callable[[float], None] | None = None,
) -> tuple[ReferenceData, float]:
    """Sample a window by replica exchange; return the samples and the largest split R-hat.

    Parameters
    ----------
    hamiltonian, window, ensemble
        What is sampled, where, "semigrand" or "canonical".
    trained_on
        Whether samples to train on are needed beside those to hold out.
    seed
        Seed of the run.
    progress
        Called with the finished fraction.
    """
    n_samples = (N_TRAINING if trained_on else N_HELD_OUT) + N_HELD_OUT
    if ensemble == "canonical":
        return sample_canonical_reference(
            hamiltonian, window.temperatures, n_samples=n_samples, seed=seed, progress=progress
        )
    data, samples = sample_reference(hamiltonian, window, n_samples=n_samples, seed=seed, progress=progress)
    return data, float(np.max(samples.split_r_hat()))
