"""Sampling: site orders, exact draws, importance weights."""
