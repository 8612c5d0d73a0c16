"""Adapters: the only modules that import ase, icet and pymatgen."""
