"""Training: reference data, objectives, the loop, and files."""
