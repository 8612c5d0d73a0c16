"""Thermodynamics: estimators of free energies."""
