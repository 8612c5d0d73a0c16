"""Free energies F(T, x) of all compositions from the published models, beside the published reference runs. Prints a table.

    python tests/benchmarks/composition_free_energies.py --output docs/tables/composition_free_energies.md

At five temperatures and every composition of the reference tables. Values that fail a check are counted, and compared like the others.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from training_runs import machine, markdown_table, output_option, publish

import alloygen

MODELS = Path(alloygen.datasets.data_path("models"))
TEMPERATURES = np.array([300.0, 500.0, 700.0, 900.0, 1200.0])
#: Supercells of the models and reference tables, and draws of each.
SUPERCELLS, N_DRAWS = ("4x4x4", "4x4x8"), 20_000


def line(supercell: str) -> list[str]:
    """Compare the model of one supercell."""
    model = alloygen.load(MODELS / f"cuau_{supercell}.safetensors")
    begin = time.process_time()
    found = model.canonical_free_energy(
        temperatures=TEMPERATURES, n_samples=N_DRAWS, check=False, allow_unreliable=True, seed=3
    ).to_dataframe()
    seconds = time.process_time() - begin
    shown = [supercell, f"{N_DRAWS:,}", f"{seconds:.0f}"]
    for method in ("metadynamics", "replica-exchange"):
        table = alloygen.datasets.cuau_reference(supercell, method)
        both = found.merge(table, on=["temperature", "n_Au"], suffixes=("", "_reference"))
        difference = 1e3 * (both.free_energy_per_site - both.free_energy_per_site_reference)
        error = 1e3 * np.hypot(both.free_energy_error_per_site, both.free_energy_error_per_site_reference)
        varied = error > 0
        z = difference[varied] / error[varied]
        shown += [
            f"{difference.abs().median():.3f} ({difference.abs().max():.3f})", f"{error.median():.3f} ({error.max():.3f})",
            f"{np.sqrt(np.mean(z**2)):.2f}",
        ]  # fmt: skip
    return [*shown, f"{100 * found.reliable.mean():.0f}"]


def main() -> None:
    """Print the table."""
    output = output_option(__doc__)
    header = [
        "model of", "draws", "CPU seconds", "difference from metadynamics", "stated error of both", "z, RMS",
        "from replica exchange", "stated error of both", "z, RMS", "reliable, %",
    ]  # fmt: skip
    note = (
        "F(T, x) of Cu-Au in meV per site at 300, 500, 700, 900 and 1200 K and every composition of the reference tables: median, largest in "
        "brackets. Values at different compositions share draws, so z-scores are not independent."
    )
    lines = [line(supercell) for supercell in SUPERCELLS]
    publish(f"{note}\n\n{markdown_table(header, lines)}\n\nMachine: {machine()}.", output)


if __name__ == "__main__":
    main()
